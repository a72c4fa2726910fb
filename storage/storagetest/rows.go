package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

func testRows(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.do(ledger.Change{Put: []ledger.Row{
		row("client_secret", "b", "4"), row("client", "b", "2"), row("client", "a", "1"), row("client", "b:c/d", "3"),
		row("tool", "", "5"), row("tool", "\x00\xff{}", "6"),
	}})
	equal(t, w.rows(), []string{
		"client/a=1", "client/b=2", "client/b:c/d=3", "client_secret/b=4", "tool/=5", "tool/\x00\xff{}=6",
	})
	equal(t, w.rows("client"), []string{"client/a=1", "client/b=2", "client/b:c/d=3"})
	equal(t, w.rows("tool", "client_secret", "tool", "absent"), []string{
		"client_secret/b=4", "tool/=5", "tool/\x00\xff{}=6",
	})
	w.do(ledger.Change{
		Expect: 1,
		Put:    []ledger.Row{row("client", "a", ""), row("client", "b", "put wins")},
		Delete: []ledger.Key{{Kind: "client", ID: "b"}, {Kind: "tool", ID: ""}, {Kind: "tool", ID: "absent"}},
	})
	equal(t, w.rows("client", "tool"), []string{
		"client/a=", "client/b=put wins", "client/b:c/d=3", "tool/\x00\xff{}=6",
	})
}

func testConflict(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.put("client", "a", "1")
	w.put("client", "a", "2")
	before := w.position()
	target := ledger.Key{Kind: "client", ID: "a"}
	for _, expect := range []int64{0, 1, 3, -1} {
		for name, change := range map[string]ledger.Change{
			"put":    {Put: []ledger.Row{row("client", "a", "lost")}},
			"delete": {Delete: []ledger.Key{target}},
			"both with a cut": {
				Put: []ledger.Row{row("b", "b", "lost")}, Delete: []ledger.Key{target}, Cut: []ledger.Cut{{Key: target}},
			},
		} {
			change.Expect = expect
			if _, err := w.try(change); !errors.Is(err, fault.ErrConflict) {
				t.Fatalf("%s at revision %d: %v", name, expect, err)
			}
			w.unchanged(before)
			equal(t, w.rows(), []string{"client/a=2"})
		}
	}
	w.put("client", "a", "3")
}

func testConflictWithDisabling(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	rename := func(known int64) error {
		_, err := w.try(ledger.Change{Expect: w.position().Revision, Cutoffs: &known,
			Put: []ledger.Row{row("tool", "new", "1")}, Delete: []ledger.Key{{Kind: "tool", ID: "old"}}})
		return err
	}
	is(t, rename(0), nil)
	w.do(cutOf("a", time.Hour, false)) // 1
	is(t, rename(0), nil)
	w.do(cutOf("a", time.Hour, true)) // 2
	w.do(cutOf("b", time.Hour, false))
	before := w.position()
	for _, known := range []int64{0, 1} {
		is(t, rename(known), fault.ErrConflict)
		w.unchanged(before)
	}
	for _, known := range []int64{2, 3, 9} {
		is(t, rename(known), nil)
	}
	w.do(ledger.Change{Expect: w.position().Revision, Put: []ledger.Row{row("tool", "new", "2")}}) // does not care
	w.do(enableOf("a"))
	is(t, rename(0), nil)
	unknown := int64(0)
	_, err := w.other().try(ledger.Change{Cutoffs: &unknown, Cut: cutOf("c", time.Hour, true).Cut})
	is(t, err, nil) // no row, no condition
}

// testNoLostUpdate counts in one row. Each writer reads, adds one and writes at the revision that it read.
func testNoLostUpdate(t *testing.T, s storage.Store) {
	const writers = 64
	updates := 2
	if Full() {
		updates = 20
	}
	first := newWriter(t, s)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			w := first.other()
			for done := 0; done < updates; {
				rows, p, err := s.Rows(context.Background(), w.tenant, "counter")
				if err != nil {
					t.Error(err)
					return
				}
				count := 0
				if len(rows) > 0 {
					count, _ = strconv.Atoi(string(rows[0].Value))
				}
				_, err = w.try(ledger.Change{Expect: p.Revision, Put: []ledger.Row{row("counter", "c", fmt.Sprint(count+1))}})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, fault.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	equal(t, first.rows(), []string{fmt.Sprintf("counter/c=%d", writers*updates)})
	p := first.position()
	equal(t, [2]int64{p.Index, p.Revision}, [2]int64{int64(writers * updates), int64(writers * updates)})
}

// testSnapshot writes the revision into several rows of several kinds, more of them all the time.
func testSnapshot(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	const changes = 40
	done := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				rows, p, err := s.Rows(context.Background(), w.tenant)
				if err != nil {
					t.Error(err)
					return
				}
				if want := int(min(p.Revision, 10)) * 2; len(rows) != want {
					t.Errorf("%d rows at revision %d, want %d", len(rows), p.Revision, want)
				}
				for _, r := range rows {
					if string(r.Value) != fmt.Sprint(p.Revision) {
						t.Errorf("%s/%s=%s at revision %d", r.Kind, r.ID, r.Value, p.Revision)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for revision := range changes {
		change := ledger.Change{Expect: int64(revision)}
		for kind := range min(revision+1, 10) {
			for _, id := range []string{"a", "b"} {
				change.Put = append(change.Put, row(fmt.Sprintf("kind%d", kind), id, fmt.Sprint(revision+1)))
			}
		}
		w.do(change)
	}
	close(done)
	group.Wait()
}

func testReplayedChange(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	c := w.commit(ledger.Change{
		Put: []ledger.Row{row("client", "a", "1")}, Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "a"}}},
	}, "event")
	first := must(s.Commit(context.Background(), w.tenant, c))(t)
	before := w.position()
	again := must(s.Commit(context.Background(), w.tenant, c))(t)
	equal(t, [3]int64{again.Index, again.Revision, again.Cutoffs}, [3]int64{first.Index, first.Revision, first.Cutoffs})
	w.unchanged(before)
}

func testSigned(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	revision := w.put("logkey", "a", "1").Revision
	signed := func(at int64) ledger.Commit {
		c := w.commit(ledger.Change{}, "signed")
		c.Signed = &at
		return c
	}
	before := w.position()
	for _, at := range []int64{revision - 1, revision + 1} {
		_, err := s.Commit(context.Background(), w.tenant, signed(at))
		is(t, err, fault.ErrStale)
	}
	w.unchanged(before)
	commit := signed(revision)
	first := must(s.Commit(context.Background(), w.tenant, commit))(t)
	w.other().put("logkey", "a", "2")
	// A commit that was made is answered, whatever the keys are by now.
	equal(t, must(s.Commit(context.Background(), w.tenant, commit))(t).Index, first.Index)
}
