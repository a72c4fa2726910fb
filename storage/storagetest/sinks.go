package storagetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// copying is the sink of one tenant in a test.
type copying struct {
	t      *testing.T
	store  storage.Store
	tenant ledger.Tenant
	name   string
}

func newCopying(t *testing.T, s storage.Store) *copying {
	return &copying{t: t, store: s, tenant: ledger.NewTenant(), name: "siem"}
}

func (c *copying) take(owner string, d time.Duration) (ledger.Sink, error) {
	return c.store.TakeSink(context.Background(), c.tenant, c.name, owner, d)
}

func (c *copying) taken(owner string) ledger.Sink {
	c.t.Helper()
	return must(c.take(owner, time.Hour))(c.t)
}

func (c *copying) move(m ledger.Move) error {
	return c.store.MoveSink(context.Background(), c.tenant, c.name, m)
}

func (c *copying) read() ledger.Sink {
	c.t.Helper()
	return must(c.store.Sink(context.Background(), c.tenant, c.name))(c.t)
}

func at(epoch, index int64) ledger.Mark { return ledger.Mark{Epoch: epoch, Index: index} }

// testSinkTurns: one copies at a time, until he leaves it or his time is over.
func testSinkTurns(t *testing.T, s storage.Store) {
	c := newCopying(t, s)
	equal(t, c.read(), ledger.Sink{})
	first := c.taken("a")
	if first.Owner != "a" || first.Next != (ledger.Mark{}) || first.Wait <= 59*time.Minute || first.Wait > time.Hour {
		t.Fatalf("%+v", first)
	}
	second, err := c.take("b", time.Hour)
	is(t, err, fault.ErrConflict)
	if second.Owner != "a" || second.Wait <= 59*time.Minute || second.Wait > time.Hour {
		t.Fatalf("%+v", second)
	}
	equal(t, c.taken("a").Owner, "a")
	is(t, c.move(ledger.Move{Owner: "b", To: at(1, 5), For: time.Hour}), fault.ErrConflict)
	must(0, c.move(ledger.Move{Owner: "a", To: at(1, 5), Leave: true}))(t)
	equal(t, c.taken("b").Next, at(1, 5))
	is(t, c.move(ledger.Move{Owner: "a", From: at(1, 5), To: at(1, 6), For: time.Hour}), fault.ErrConflict)
	equal(t, c.read().Next, at(1, 5))
	equal(t, c.read().Owner, "b")

	must(c.take("b", time.Millisecond))(t)
	for {
		if s, err := c.take("c", time.Hour); err == nil {
			equal(t, s.Owner, "c")
			break
		}
	}
	is(t, c.move(ledger.Move{Owner: "b", From: at(1, 5), To: at(1, 6)}), fault.ErrConflict)
}

// testSinkPause: a sink that was left can be left alone for a while, by everybody.
func testSinkPause(t *testing.T, s storage.Store) {
	c := newCopying(t, s)
	c.taken("a")
	must(0, c.move(ledger.Move{Owner: "a", For: time.Hour, Leave: true}))(t)
	for _, owner := range []string{"a", "b"} {
		paused, err := c.take(owner, time.Hour)
		is(t, err, fault.ErrConflict)
		if paused.Owner != "" || paused.Wait <= 59*time.Minute || paused.Wait > time.Hour {
			t.Fatalf("%+v", paused)
		}
	}
}

// testSinkMoves: a sink moves from where it is, or not at all.
func testSinkMoves(t *testing.T, s storage.Store) {
	c := newCopying(t, s)
	c.taken("a")
	for _, step := range []struct{ from, to ledger.Mark }{{at(0, 0), at(1, 0)}, {at(1, 0), at(1, 256)},
		{at(1, 256), at(1, 1<<50)}, {at(1, 1<<50), at(2, 7)}, {at(2, 7), at(2, 7)}} {
		must(0, c.move(ledger.Move{Owner: "a", From: step.from, To: step.to, For: time.Hour}))(t)
		equal(t, c.read().Next, step.to)
	}
	for _, from := range []ledger.Mark{at(0, 0), at(1, 1<<50), at(1, 7), at(2, 6), at(2, 8)} {
		is(t, c.move(ledger.Move{Owner: "a", From: from, To: at(3, 0), For: time.Hour}), fault.ErrConflict)
	}
	equal(t, c.read().Next, at(2, 7))
	other := *c
	other.name = "archive"
	equal(t, other.read(), ledger.Sink{})
	other.tenant, other.name = ledger.NewTenant(), "siem"
	equal(t, other.read(), ledger.Sink{})
}

