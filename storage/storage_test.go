package storage_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestOpenChoosesTheBackend(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{"bolt:a.db", "bolt:" + filepath.Join(dir, "b.db"), storagetest.Redis(t)} {
		s, err := storage.Open(context.Background(), storage.Config{URL: url, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.Durability(), "An acknowledged write ") {
			t.Error(s.Durability())
		}
		addresses, err := s.Addresses(context.Background())
		if err != nil || (len(addresses) > 0) != strings.HasPrefix(url, "redis:") {
			t.Errorf("%s is at %v (%v)", url, addresses, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"a.db", "b.db"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenSaysWhatItAccepts(t *testing.T) {
	for _, url := range []string{
		"", "bolt:", "bolt", "bolt://bursar.db", "file:x", "postgres://user:hunter2@host/db", "redis", "redis:host", "rediss",
		"redis://user:hunter2@host:x/", "redis-sentinel://user:hunter2@host",
	} {
		s, err := storage.Open(context.Background(), storage.Config{URL: url, Dir: t.TempDir()})
		if err == nil || s != nil {
			t.Fatalf("%q was opened", url)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	_, err := storage.Open(context.Background(), storage.Config{URL: "postgres://host"})
	for _, want := range []string{"bolt:", "redis://", "rediss://", "redis-sentinel://", "redis-cluster://"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
