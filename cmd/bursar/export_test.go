package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
)

const logName = "sts.example/t/acme/log"

// treeOf answers like a server with a log, whose tiles and bundles hold nothing in particular.
type treeOf struct {
	size   int64
	signer *auditor.NoteSigner
	vkey   string

	mu     sync.Mutex
	asked  map[string]int
	first  int64  // entry that the log still has
	prunes string // call in whose time it is pruned
	away   string // call that is not answered the first time
	broken string // call that is never answered
}

func newTree(t *testing.T, size int64) *treeOf {
	t.Helper()
	signer := auditor.NewNoteSigner(logName, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	vkey, err := signer.VerifierKey()
	if err != nil {
		t.Fatal(err)
	}
	return &treeOf{size: size, signer: signer, vkey: vkey, asked: map[string]int{}}
}

func (l *treeOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/t/acme/log/")
	if l.asked[path]++; path == l.prunes {
		l.first, l.prunes = 512, ""
	}
	refuse := func(code string, status int) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:bursar:problem:%s","status":%d,"detail":"No.","first":%d}`, code, status, l.first)
	}
	index, width, notBundle := auditor.ParseBundlePath(path)
	level, number, hashes, notTile := auditor.ParseTilePath(path)
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case path == l.broken || path == l.away && l.asked[path] == 1:
		refuse("unavailable", http.StatusServiceUnavailable)
	case path == "checkpoint":
		signed, _ := note.Sign(&note.Note{Text: auditor.Checkpoint{Origin: logName, Size: l.size}.Text()}, l.signer)
		_, _ = w.Write(signed)
	case path == "keys":
		_, _ = io.WriteString(w, "keys")
	case path == "vkey":
		_, _ = io.WriteString(w, l.vkey+"\n")
	case notBundle == nil && index*256 < l.first, notTile == nil && level == 0 && number*256 < l.first:
		refuse("gone", http.StatusGone)
	case notBundle == nil:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(bytes.Repeat([]byte("\x00\x01x"), width))
	case notTile == nil:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(make([]byte, 32*hashes))
	default:
		refuse("not_found", http.StatusNotFound)
	}
}

// files returns the names of the files of an export.
func files(t *testing.T, path string) (names []string) {
	t.Helper()
	r, err := auditor.OpenExport(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		f, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
	}
}

func TestAnExportIsWholeOrNotThere(t *testing.T) {
	const (
		all = "checkpoint keys vkey tile/0/000 tile/entries/000 tile/0/001 tile/entries/001 tile/0/002 tile/entries/002 " +
			"tile/0/003.p/32 tile/entries/003.p/32 tile/1/000.p/3"
		rest = "checkpoint keys vkey tile/1/000.p/3 tile/0/002 tile/entries/002 tile/0/003.p/32 tile/entries/003.p/32"
	)
	for _, row := range []struct {
		name string
		set  func(*treeOf)
		want string // none: it fails
	}{
		{"all", func(*treeOf) {}, all},
		{"a server that is away for a moment", func(l *treeOf) { l.away = "tile/entries/002" }, all},
		{"pruned before", func(l *treeOf) { l.first = 512 }, rest},
		{"pruned meanwhile", func(l *treeOf) { l.prunes = "tile/0/001" }, rest},
		{"a server that stays away", func(l *treeOf) { l.broken = "tile/0/002" }, ""},
		{"a checkpoint of another key", func(l *treeOf) { l.vkey = strings.Replace(l.vkey, "+", "+0", 1) }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			tree := newTree(t, 800)
			row.set(tree)
			server := httptest.NewServer(tree)
			defer server.Close()
			path := filepath.Join(t.TempDir(), "log.tar.gz")
			if err := os.WriteFile(path, []byte("older"), 0o600); err != nil {
				t.Fatal(err)
			}
			client := &operator.Client{BaseURL: server.URL, Token: "brs_op_x"}
			x := &exporter{log: client.Log("acme"), compress: true}
			done, err := x.save(t.Context(), io.Discard, path)
			left, _ := os.ReadDir(filepath.Dir(path))
			if len(left) != 1 {
				t.Errorf("what was not finished is left: %v", left)
			}
			if row.want == "" {
				if text, _ := os.ReadFile(path); err == nil || string(text) != "older" {
					t.Errorf("%v, and the file is %q", err, text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(files(t, path), " "); got != row.want || done.Size != 800 || done.First != tree.first {
				t.Errorf("%s, of %+v", got, done)
			}
		})
	}
}
