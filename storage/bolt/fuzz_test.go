package bolt

import (
	"bytes"
	"testing"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// FuzzNames holds that what is stored under a name comes back as that name, and that no two names are one.
func FuzzNames(f *testing.F) {
	f.Add("client", "bot", "client", "b", int64(7))
	f.Add("client", "a/b:c", "client_x", "", int64(-1))
	f.Add("a", "b:c", "a", "b:d", int64(1<<62))
	f.Fuzz(func(t *testing.T, kind, id, otherKind, otherID string, until int64) {
		if accept.Kinds(kind, otherKind) != nil {
			return
		}
		key, other := ledger.Key{Kind: kind, ID: id}, ledger.Key{Kind: otherKind, ID: otherID}
		if got := parseCutoffKey(cutoffKey(key)); got != key {
			t.Errorf("%+v came back as %+v", key, got)
		}
		if bytes.Equal(cutoffKey(key), cutoffKey(other)) != (key == other) ||
			bytes.Equal(rowKey(kind, id), rowKey(otherKind, otherID)) != (key == other) {
			t.Errorf("%+v and %+v", key, other)
		}
		name := expiryKey(until, cutoffKey(key))
		if int64At(name, 0) != until || !bytes.Equal(name[8:], cutoffKey(key)) {
			t.Errorf("%d %+v came back as %d %q", until, key, int64At(name, 0), name[8:])
		}
	})
}

// FuzzNumbers reads stored numbers of any length: what is not there is 0.
func FuzzNumbers(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 2}, 0)
	f.Add([]byte(nil), 3)
	f.Fuzz(func(t *testing.T, b []byte, i int) {
		if i < 0 || i > 1<<20 {
			return
		}
		if n := int64At(b, i); 8*i+8 > len(b) && n != 0 {
			t.Errorf("number %d of %d bytes is %d", i, len(b), n)
		}
		if len(b) >= 8*i+8 && !bytes.Equal(uint64s(int64At(b, i)), b[8*i:8*i+8]) {
			t.Errorf("number %d of %x is %d", i, b, int64At(b, i))
		}
	})
}
