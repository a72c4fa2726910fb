package audit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// A writer's last event says that it has ended, after everything that it followed up.
func TestTheStopOfAWriterIsItsLastEvent(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		other := audit.Origin{Tenant: "tenant-b", Issuer: "https://sts.example/t/globex"}
		if err := appendOnly(l, other, event("theirs")); err != nil {
			t.Fatal(err)
		}
		s.breaks(times(20, applied))
		var wg sync.WaitGroup
		wg.Go(func() { wantUnavailable(t, appendOnly(l, origin, event("a"))) })
		synctest.Wait()
		time.Sleep(1100 * time.Millisecond) // longer than the caller waits
		wg.Wait()
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantHistory(t, l, "writer.start", "before", "a", "a not_released", "writer.stop")
		page, err := l.Read(t.Context(), other.Tenant, 2, 10)
		if err != nil || len(page) != 1 || parse(t, page[0]).String() != "writer.stop" {
			t.Errorf("the other log ends with %v, %v", page, err)
		}
	})
}

func TestAWriterThatWroteNothingHasNoStop(t *testing.T) {
	l := newLog(t, newStore(t))
	_, _ = l.Change(t.Context(), origin, put(7, "a"), changed("a")) // refused
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantHistory(t, l)
}

// A writer that the store has forgotten cannot end in order.
func TestAFrozenWriterHasNoStop(t *testing.T) {
	s := newStore(t)
	l := newLog(t, s)
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	s.breaks(func(c ledger.Commit) mishap { return forgot })
	wantUnavailable(t, appendOnly(l, origin, event("b")))
	s.breaks(nil)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantHistory(t, l, "writer.start", "a")
}

// Close does not wait longer for the last event than for others.
func TestAStoreThatIsAwayKeepsNoWriter(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(always(hang))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); err == nil {
			t.Error("the last event was not written, and Close does not say so")
		}
		s.breaks(nil)
		wantHistory(t, l, "writer.start", "before")
	})
}
