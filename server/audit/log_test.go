package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// put changes a row, provided that the revision is as expected.
func put(expect int64, id string) ledger.Change {
	return ledger.Change{Expect: expect, Put: []ledger.Row{{Kind: "client", ID: id, Value: []byte(`{}`)}}}
}

func changed(id string) audit.Event {
	return audit.Event{Name: "admin.client.update", Body: audit.Body{
		Outcome: audit.Allowed, Change: audit.Change{Object: "client", ID: id},
	}}
}

func TestCallersGetTheirOwnPositions(t *testing.T) {
	const callers, calls = 64, 25
	s := newStore(t)
	l := newLog(t, s)
	var mu sync.Mutex
	at := map[string]int64{}
	conflicts := 0
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for call := range calls {
				id := fmt.Sprintf("%d-%d", caller, call)
				var p ledger.Position
				var err error
				if call%5 == 0 {
					p, err = l.Change(t.Context(), origin, put(int64(call), id), changed(id), changed(id))
				} else {
					p, err = l.Append(t.Context(), origin, event(id))
				}
				mu.Lock()
				switch {
				case errors.Is(err, fault.ErrConflict):
					conflicts++
				case err != nil:
					t.Error(err)
				default:
					at[id] = p.Index
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := history(t, l)
	for id, index := range at {
		if got := all[index].String(); got != id {
			t.Errorf("%s was answered with index %d, which is %s", id, index, got)
		}
	}
	changes := callers*calls/5 - conflicts
	if want := 1 + callers*calls*4/5 + 2*changes; len(all) != want || conflicts == 0 || changes == 0 {
		t.Errorf("%d entries, %d conflicts, %d changes; want %d entries", len(all), conflicts, changes, want)
	}
	rows, p, err := s.DB.Rows(t.Context(), origin.Tenant)
	if err != nil || p.Revision != int64(changes) || len(rows) != changes {
		t.Errorf("%d changes were recorded; revision %d, %d rows, %v", changes, p.Revision, len(rows), err)
	}
	if s.commits >= len(at) {
		t.Errorf("%d commits for %d calls: nothing was grouped", s.commits, len(at))
	}
}

func TestARefusedChangeUsesNoNumber(t *testing.T) {
	l := newLog(t, newStore(t))
	if _, err := l.Change(t.Context(), origin, put(7, "a"), changed("a")); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	p, err := l.Change(t.Context(), origin, put(0, "b"), changed("b"), changed("c"))
	if err != nil || p.Index != 1 || p.Revision != 1 {
		t.Errorf("got %+v, %v; want index 1 and revision 1", p, err)
	}
	if _, err := l.Change(t.Context(), origin, put(0, "d"), changed("d")); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if p, err = l.Append(t.Context(), origin, event("e")); err != nil || p.Index != 3 || p.Revision != 1 {
		t.Errorf("got %+v, %v; want index 3 and revision 1", p, err)
	}
	wantHistory(t, l, "writer.start", "b", "c", "e")
}

func TestWhatTheStoreCannotHoldFailsAlone(t *testing.T) {
	l := newLog(t, newStore(t))
	bad := ledger.Change{Put: []ledger.Row{{Kind: "No Kind", ID: "x"}}}
	if _, err := l.Change(t.Context(), origin, bad, changed("a")); err == nil || fault.As(err).Kind != fault.Internal {
		t.Errorf("got %v, want an internal error", err)
	}
	many := make([]audit.Event, audit.MaxEvents+1)
	for i := range many {
		many[i] = changed(fmt.Sprint(i))
	}
	if _, err := l.Change(t.Context(), origin, put(0, "x"), many...); fault.As(err).Kind != fault.TooLarge {
		t.Errorf("got %v, want too large", err)
	}
	if _, err := l.Change(t.Context(), origin, put(0, "x"), many[1:]...); err != nil {
		t.Error(err)
	}
	if got := len(history(t, l)); got != ledger.MaxEntries-2 { // room for the keys of a new log is left
		t.Errorf("%d entries, want %d", got, ledger.MaxEntries-2)
	}
}

func TestABugRecordsNothing(t *testing.T) {
	l := newLog(t, newStore(t))
	for name, call := range map[string]func() error{
		"an event without a name":   func() error { return appendOnly(l, origin, audit.Event{Body: event("x").Body}) },
		"an event of another name":  func() error { return appendOnly(l, origin, named("token.mint")) },
		"an unknown object":         func() error { return appendOnly(l, origin, named("admin.door.create")) },
		"an unknown verb":           func() error { return appendOnly(l, origin, named("admin.client.paint")) },
		"an event without outcome":  func() error { return appendOnly(l, origin, audit.Event{Name: audit.TokenRevoke}) },
		"no tenant":                 func() error { return appendOnly(l, audit.Origin{Issuer: origin.Issuer}, event("x")) },
		"no issuer":                 func() error { return appendOnly(l, audit.Origin{Tenant: origin.Tenant}, event("x")) },
		"a change without an event": func() error { _, err := l.Change(t.Context(), origin, put(0, "a")); return err },
	} {
		if err := call(); err == nil || fault.As(err).Kind != fault.Internal {
			t.Errorf("%s: got %v, want an internal error", name, err)
		}
	}
	if got := history(t, l); len(got) != 0 {
		t.Errorf("the log holds %v", got)
	}
}

func named(name string) audit.Event {
	e := event("x")
	e.Name = name
	return e
}

func appendOnly(l *audit.Log, o audit.Origin, e audit.Event) error {
	_, err := l.Append(context.Background(), o, e)
	return err
}

func TestACrowdIsRecordedInFullCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := newLog(t, s)
		s.breaks(times(3, notApplied))
		const callers = 1000
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if err := appendOnly(l, origin, event(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := len(history(t, l)); got != callers+1 || s.commits > 10 {
			t.Errorf("%d entries in %d commits", got, s.commits)
		}
	})
}

func TestTenantsHaveLogsOfTheirOwn(t *testing.T) {
	l := newLog(t, newStore(t))
	other := audit.Origin{Tenant: "tenant-b", Issuer: "https://sts.example/t/other"}
	for _, o := range []audit.Origin{origin, other, origin} {
		if err := appendOnly(l, o, event("x")); err != nil {
			t.Fatal(err)
		}
	}
	wantHistory(t, l, "writer.start", "x", "x")
	page, err := l.Read(t.Context(), other.Tenant, 0, 10)
	if err != nil || len(page) != 2 {
		t.Fatalf("%d records, %v", len(page), err)
	}
	if s := parse(t, page[1]); s.Issuer != other.Issuer || s.Aud != other.Issuer+"/log" || s.Number != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestAnotherProcessOpensItsOwnPart(t *testing.T) {
	s := newStore(t)
	first, second := newLog(t, s), newLog(t, s)
	for i, l := range []*audit.Log{first, second, first, second} {
		if err := appendOnly(l, origin, event(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	wantHistory(t, first, "writer.start", "0", "writer.start", "1", "2", "3")
}

func TestReadPages(t *testing.T) {
	l := newLog(t, newStore(t))
	for i := range 5 {
		if err := appendOnly(l, origin, event(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		from        int64
		limit       int
		first, want int
	}{{0, 4, 0, 4}, {4, 4, 4, 2}, {6, 4, 0, 0}, {-3, 2, 0, 2}, {0, 0, 0, 1}, {0, 1 << 40, 0, 6}} {
		page, err := l.Read(t.Context(), origin.Tenant, row.from, row.limit)
		if err != nil || len(page) != row.want || len(page) > 0 && page[0].Index != int64(row.first) {
			t.Errorf("from %d, limit %d: %d records, %v", row.from, row.limit, len(page), err)
		}
	}
}

func TestCloseRecordsWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := newLog(t, s)
		s.breaks(times(3, notApplied))
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := appendOnly(l, origin, event(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("192.0.2.1"))
		synctest.Wait()
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if got := history(t, l); len(got) != 13 || got[12].String() != "writer.stop" {
			t.Errorf("%v, want 12 entries and the end", got)
		}
		wantUnavailable(t, appendOnly(l, origin, event("late")))
		l.Refuse(origin, "client.unknown", netip.MustParseAddr("192.0.2.1"))
		if got := l.Stats(); got.Lost != 1 || got.Recorded != 13 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.breaks(always(hang))
		var said bytes.Buffer
		l := audit.New(audit.Config{Store: s, Master: master, Deadline: time.Hour,
			Logger: slog.New(slog.NewTextHandler(&said, nil))})
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() { wantUnavailable(t, appendOnly(l, origin, event(fmt.Sprint(i)))) })
			synctest.Wait()
		}
		for range 3 {
			l.Refuse(origin, "client.unknown", netip.MustParseAddr("192.0.2.1"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		wg.Wait()
		if l.Stats().Lost != 3 || !strings.Contains(said.String(), "count=3") {
			t.Errorf("%d refusals are lost; the log says %s", l.Stats().Lost, &said)
		}
	})
}
