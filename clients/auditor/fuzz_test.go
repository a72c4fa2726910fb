package auditor_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// FuzzVerify changes an export at a place: what verifies then holds the entries that were signed, and no others.
func FuzzVerify(f *testing.F) {
	w := newWorld(f, "acme").grow(3)
	good, o := w.export().pack(false), w.options(2)
	f.Add([]byte{}, uint16(0), false)
	f.Add([]byte("\x00"), uint16(700), false)
	f.Add([]byte("checkpoint"), uint16(512), true)
	f.Add([]byte("tile/entries/000"), uint16(2048), true)
	f.Fuzz(func(t *testing.T, change []byte, at uint16, insert bool) {
		place := min(int(at), len(good))
		end := min(place+len(change), len(good))
		if insert {
			end = place
		}
		packed := append(append(bytes.Clone(good[:place]), change...), good[end:]...)
		r, err := auditor.NewReader(bytes.NewReader(packed))
		if err != nil {
			return
		}
		report, err := auditor.Verify(t.Context(), r, o)
		if err != nil {
			if !errors.Is(err, auditor.ErrOrder) {
				t.Errorf("reading from memory failed: %v", err)
			}
			return
		}
		if report.Passed() && (report.Entries != 3 || report.Size != 3) {
			t.Errorf("it passed with %d entries", report.Entries)
		}
	})
}

// FuzzReader reads anything as an export.
func FuzzReader(f *testing.F) {
	x := newWorld(f, "acme").grow(1).export()
	f.Add(x.pack(true))
	for _, name := range []string{"keys", "vkey", "tile/0/000.p/1"} { // the fuzzer is slow with what is long
		x.drop(name)
	}
	f.Add(bytes.TrimRight(x.pack(false), "\x00"))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, packed []byte) {
		r, err := auditor.NewReader(bytes.NewReader(packed))
		if err != nil {
			if !errors.Is(err, auditor.ErrFormat) {
				t.Error(err)
			}
			return
		}
		report, err := auditor.Verify(t.Context(), r, auditor.Options{})
		if err == nil && report.Passed() {
			t.Error("without a key it passed")
		}
		if err == nil && len(report.Findings) > 1000 {
			t.Errorf("there are %d findings", len(report.Findings))
		}
	})
}

func FuzzParseSET(f *testing.F) {
	f.Add(newWorld(f, "acme").grow(1).entries[0])
	f.Add(jwsOf(goodHeader, goodClaims))
	f.Fuzz(func(t *testing.T, entry []byte) {
		s, err := auditor.ParseSET(entry)
		if err != nil {
			return
		}
		if s.KeyID == "" || s.Issuer == "" || s.Writer == "" || s.Sequence < 1 || s.Name == "" || len(s.Body) < 2 {
			t.Errorf("%s is read as %+v", entry, s)
		}
		s.HoldsToken()
	})
}

func FuzzProof(f *testing.F) {
	w := newWorld(f, "acme").grow(5)
	good := w.proof(2)
	f.Add(good.Format())
	good.Extra = []byte("x")
	f.Add(good.Format())
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := auditor.ParseProof(text)
		if err != nil {
			return
		}
		if again := p.Format(); !bytes.Equal(again, text) {
			t.Errorf("%q is read as %q", text, again)
		}
		if _, err := p.Verify(w.entries[3], w.vkey()); err == nil && p.Index != 3 {
			t.Errorf("it proves entry 3 at %d", p.Index)
		}
	})
}
