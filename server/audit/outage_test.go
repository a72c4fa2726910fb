package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// outage runs what is tested in a bubble, with a log that has written one event before.
func outage(t *testing.T, test func(t *testing.T, s *faulty, l *audit.Log)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := newLogWithin(t, s, 0) // the default
		if err := appendOnly(l, origin, event("before")); err != nil {
			t.Fatal(err)
		}
		test(t, s, l)
	})
}

func TestAShortOutageIsOnlyWaitedFor(t *testing.T) {
	for name, m := range map[string]mishap{"before the commit": notApplied, "after the commit": applied} {
		t.Run(name, func(t *testing.T) {
			outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
				s.breaks(times(3, m))
				if p, err := l.Append(t.Context(), origin, event("a")); err != nil || p.Index != 2 {
					t.Errorf("got %+v, %v", p, err)
				}
				if p, err := l.Change(t.Context(), origin, put(0, "b"), changed("b")); err != nil || p.Revision != 1 {
					t.Errorf("got %+v, %v", p, err)
				}
				wantHistory(t, l, "writer.start", "before", "a", "b")
			})
		})
	}
}

func TestWhoWasToldOfAFailureIsFollowedUp(t *testing.T) {
	for name, m := range map[string]mishap{
		"before the commit": notApplied, "after the commit": applied, "without an answer": hang,
	} {
		t.Run(name, func(t *testing.T) {
			outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
				s.breaks(always(m))
				start := time.Now()
				var wg sync.WaitGroup
				call := func(id string) { wg.Go(func() { wantUnavailable(t, appendOnly(l, origin, event(id))) }) }
				call("sent")
				synctest.Wait()
				time.Sleep(500 * time.Millisecond)
				call("queued")
				wg.Wait()
				if waited := time.Since(start); waited > 1100*time.Millisecond {
					t.Errorf("callers waited %v", waited)
				}
				now := time.Now()
				for range 100 {
					wantUnavailable(t, appendOnly(l, origin, event("refused at once")))
				}
				if waited := time.Since(now); waited != 0 {
					t.Errorf("callers waited %v for a store that is known to be down", waited)
				}
				if got := l.Stats(); got.Down != 1 || got.Refused != 102 {
					t.Errorf("got %+v", got)
				}
				time.Sleep(10 * time.Minute)
				s.breaks(nil)
				time.Sleep(3 * time.Second) // it comes back without a call
				if err := appendOnly(l, origin, event("after")); err != nil {
					t.Error(err)
				}
				wantHistory(t, l, "writer.start", "before", "sent", "sent not_released", "after")
				if got := l.Stats(); got.Down != 0 || got.Unreleased != 1 || got.Queued != 0 {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

func TestAFollowUpNamesWhatItFollows(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(applied))
		wantUnavailable(t, appendOnly(l, origin, event("a")))
		s.breaks(nil)
		time.Sleep(time.Second)
		all := history(t, l)
		first, then := all[2], all[3]
		if then.Body.Outcome != audit.Failed || first.Body.Outcome != audit.Allowed {
			t.Errorf("outcomes are %s and %s", first.Body.Outcome, then.Body.Outcome)
		}
		if first.Txn != then.Txn || first.Name != then.Name || first.Body.ClientID != then.Body.ClientID ||
			first.Body.Agent != then.Body.Agent || first.Body.Token.JTI != then.Body.Token.JTI {
			t.Errorf("%+v is followed by %+v", first, then)
		}
	})
}

func TestOnlyThoseWhoGaveUpAreFollowedUp(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		gather, answer := times(3, notApplied), times(3, applied)
		s.breaks(func(c ledger.Commit) mishap { // 35 ms until the first goes through, and as long for the others
			if len(c.Entries) == 1 {
				return gather(c)
			}
			return answer(c)
		})
		var wg sync.WaitGroup
		call := func(id string, patience time.Duration, check func(error)) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := l.Append(ctx, origin, event(id))
				check(err)
			})
			synctest.Wait()
		}
		fails := func(err error) { wantUnavailable(t, err) }
		works := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		call("first", time.Minute, works)
		call("a", time.Minute, works)
		call("b", 50*time.Millisecond, fails)
		call("dropped", 20*time.Millisecond, fails)
		call("c", time.Minute, works)
		call("d", 60*time.Millisecond, fails)
		wg.Wait()
		time.Sleep(time.Second)
		wantHistory(t, l, "writer.start", "before", "first", "a", "b", "c", "d", "b not_released", "d not_released")
	})
}

func TestACallerWhoLeavesBeforeTheCommitLeavesNothing(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(times(5, notApplied))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := appendOnly(l, origin, event("first")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for i := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				_, err := l.Append(ctx, origin, event(fmt.Sprint(i)))
				wantUnavailable(t, err)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the cause too", err)
				}
			})
			synctest.Wait()
			cancel()
			_, err := l.Append(ctx, origin, event("never"))
			wantUnavailable(t, err)
		}
		wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Append(ctx, origin, event("never"))
		wantUnavailable(t, err)
		time.Sleep(time.Second)
		wantHistory(t, l, "writer.start", "before", "first")
	})
}

func TestACallerWhoLeavesDuringTheCommitIsFollowedUp(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(times(3, applied))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := l.Append(ctx, origin, event("a"))
			wantUnavailable(t, err)
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		time.Sleep(time.Second)
		wantHistory(t, l, "writer.start", "before", "a", "a not_released")
	})
}

func TestAChangeThatCouldNotBeConfirmed(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(applied))
		_, err := l.Change(t.Context(), origin, put(0, "a"), changed("a"), changed("b"))
		wantUnavailable(t, err)
		s.breaks(nil)
		time.Sleep(time.Second)
		wantHistory(t, l, "writer.start", "before", "a", "b", "a not_confirmed", "b not_confirmed")
	})
}

func TestAChangeThatLosesAfterAnOutageIsNotFollowedUp(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(notApplied))
		_, err := l.Change(t.Context(), origin, put(9, "a"), changed("a"))
		wantUnavailable(t, err)
		s.breaks(nil)
		time.Sleep(time.Second)
		if err := appendOnly(l, origin, event("after")); err != nil {
			t.Error(err)
		}
		wantHistory(t, l, "writer.start", "before", "after")
	})
}

func TestAStoreThatForgotFreezesTheTenant(t *testing.T) {
	s := newStore(t)
	l := newLog(t, s)
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	s.DB = newStore(t).DB
	for range 3 {
		err := appendOnly(l, origin, event("b"))
		wantUnavailable(t, err)
		if !errors.Is(err, fault.ErrSequence) {
			t.Errorf("got %v, want the cause too", err)
		}
	}
	if got := l.Stats(); got.Frozen != 1 || s.commits != 2 {
		t.Errorf("got %+v after %d commits", got, s.commits)
	}
	if got := history(t, l); len(got) != 0 {
		t.Errorf("the new store holds %v", got)
	}
	if err := appendOnly(newLog(t, s), origin, event("c")); err != nil {
		t.Errorf("a restart does not go on: %v", err)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(times(1, hang))
		const callers = 5000
		var mu sync.Mutex
		full := 0
		var wg sync.WaitGroup
		start := time.Now()
		for i := range callers {
			wg.Go(func() {
				err := appendOnly(l, origin, event(fmt.Sprint(i)))
				if time.Since(start) == 0 && err != nil {
					mu.Lock()
					defer mu.Unlock()
					full++
				}
			})
		}
		wg.Wait()
		if got := callers - full; got < 4096 || got > 4096+audit.MaxEvents {
			t.Errorf("%d callers were let in", got)
		}
	})
}
