package auditor_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
)

func (w *world) proof(index int64) auditor.Proof {
	hashes, err := tlog.ProveRecord(int64(len(w.entries)), index, hashReader(w.t, w.entries))
	if err != nil {
		w.t.Fatal(err)
	}
	return auditor.Proof{Index: index, Hashes: hashes, Checkpoint: w.checkpoint(w.entries)}
}

func TestAProofProvesOneEntryAlone(t *testing.T) {
	w := newWorld(t, "acme").grow(20)
	good := w.proof(7)
	good.Extra = []byte("from the archive")
	read, err := auditor.ParseProof(good.Format())
	if err != nil || !bytes.Equal(read.Extra, good.Extra) {
		t.Fatal(err)
	}
	if c, err := read.Verify(w.entries[7], w.vkey()); err != nil || c.Size != 20 || c.Root != root(w.entries) {
		t.Errorf("%+v, %v", c, err)
	}
	other := newWorld(t, "other").grow(20)
	foreign := *other
	foreign.signer = w.signer
	for name, row := range map[string]struct {
		change func(*auditor.Proof)
		entry  []byte
		key    string
	}{
		"another entry":              {entry: w.entries[8]},
		"a changed entry":            {entry: flipped(t, w.entries[8])},
		"another index":              {change: func(p *auditor.Proof) { p.Index = 8 }},
		"an index beyond":            {change: func(p *auditor.Proof) { p.Index = 20 }},
		"a negative index":           {change: func(p *auditor.Proof) { p.Index = -1 }},
		"a hash less":                {change: func(p *auditor.Proof) { p.Hashes = p.Hashes[1:] }},
		"a hash more":                {change: func(p *auditor.Proof) { p.Hashes = append(p.Hashes, tlog.Hash{}) }},
		"another checkpoint":         {change: func(p *auditor.Proof) { p.Checkpoint = w.checkpoint(w.entries[:19]) }},
		"no checkpoint":              {change: func(p *auditor.Proof) { p.Checkpoint = nil }},
		"another log's key":          {key: other.vkey()},
		"another log under our key":  {change: func(p *auditor.Proof) { p.Checkpoint = foreign.checkpoint(w.entries) }},
		"a key that is none":         {key: "rubbish"},
		"another log and its events": {change: func(p *auditor.Proof) { *p = other.proof(7) }, entry: other.entries[7]},
	} {
		p := w.proof(7)
		if row.change != nil {
			row.change(&p)
		}
		if row.entry == nil {
			row.entry = w.entries[7]
		}
		if row.key == "" {
			row.key = w.vkey()
		}
		if c, err := p.Verify(row.entry, row.key); err == nil || c != (auditor.Checkpoint{}) {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := read.Verify(w.entries[7]); err == nil {
		t.Error("without a key it is accepted")
	}
}

func TestOtherSpellingsOfAProofAreRefused(t *testing.T) {
	w := newWorld(t, "acme").grow(20)
	good := string(w.proof(7).Format())
	hash := strings.Split(good, "\n")[2]
	for name, text := range map[string]string{
		"nothing":                  "",
		"another version":          strings.Replace(good, "@v1", "@v2", 1),
		"no empty line":            strings.ReplaceAll(good, "\n\n", "\n"),
		"no index":                 strings.Replace(good, "index 7\n", "", 1),
		"an index with zero":       strings.Replace(good, "index 7", "index 07", 1),
		"a signed index":           strings.Replace(good, "index 7", "index +7", 1),
		"a large index":            strings.Replace(good, "index 7", "index 9223372036854775808", 1),
		"a hash cut":               strings.Replace(good, hash, hash[1:], 1),
		"a hash spelled otherwise": strings.Replace(good, hash, hash[:42]+string(hash[42]+1)+"=", 1),
		"empty extra":              strings.Replace(good, "index", "extra \nindex", 1),
		"extra that is none":       strings.Replace(good, "index", "extra !\nindex", 1),
		"only its head":            "c2sp.org/tlog-proof@v1\n\n",
		"too much":                 good + strings.Repeat("x", 100_000),
	} {
		if _, err := auditor.ParseProof([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Sizes that cannot be computed with are refused, also if they are signed.
func TestSizesAreBounded(t *testing.T) {
	w := newWorld(t, "acme").grow(1)
	c := auditor.Checkpoint{Origin: auditor.Origin(w.issuer, 1), Size: 1<<62 + 1}
	p := auditor.Proof{Checkpoint: signNote(t, c.Text(), w.signer)}
	if _, err := p.Verify(w.entries[0], w.vkey()); err == nil || !strings.Contains(err.Error(), "size") {
		t.Errorf("got %v", err)
	}
}

func TestCheckConsistency(t *testing.T) {
	w := newWorld(t, "acme").grow(20)
	at := func(size int64) auditor.Checkpoint {
		return auditor.Checkpoint{Origin: "sts.example/t/acme/log", Size: size, Root: root(w.entries[:size])}
	}
	proof, err := tlog.ProveTree(20, 9, hashReader(t, w.entries))
	if err != nil {
		t.Fatal(err)
	}
	if err := auditor.CheckConsistency(at(9), at(20), proof); err != nil {
		t.Error(err)
	}
	for _, size := range []int64{0, 20} { // which need no proof
		if err := auditor.CheckConsistency(at(size), at(20), nil); err != nil {
			t.Error(err)
		}
	}
	foreign, forked, later := at(9), at(20), at(9)
	foreign.Origin = "sts.example/t/other/log"
	forked.Root[0] ^= 1
	later.Origin += "/e2"
	if err := auditor.CheckConsistency(at(9), later, nil); err != nil { // the epochs are one log
		t.Error(err)
	}
	for want, err := range map[string]error{
		"different logs":   auditor.CheckConsistency(foreign, at(20), proof),
		"rolled back":      auditor.CheckConsistency(at(20), at(9), proof),
		"forked":           auditor.CheckConsistency(forked, at(20), nil),
		"were rewritten":   auditor.CheckConsistency(at(8), at(20), proof),
		"before 9 were re": auditor.CheckConsistency(at(9), forked, proof),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