// testSinkLetters: dead letters are kept with the step that made them, the newest MaxLetters of them.
func testSinkLetters(t *testing.T, s storage.Store) {
	c := newCopying(t, s)
	c.taken("a")
	floor := must(s.Position(context.Background(), c.tenant))(t).Time
	letter := func(index int64) ledger.DeadLetter {
		return ledger.DeadLetter{Mark: at(1, index), Code: fmt.Sprintf("invalid_%d", index%3)}
	}
	const many = ledger.MaxLetters + 10
	for i := int64(0); i < many; i++ {
		step := ledger.Move{Owner: "a", From: c.read().Next, To: at(1, i+1), Dead: []ledger.DeadLetter{letter(i)},
			For: time.Hour}
		if i == 4 { // two at once
			step.To, step.Dead = at(1, i+2), append(step.Dead, letter(i+1))
			i++
		}
		must(0, c.move(step))(t)
	}
	is(t, c.move(ledger.Move{Owner: "a", To: at(1, 1), Dead: []ledger.DeadLetter{letter(0)}}), fault.ErrConflict)
	got := c.read()
	equal(t, got.Dead, int64(many))
	equal(t, len(got.Letters), ledger.MaxLetters)
	for i, l := range got.Letters {
		if l.At.Before(floor) || l.At.After(floor.Add(time.Hour)) {
			t.Fatalf("a dead letter is of %v, written after %v", l.At, floor)
		}
		l.At = time.Time{}
		equal(t, l, letter(int64(i)+10))
	}
	equal(t, len(c.taken("a").Letters), 0)
}

// testSinkRace: of many who make the same step, one makes it; and all events of the log come to somebody in order.
func testSinkRace(t *testing.T, s storage.Store) {
	c := newCopying(t, s)
	const end = 40
	var mu sync.Mutex
	var given []int64
	var group sync.WaitGroup
	for i := range 8 {
		owner := fmt.Sprintf("owner-%d", i)
		group.Go(func() {
			for {
				got, err := c.take(owner, time.Hour)
				if err != nil {
					continue
				}
				if got.Next.Index == end {
					_ = c.move(ledger.Move{Owner: owner, From: got.Next, To: got.Next, Leave: true})
					return
				}
				mu.Lock()
				given = append(given, got.Next.Index)
				mu.Unlock()
				err = c.move(ledger.Move{Owner: owner, From: got.Next, To: at(1, got.Next.Index+1), Leave: true})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	for i, index := range given {
		if index != int64(i) {
			t.Fatalf("given were %v", given)
		}
	}
	equal(t, len(given), end)
}

func testSinkNames(t *testing.T, s storage.Store) {
	good := newCopying(t, s)
	good.taken("a")
	for _, change := range []func(*copying){
		func(c *copying) { c.tenant = "" },
		func(c *copying) { c.tenant = "{a}" },
		func(c *copying) { c.name = "" },
		func(c *copying) { c.name = "a/b" },
		func(c *copying) { c.name = "a:b" },
		func(c *copying) { c.name = strings.Repeat("a", 1000) },
	} {
		c := *good
		change(&c)
		_, taken := c.take("a", time.Hour)
		_, read := c.store.Sink(context.Background(), c.tenant, c.name)
		for i, err := range []error{taken, read, c.move(ledger.Move{Owner: "a", To: at(1, 1)})} {
			if err == nil {
				t.Errorf("call %d accepts %q of tenant %q", i, c.name, c.tenant)
			}
		}
	}
	for _, m := range []ledger.Move{
		{Owner: "", To: at(1, 1)},
		{Owner: "a:b", To: at(1, 1)},
		{Owner: "a", To: at(1, -1)},
		{Owner: "a", To: at(-1, 1)},
		{Owner: "a", To: at(1, 1), For: -1},
		{Owner: "a", From: at(1, 2), To: at(1, 1)},
		{Owner: "a", From: at(2, 2), To: at(1, 3)},
		{Owner: "a", To: at(1, 1), Dead: []ledger.DeadLetter{{Mark: at(1, 0)}}},
		{Owner: "a", To: at(1, 1), Dead: []ledger.DeadLetter{{Mark: at(1, 0), Code: "what: they said"}}},
		{Owner: "a", To: at(1, 1), Dead: []ledger.DeadLetter{{Mark: at(1, -1), Code: "x"}}},
		{Owner: "a", To: at(1, 1), Dead: make([]ledger.DeadLetter, ledger.MaxLetters+1)},
	} {
		if good.move(m) == nil {
			t.Errorf("%+v is a step", m)
		}
	}
	if _, err := good.take("a b", time.Hour); err == nil {
		t.Error("an owner has a space in his name")
	}
	equal(t, good.read().Next, ledger.Mark{})
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_, taken := s.TakeSink(over, good.tenant, "siem", "a", time.Hour)
	_, read := s.Sink(over, good.tenant, "siem")
	moved := s.MoveSink(over, good.tenant, "siem", ledger.Move{Owner: "a", To: at(1, 1)})
	for _, err := range []error{taken, read, moved} {
		is(t, err, fault.ErrUnavailable)
	}
}
