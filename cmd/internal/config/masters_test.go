package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/server/keys"
)

func TestPreviousMasterKeysOpenWhatTheySealed(t *testing.T) {
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	old, found := before.Secrets()
	if len(found) > 0 {
		t.Fatal(found)
	}
	rows, err := keys.CreateLog(old.Master, "t", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "next.key"), keys.NewMasterFile(), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const line = "master_key: file:master.key"
	with := func(instead string) (*config.Secrets, []config.Mistake) {
		t.Helper()
		c, found := config.Parse([]byte(strings.Replace(string(text), line, instead+" #", 1)), dir)
		if len(found) > 0 {
			return nil, found
		}
		return c.Secrets()
	}
	s, found := with("master_key: file:next.key\nprevious_master_keys: [file:master.key]")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if _, err := keys.OpenLog(s.Master, "t", rows); err != nil || s.Master.ID() == old.Master.ID() {
		t.Errorf("opened with both, by %s: %v", s.Master.ID(), err)
	}
	if put, err := keys.Rewrap(s.Master, "t", rows, false); err != nil || len(put) != 1 {
		t.Errorf("%d rows are to be sealed anew, %v", len(put), err)
	}
	for instead, want := range map[string]string{
		line + "\nprevious_master_keys: [file:master.key]":                      "previous_master_keys[0]: is given twice",
		line + "\nprevious_master_keys: [file:next.key, file:next.key]":         "previous_master_keys[1]: is given twice",
		line + "\nprevious_master_keys: [file:absent.key]":                      "previous_master_keys[0]: stat ",
		line + "\nprevious_master_keys: [file:next.key, file:admin.token]":      "previous_master_keys[1]: read master key",
		line + "\nprevious_master_keys: [\"file:" + dir + "/../x/master.key\"]": "previous_master_keys[0]: stat ",
		line + "\nprevious_master_keys: [file:./master.key]":                    "previous_master_keys: master key ",
		"master_key: file:absent.key\nprevious_master_keys: [file:master.key]":  "master_key: stat ",
	} {
		if _, found := with(instead); len(found) != 1 || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("%q: %v, want %q", instead, found, want)
		}
	}
}
