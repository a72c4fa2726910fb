package e2e_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// Each attack of the table on an exported log is found, by its kind and at its place.
func TestAttacksOnAnExport(t *testing.T) {
	const at = 5
	eachWorld(t, func(t *testing.T, w *world) {
		a := newAudited(t, w)
		a.exchanges(t, 12)
		w.Apply(t, "apiVersion: bursar/v1\ntenant: globex\n")
		a.run(t, "audit", "export", "globex", "-o", a.path("globex.tar"))
		foreign := entriesOf(t, readTar(t, a.path("globex.tar")))[0]
		log := readTar(t, a.export(t, "acme.tar"))
		e := entriesOf(t, log)
		size, claims := int64(len(e)), bytes.IndexByte(e[at], '.')+1
		for _, row := range []struct {
			name     string
			entries  [][]byte
			kind     auditor.Kind
			from, to int64
			where    string // in the first line
		}{
			{"one byte of the header edited", replaced(e, at, flipped(e[at], 30)), auditor.Edited, at, 0, "edited, entry 5"},
			{"of its issuer", replaced(e, at, flipped(e[at], claims+20)), auditor.Edited, at, 0, "edited, entry 5"},
			{"of its claims", replaced(e, at, flipped(e[at], claims+300)), auditor.Edited, at, 0, "edited, entry 5"},
			{"of its signature", replaced(e, at, flipped(e[at], len(e[at])-20)), auditor.Edited, at, 0, "edited, entry 5"},
			{"one event deleted", slices.Delete(slices.Clone(e), at, at+1), auditor.Deleted, at, 0, "deleted, entry 5"},
			{"two swapped", replaced(replaced(e, at, e[at+1]), at+1, e[at]), auditor.Reordered, at, at + 1,
				"reordered, entries 5 and 6"},
			{"the tail truncated", e[:size-3], auditor.Truncated, size - 3, size - 1, "truncated, entries "},
			{"an event signed with another key", inserted(e, at, forged(t, e[at])), auditor.Forged, at, 0, "forged, entry 5"},
			{"an event of another tenant", inserted(e, at, foreign), auditor.WrongTenant, at, 0, "wrong-tenant, entry 5"},
			{"an event replayed", inserted(e, at, e[2]), auditor.Replayed, at, 0, "replayed, entry 5"},
		} {
			path := a.path(strings.ReplaceAll(row.name, " ", "-") + ".tar")
			writeTar(t, path, log, row.entries)
			first, _ := a.verify(t, 1, path)
			if !strings.HasPrefix(first, "FAILED: "+row.where) {
				t.Errorf("%s: %s", row.name, first)
			}
			r, passed := a.report(t, 1, path)
			if f := r.FirstError(); passed || f == nil || f.Kind != row.kind || f.Index != row.from || f.To != row.to {
				t.Errorf("%s: %+v", row.name, f)
			}
		}
		writeTar(t, a.path("same.tar"), log, e)
		a.verify(t, 0, a.path("same.tar"))
	})
}

// readTar returns the files of a tar.
func readTar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	files := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// entriesOf returns the events of an export of one bundle.
func entriesOf(t *testing.T, files map[string][]byte) [][]byte {
	t.Helper()
	for name, data := range files {
		if strings.HasPrefix(name, "tile/entries/000") {
			entries, err := auditor.SplitBundle(data)
			if err != nil {
				t.Fatal(err)
			}
			return entries
		}
	}
	t.Fatal("the export has no events")
	return nil
}

// writeTar writes an export of one bundle with other events, and everything else as it was.
func writeTar(t *testing.T, path string, files map[string][]byte, entries [][]byte) {
	t.Helper()
	var out bytes.Buffer
	w := auditor.NewWriter(&out, false)
	add := func(name string, data []byte) {
		t.Helper()
		if err := w.Add(name, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"checkpoint", "keys", "vkey"} {
		add(name, files[name])
	}
	for name, data := range files {
		if strings.HasPrefix(name, "tile/0/000") {
			add(name, data)
		}
	}
	var bundle []byte
	for _, e := range entries {
		var err error
		if bundle, err = auditor.AppendEntry(bundle, e); err != nil {
			t.Fatal(err)
		}
	}
	add(auditor.BundlePath(0, len(entries)), bundle)
	if err := errors.Join(w.Close(), os.WriteFile(path, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func replaced(entries [][]byte, at int, by []byte) [][]byte {
	all := slices.Clone(entries)
	all[at] = by
	return all
}

func inserted(entries [][]byte, at int, entry []byte) [][]byte {
	return slices.Insert(slices.Clone(entries), at, entry)
}

// flipped returns an event with one bit of a byte changed. It may be still base64url, or no event at all any more.
func flipped(entry []byte, at int) []byte {
	changed := bytes.Clone(entry)
	changed[at] ^= 1
	return changed
}

// forged returns an event as somebody makes it who has another key.
func forged(t *testing.T, entry []byte) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	x := base64.RawURLEncoding.EncodeToString(public)
	thumbprint := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	set, err := auditor.ParseSET(entry)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(set.Claims, &claims); err != nil {
		t.Fatal(err)
	}
	claims["jti"], claims["wid"], claims["wsn"] = "forged", "thief", 1
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]string{"alg": "EdDSA", "typ": "secevent+jwt",
		"kid": base64.RawURLEncoding.EncodeToString(thumbprint[:])}) + "." + part(claims)
	return []byte(signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(signed))))
}
