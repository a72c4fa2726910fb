package auditor_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// What is in testdata is what the format is: it changes on purpose or not at all.
func TestTheFormatIsThatOfTestdata(t *testing.T) {
	w := newWorld(t, "acme").grow(60)
	if w.vkey() != logKey {
		t.Errorf("the key of the examples is %s", w.vkey())
	}
	for name, want := range map[string][]byte{
		"acme.tar":         w.export().pack(false),
		"last.checkpoint":  w.checkpoint(w.entries[:40]),
		"event.jws":        w.entries[7],
		"event.tlog-proof": w.proof(7).Format(),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s has other bytes now", path)
		}
	}
}
