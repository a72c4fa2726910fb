package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

func testClaims(t *testing.T, s storage.Store) {
	ctx, tenant := context.Background(), ledger.NewTenant()
	until := time.Now().Add(time.Hour)
	for _, key := range []string{"a", "", "with:colon {brace}\x00"} {
		var fresh atomic.Int64
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				ok, err := s.Claim(ctx, tenant, key, until)
				if err != nil {
					t.Error(err)
				}
				if ok {
					fresh.Add(1)
				}
			})
		}
		group.Wait()
		equal(t, fresh.Load(), 1)
	}
	equal(t, must(s.Claim(ctx, tenant, "b", until))(t), true)
	for _, past := range []time.Time{{}, time.Unix(0, 0), time.Now()} {
		key := past.String()
		equal(t, must(s.Claim(ctx, tenant, key, past))(t), true)
		equal(t, must(s.Claim(ctx, tenant, key, past))(t), false) // clocks differ: a claim lasts a minute at least
	}
}

// claiming returns the writer's next commit, with claims of the keys for an hour.
func (w *writer) claiming(keys ...string) ledger.Commit {
	c := w.commit(ledger.Change{}, "e")
	for _, key := range keys {
		c.Claims = append(c.Claims, ledger.Claim{Key: key, Until: time.Now().Add(time.Hour)})
	}
	return c
}

// commitClaims makes a commit and returns which of its claims somebody else has.
func (w *writer) commitClaims(c ledger.Commit) []int {
	w.t.Helper()
	_, err := w.store.Commit(context.Background(), w.tenant, c)
	if taken, ok := errors.AsType[*ledger.Taken](err); ok {
		return taken.Claims
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.next += int64(len(c.Entries))
	return nil
}

func testCommitClaims(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	equal(t, w.commitClaims(w.claiming("a", "", "with:colon {brace}\x00")), nil)
	before := w.position()
	all := w.claiming("x", "a", "y", "", "with:colon {brace}\x00", "x")
	all.Change = ledger.Change{
		Expect: before.Revision, Put: []ledger.Row{row("client", "x", "1")}, Cut: cutOf("x", time.Hour, true).Cut,
	}
	equal(t, w.commitClaims(all), []int{1, 3, 4, 5})
	w.unchanged(before)
	equal(t, w.rows(), []string{})
	all.Claims = []ledger.Claim{all.Claims[0], all.Claims[2]} // nobody has got these
	equal(t, w.commitClaims(all), nil)
	equal(t, w.rows(), []string{"client/x=1"})

	// A commit and a call claim the same keys.
	claim := func(key string) bool {
		return must(s.Claim(context.Background(), w.tenant, key, time.Now().Add(time.Hour)))(t)
	}
	equal(t, claim("a"), false)
	equal(t, claim("b"), true)
	equal(t, w.other().commitClaims(w.other().claiming("b")), []int{0})

	past := w.claiming("past")
	past.Claims[0].Until = time.Unix(0, 0)
	equal(t, w.commitClaims(past), nil)
	equal(t, claim("past"), false) // clocks differ: a claim lasts a minute at least

	stale := w.claiming("z")
	stale.Change = ledger.Change{Expect: 99, Put: []ledger.Row{row("client", "x", "2")}}
	if _, err := s.Commit(context.Background(), w.tenant, stale); err == nil {
		t.Fatal("a commit at another revision was made")
	}
	equal(t, claim("z"), true)

	many := w.claiming(make([]string, ledger.MaxClaims+1)...)
	if _, err := s.Commit(context.Background(), w.tenant, many); err == nil {
		t.Fatal("too many claims were accepted")
	}
	many = w.claiming()
	for i := range ledger.MaxClaims {
		many.Claims = append(many.Claims, ledger.Claim{Key: fmt.Sprint("many ", i), Until: time.Now().Add(time.Hour)})
	}
	equal(t, w.commitClaims(many), nil)
	equal(t, claim("many 0") || claim(fmt.Sprint("many ", ledger.MaxClaims-1)), false)
}

func testRacingCommits(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	var made atomic.Int64
	var group sync.WaitGroup
	for range 100 {
		rival := w.other()
		group.Go(func() {
			_, err := s.Commit(context.Background(), rival.tenant, rival.claiming("a", "b"))
			taken, refused := errors.AsType[*ledger.Taken](err)
			switch {
			case err == nil:
				made.Add(1)
			case !refused || len(taken.Claims) != 2:
				t.Error(err)
			}
		})
	}
	group.Wait()
	equal(t, made.Load(), 1)
	equal(t, len(w.events(0, 10)), 1)
}

func testReplayedClaims(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	c := w.claiming("a")
	equal(t, w.commitClaims(c), nil)
	p := must(s.Commit(context.Background(), w.tenant, c))(t)
	equal(t, p.Index, int64(0))
	equal(t, w.commitClaims(w.claiming("a")), []int{0})
	equal(t, w.events(0, 10), []string{"0=e"})
}
