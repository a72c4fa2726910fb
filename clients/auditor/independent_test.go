package auditor_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	tdlog "github.com/transparency-dev/formats/log"
	tdnote "github.com/transparency-dev/formats/note"
	tdproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// What is verified here is verified by code that nobody of this project wrote, called as its documentation says.

func TestOthersReadTheCheckpoint(t *testing.T) {
	w := newWorld(t, "acme").grow(1000)
	verifier, err := note.NewVerifier(w.vkey())
	if err != nil {
		t.Fatal(err)
	}
	witness := cosigner{"witness.example/w1", key("witness"), 1_790_009_999}
	signed := w.checkpoint(w.entries, witness)
	if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
		t.Errorf("sumdb/note: %v", err)
	}
	theirs, err := tdnote.NewVerifierForCosignatureV1(witness.vkey())
	if err != nil {
		t.Fatal(err)
	}
	c, rest, n, err := tdlog.ParseCheckpoint(signed, "sts.example/t/acme/log", verifier, theirs)
	if err != nil || len(rest) != 0 || len(n.Sigs) != 2 {
		t.Fatalf("formats/log: %v, %d signatures", err, len(n.Sigs))
	}
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, entry := range w.entries {
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tree.GetRootHash(nil)
	if err != nil || !bytes.Equal(root, c.Hash) || c.Size != 1000 {
		t.Errorf("the root of %d entries is not that of the checkpoint: %v", c.Size, err)
	}
}

// Cosignatures that others make are understood here, in both spellings of the key.
func TestCosignaturesOfOthersCount(t *testing.T) {
	w := newWorld(t, "acme").grow(10)
	skey, vkey, err := note.GenerateKey(rand.Reader, "witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := tdnote.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	as4, err := tdnote.VKeyToCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	x := w.export()
	x.put("checkpoint", w.checkpoint(w.entries, theirs))
	for _, spelling := range []string{vkey, as4} {
		o := w.options()
		o.Witnesses = []string{spelling}
		r := x.verify(o)
		if !r.Passed() || r.Completeness != auditor.OK || len(r.Witnesses) != 1 || r.Witnesses[0].Time < start {
			t.Errorf("%+v", r)
		}
	}
}

func hashReader(t testing.TB, entries [][]byte) tlog.HashReader {
	t.Helper()
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), entry, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	return read
}

func TestOthersVerifyProofs(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	read := hashReader(t, w.entries)
	c := auditor.Checkpoint{Origin: "sts.example/t/acme/log", Size: 300, Root: root(w.entries)}
	plain := func(hashes []tlog.Hash) (all [][]byte) {
		for _, h := range hashes {
			all = append(all, h[:])
		}
		return all
	}
	for index := range int64(300) {
		hashes, err := tlog.ProveRecord(300, index, read)
		if err != nil {
			t.Fatal(err)
		}
		p := auditor.Proof{Index: index, Hashes: hashes, Checkpoint: w.checkpoint(w.entries)}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), 300,
			rfc6962.DefaultHasher.HashLeaf(w.entries[index]), plain(p.Hashes), c.Root[:]); err != nil {
			t.Errorf("merkle/proof: entry %d: %v", index, err)
		}
		var theirs tdproof.TLogProof
		if err := theirs.Unmarshal(p.Format()); err != nil || theirs.Index != uint64(index) ||
			len(theirs.Hashes) != len(hashes) || !bytes.Equal(theirs.Checkpoint, p.Checkpoint) {
			t.Errorf("formats/proof: entry %d: %v", index, err)
		}
		mine, err := auditor.ParseProof(theirs.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := mine.Verify(w.entries[index], w.vkey()); err != nil || got != c {
			t.Errorf("entry %d: %v, %v", index, got, err)
		}
	}
	for size := int64(1); size <= 300; size++ {
		hashes, err := tlog.ProveTree(300, size, read)
		if err != nil {
			t.Fatal(err)
		}
		older := auditor.Checkpoint{Origin: c.Origin, Size: size, Root: root(w.entries[:size])}
		if err := auditor.CheckConsistency(older, c, hashes); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(size), 300, plain(hashes),
			older.Root[:], c.Root[:]); err != nil {
			t.Errorf("merkle/proof: size %d: %v", size, err)
		}
	}
}

func TestOthersVerifyTheEvents(t *testing.T) {
	w := newWorld(t, "acme").grow(20)
	public, err := jwk.Import(w.signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range w.entries {
		payload, err := jws.Verify(entry, jws.WithKey(jwa.EdDSA(), public))
		if err != nil {
			t.Fatalf("jwx: entry %d: %v", i, err)
		}
		set, err := auditor.ParseSET(entry)
		if err != nil || !bytes.Equal(set.Claims, payload) || !set.Verify(w.signing.Public().(ed25519.PublicKey)) {
			t.Errorf("entry %d is read otherwise here: %v", i, err)
		}
	}
}
