package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

func open(t *testing.T, path string, now func() time.Time) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: path, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "bursar.db") }

func commit(writer string, first int64, entries ...string) ledger.Commit {
	c := ledger.Commit{Writer: writer, First: first}
	for _, entry := range entries {
		c.Entries = append(c.Entries, []byte(entry))
	}
	return c
}

func TestConformance(t *testing.T) {
	db := open(t, path(t), nil)
	storagetest.Run(t, func(*testing.T) storage.Store { return db })
}

func TestReopeningKeepsEverything(t *testing.T) {
	file := path(t)
	db := open(t, file, nil)
	c := commit("w", 1, "first", "second")
	c.Change = ledger.Change{
		Put: []ledger.Row{{Kind: "client", ID: "a", Value: []byte("1")}},
		Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "a"}, Keep: time.Hour, Disable: true}},
	}
	committed, err := db.Commit(ctx, "t", c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Claim(ctx, "t", "k", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, file, func() time.Time { return time.Unix(0, 0) }) // a clock that was set back
	rows, p, err := db.Rows(ctx, "t")
	if err != nil || len(rows) != 1 || p.Index != 2 || p.Revision != 1 || p.Cutoffs != 1 {
		t.Fatalf("%v %+v %v", rows, p, err)
	}
	if p.Time.Before(committed.Time) {
		t.Fatalf("time went back from %v to %v", committed.Time, p.Time)
	}
	cutoffs, _, err := db.Cutoffs(ctx, "t", 0)
	if err != nil || len(cutoffs) != 1 || !cutoffs[0].At.Equal(committed.Time) {
		t.Fatalf("%v %v", cutoffs, err)
	}
	if fresh, err := db.Claim(ctx, "t", "k", time.Now()); err != nil || fresh {
		t.Fatalf("the claim was forgotten: %v %v", fresh, err)
	}
	if p, err := db.Commit(ctx, "t", c); err != nil || p.Index != 0 {
		t.Fatalf("the writer was forgotten: %+v %v", p, err)
	}
}

