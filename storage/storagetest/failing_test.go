package storagetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/bolt"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestFailingStoreFailsBeforeOrAfterItsEffect(t *testing.T) {
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, s := context.Background(), storagetest.Failing(db)
	c := ledger.Commit{Writer: "w", First: 1, Entries: [][]byte{[]byte("e")}}
	calls := map[storagetest.Op]func() error{
		storagetest.Commit:   func() error { _, err := s.Commit(ctx, "t", c); return err },
		storagetest.Claim:    func() error { _, err := s.Claim(ctx, "t", "k", time.Now()); return err },
		storagetest.Position: func() error { _, err := s.Position(ctx, "t"); return err },
		storagetest.Rows:     func() error { _, _, err := s.Rows(ctx, "t"); return err },
		storagetest.Spend: func() error {
			_, err := s.Spend(ctx, []limit.Spent{{Tenant: "t", Budget: "address:1"}})
			return err
		},
		storagetest.TakeSink: func() error { _, err := s.TakeSink(ctx, "t", "siem", "a", time.Hour); return err },
		storagetest.MoveSink: func() error { return s.MoveSink(ctx, "t", "siem", ledger.Move{Owner: "a"}) },
		storagetest.Sink:     func() error { _, err := s.Sink(ctx, "t", "siem"); return err },
		storagetest.Cutoffs:  func() error { _, _, err := s.Cutoffs(ctx, "t", 0); return err },
	}
	if _, err := db.TakeSink(ctx, "t", "siem", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []storagetest.Mode{storagetest.NotApplied, storagetest.Applied} {
		for op, call := range calls {
			s.Set(op, mode)
			if err := call(); !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("%s in mode %d: %v", op, mode, err)
			}
			s.Set(op, storagetest.Works)
		}
		p, err := s.Position(ctx, "t")
		if applied := p.Index == 1; err != nil || applied != (mode == storagetest.Applied) {
			t.Errorf("mode %d: %+v %v", mode, p, err)
		}
	}
	if fresh, err := s.Claim(ctx, "t", "k", time.Now()); err != nil || fresh {
		t.Error("the claim whose answer was lost was not applied")
	}
}

func TestCallsBreakByTheirNumber(t *testing.T) {
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, s := context.Background(), storagetest.Failing(db)
	s.Break(2, 2, storagetest.NotApplied)
	for call, broken := range []bool{false, true, true, false} {
		if _, err := s.Position(ctx, "t"); errors.Is(err, fault.ErrUnavailable) != broken {
			t.Errorf("call %d: %v", call+1, err)
		}
	}
	if n := len(s.Calls()); n != 4 {
		t.Errorf("%d calls were counted", n)
	}
	s.Mend()
	if _, err := s.Position(ctx, "t"); err != nil || len(s.Calls()) != 1 {
		t.Errorf("mended: %v, %v", err, s.Calls())
	}
}

func TestConformanceOfAStoreThatDoesNotFail(t *testing.T) {
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	storagetest.Run(t, func(*testing.T) storage.Store { return storagetest.Failing(db) })
}