// TestReopeningKeepsSinks: what a sink has is kept; who copied to it is not, for no other process can.
func TestReopeningKeepsSinks(t *testing.T) {
	file := path(t)
	db := open(t, file, nil)
	if _, err := db.TakeSink(ctx, "t", "siem", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	m := ledger.Move{Owner: "a", To: ledger.Mark{Epoch: 1, Index: 7}, For: time.Hour,
		Dead: []ledger.DeadLetter{{Mark: ledger.Mark{Epoch: 1, Index: 6}, Code: "invalid_request"}}}
	if err := errors.Join(db.MoveSink(ctx, "t", "siem", m), db.Close()); err != nil {
		t.Fatal(err)
	}
	db = open(t, file, nil)
	s, err := db.Sink(ctx, "t", "siem")
	if err != nil || s.Next != m.To || s.Owner != "" || s.Wait != 0 || s.Dead != 1 || len(s.Letters) != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	if s, err := db.TakeSink(ctx, "t", "siem", "b", time.Hour); err != nil || s.Next != m.To {
		t.Fatalf("%+v %v", s, err)
	}
}

// TestOldDeadLettersTakeNoRoom: each new one takes the place of one that is not kept any more.
func TestOldDeadLettersTakeNoRoom(t *testing.T) {
	file := path(t)
	db := open(t, file, nil)
	if _, err := db.TakeSink(ctx, "t", "siem", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		m := ledger.Move{Owner: "a", From: ledger.Mark{Index: i}, To: ledger.Mark{Index: i + 1}, For: time.Hour,
			Dead: slices.Repeat([]ledger.DeadLetter{{Code: "x"}}, ledger.MaxLetters)}
		if err := db.MoveSink(ctx, "t", "siem", m); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	err = raw.View(func(tx *bbolt.Tx) error {
		keys := tx.Bucket([]byte("tenant")).Bucket([]byte("t")).Bucket([]byte("sink")).Stats().KeyN
		if keys != ledger.MaxLetters+1 {
			t.Errorf("there are %d keys", keys)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestASecondBursarIsRefused(t *testing.T) {
	file := path(t)
	open(t, file, nil)
	_, err := bolt.Open(bolt.Config{Path: file})
	if err == nil || !strings.Contains(err.Error(), "another bursar has it open") {
		t.Fatal(err)
	}
}

func TestAFileThatIsNotOursIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(*bbolt.Tx) error{
		"another format": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 1))
		},
		"not a bursar store": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("somebody else's"))
			return errors.Join(err, tx.DeleteBucket([]byte("meta")))
		},
	} {
		file := path(t)
		if err := open(t, file, nil).Close(); err != nil {
			t.Fatal(err)
		}
		raw, err := bbolt.Open(file, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(raw.Update(prepare), raw.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := bolt.Open(bolt.Config{Path: file}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := path(t)
	if err := os.WriteFile(file, bytes.Repeat([]byte("not bbolt"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(bolt.Config{Path: file}); err == nil {
		t.Error("a file that is no database was opened")
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	file := path(t)
	open(t, file, nil)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	db := open(t, path(t), nil)
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	everythingFails(t, db)
}

func everythingFails(t *testing.T, db *bolt.DB) {
	t.Helper()
	_, committed := db.Commit(ctx, "t", commit("new", 1, "e"))
	_, position := db.Position(ctx, "t")
	_, _, rows := db.Rows(ctx, "t")
	_, _, cutoffs := db.Cutoffs(ctx, "t", 0)
	_, events := db.Events(ctx, "t", 0, 1)
	_, claim := db.Claim(ctx, "t", "k", time.Now())
	_, taken := db.TakeSink(ctx, "t", "siem", "a", time.Hour)
	_, sink := db.Sink(ctx, "t", "siem")
	for i, err := range []error{committed, position, rows, cutoffs, events, claim, taken, sink} {
		if !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// The caller's buffers are reused while the committer may still be writing them.
func TestAWaiterThatGivesUpDoesNotCorruptTheLog(t *testing.T) {
	db := open(t, path(t), nil)
	buffer := make([]byte, 4096)
	for i := range 300 {
		impatient, cancel := context.WithCancel(ctx)
		for j := 0; j < len(buffer); j += 8 {
			binary.BigEndian.PutUint64(buffer[j:], uint64(i))
		}
		go cancel()
		writer := fmt.Sprint(i)
		_, err := db.Commit(impatient, "t", ledger.Commit{Writer: writer, First: 1, Entries: [][]byte{buffer}})
		if err != nil && !errors.Is(err, fault.ErrUnavailable) {
			t.Fatal(err)
		}
		cancel()
	}
	if _, err := db.Commit(ctx, "t", commit("last", 1, "the end!")); err != nil {
		t.Fatal(err)
	}
	entries, err := db.Events(ctx, "t", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, e := range entries {
		number := string(e.Data[:8])
		if e.Index != int64(i) || !bytes.Equal(e.Data, bytes.Repeat(e.Data[:8], len(e.Data)/8)) || seen[number] {
			t.Fatalf("entry %d at %d is not what its writer committed", e.Index, i)
		}
		seen[number] = true
	}
}

func TestClaimsAreForgottenAfterTheirTime(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	db := open(t, path(t), func() time.Time { return now })
	claim := func(key string) bool {
		t.Helper()
		fresh, err := db.Claim(ctx, "t", key, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	for i := range 50 {
		if !claim(fmt.Sprint(i)) {
			t.Fatal("not fresh")
		}
	}
	now = now.Add(time.Hour)
	if claim("7") {
		t.Fatal("forgotten before its time")
	}
	now = now.Add(time.Minute + time.Millisecond)
	for range 2 {
		for _, fresh := range []bool{true, false} { // what is swept meanwhile must not be a new claim
			for i := range 50 {
				if claim(fmt.Sprint(i)) != fresh {
					t.Fatalf("claim %d after its time: fresh is not %v", i, fresh)
				}
			}
		}
		now = now.Add(2 * time.Hour)
	}
}

func TestTheClockMayGoBackButTimeDoesNot(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	db := open(t, path(t), func() time.Time { return now })
	before, err := db.Position(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	p, err := db.Commit(ctx, "t", commit("w", 1, "e"))
	if err != nil || p.Time.Before(before.Time) {
		t.Fatalf("%v came after %v (%v)", p.Time, before.Time, err)
	}
}
