package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// hand is a clock that a test sets.
type hand struct {
	mu sync.Mutex
	at time.Time
}

func (h *hand) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.at }

func (h *hand) set(at time.Time) { h.mu.Lock(); defer h.mu.Unlock(); h.at = at }

// counted is a store that counts the events that are read.
type counted struct {
	storage.Store
	read int
}

func (c *counted) Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	entries, err := c.Store.Events(ctx, t, from, limit)
	c.read += len(entries)
	return entries, err
}

// longLog is a log of two writers whose clocks are half a minute apart, with an hour of decisions.
type longLog struct {
	*audit.Log
	store  *counted
	tenant ledger.Tenant
	ids    []string // of decisions, in the order of the log
	began  time.Time
}

const decisions = 12_000

func newLongLog(t *testing.T, url string) *longLog {
	t.Helper()
	db, err := storage.Open(t.Context(), storage.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l := &longLog{store: &counted{Store: db}, tenant: ledger.NewTenant(),
		began: time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)}
	clocks, writers := [2]hand{}, [2]*audit.Log{}
	for i := range writers {
		clocks[i].set(l.began)
		writers[i] = newClockedLog(t, l.store, clocks[i].now)
	}
	l.Log = writers[0]
	o := audit.Origin{Tenant: l.tenant, Issuer: origin.Issuer}
	for step := 0; len(l.ids) < decisions; step++ {
		at := l.began.Add(time.Duration(step) * 18 * time.Second)
		writer, ahead := step%2, time.Duration(step%2)*30*time.Second
		clocks[writer].set(at.Add(ahead))
		var wg sync.WaitGroup
		for range 60 { // recorded together
			id := ledger.NewID(at.Add(ahead - rand.N(time.Second)))
			l.ids = append(l.ids, id)
			e := event("")
			e.Body.DecisionID = id
			wg.Go(func() {
				if _, err := writers[writer].Append(t.Context(), o, e); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	return l
}

func TestADecisionIsFoundByItsIdAloneInALongLog(t *testing.T) {
	for name, url := range map[string]string{
		"embedded": "bolt:" + filepath.Join(t.TempDir(), "bursar.db"), "redis": storagetest.Redis(t),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLongLog(t, url)
			l.findsEveryOne(t)
			l.findsNoOther(t)
		})
	}
}

func (l *longLog) findsEveryOne(t *testing.T) {
	most := 0
	for _, i := range append([]int{0, 1, 59, 60, decisions / 2, decisions - 60, decisions - 1},
		rand.Perm(decisions)[:40]...) {
		l.store.read = 0
		found, err := l.Find(t.Context(), l.tenant, l.ids[i])
		if err != nil || len(found) != 1 {
			t.Fatalf("decision %d: %d records, %v", i, len(found), err)
		}
		if name, b, err := found[0].Open(); err != nil || name != audit.TokenExchange || b.DecisionID != l.ids[i] {
			t.Errorf("decision %d: found the %s of %q, %v", i, name, b.DecisionID, err)
		}
		most = max(most, l.store.read)
	}
	if most > 3000 {
		t.Errorf("%d of %d records were read to find one", most, decisions)
	}
}

func (l *longLog) findsNoOther(t *testing.T) {
	for name, at := range map[string]time.Time{
		"before the log": l.began.Add(-24 * time.Hour), "as it begins": l.began, "within": l.began.Add(30 * time.Minute),
		"as it ends": l.began.Add(time.Hour), "after it": l.began.Add(24 * time.Hour), "in 1970": time.UnixMilli(0),
		"at the end of time": time.UnixMilli(1<<48 - 1),
	} {
		if found, err := l.Find(t.Context(), l.tenant, ledger.NewID(at)); fault.As(err).Kind != fault.NotFound {
			t.Errorf("%s: %d records, %v", name, len(found), err)
		}
	}
	if _, err := l.Find(t.Context(), ledger.NewTenant(), l.ids[0]); fault.As(err).Kind != fault.NotFound {
		t.Errorf("in another tenant's log: %v", err)
	}
	for _, id := range []string{"", "x", l.ids[0][:35], l.ids[0] + "0", "../../etc/passwd", l.ids[0] + "\n"} {
		if _, err := l.Find(t.Context(), l.tenant, id); fault.As(err).Kind != fault.InvalidRequest {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestEveryRecordOfADecisionIsFound: a token that is withheld leaves two. What only mentions the id is none.
func TestEveryRecordOfADecisionIsFound(t *testing.T) {
	l := newLog(t, newStore(t))
	id := ledger.NewID(time.Now())
	e := event("one")
	e.Body.DecisionID = id
	other := event(id)
	other.Body.DecisionID = ledger.NewID(time.Now())
	withheld := e
	withheld.Body.Outcome, withheld.Body.Reason = audit.Failed, audit.NotReleased
	for _, e := range []audit.Event{e, other, withheld} {
		if _, err := l.Append(t.Context(), origin, e); err != nil {
			t.Fatal(err)
		}
	}
	found, err := l.Find(t.Context(), origin.Tenant, id)
	if err != nil || fmt.Sprint(indexes(found)) != "[1 3]" {
		t.Errorf("found %v, %v", indexes(found), err)
	}
}

// TestAnEventIsFoundByItsIdOrItsToken: the issue of a token comes first, what only mentions it is passed over.
func TestAnEventIsFoundByItsIdOrItsToken(t *testing.T) {
	l := newLog(t, newStore(t))
	began := time.Now()
	token := ledger.NewID(began)
	of := func(name string, change func(*audit.Body)) audit.Event {
		e := event(name)
		change(&e.Body)
		return e
	}
	for _, e := range []audit.Event{
		of("mentioned", func(b *audit.Body) { b.Lineage = []string{token} }),
		of("issued", func(b *audit.Body) { b.Token.JTI = token }),
		of("withheld", func(b *audit.Body) {
			b.Token.JTI, b.Outcome, b.Reason = token, audit.Failed, audit.NotReleased
		}),
	} {
		if _, err := l.Append(t.Context(), origin, e); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := l.Named(t.Context(), origin.Tenant, token); err != nil || fmt.Sprint(indexes(found)) != "[2 3]" {
		t.Errorf("found %v, %v", indexes(found), err)
	}
	all, err := l.Read(t.Context(), origin.Tenant, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		var c struct{ JTI string }
		if err := json.Unmarshal(r.Claims, &c); err != nil {
			t.Fatal(err)
		}
		found, err := l.Named(t.Context(), origin.Tenant, c.JTI)
		if err != nil || fmt.Sprint(indexes(found)) != fmt.Sprintf("[%d]", i) {
			t.Errorf("found %v, %v", indexes(found), err)
		}
	}
	for id, kind := range map[string]fault.Kind{ledger.NewID(began): fault.NotFound, "x": fault.InvalidRequest} {
		if found, err := l.Named(t.Context(), origin.Tenant, id); fault.As(err).Kind != kind {
			t.Errorf("%q: found %v, %v", id, indexes(found), err)
		}
	}
	for at, want := range map[time.Duration]int64{0: 0, time.Hour: 4, -time.Hour: 0} {
		if from, err := l.Since(t.Context(), origin.Tenant, began.Add(at)); err != nil || from != want {
			t.Errorf("since %v: %d, %v", at, from, err)
		}
	}
}

// TestWhatIsNoEventHidesNothing puts something into the store that the log did not write.
func TestWhatIsNoEventHidesNothing(t *testing.T) {
	s := newStore(t)
	l := newLog(t, s)
	for range 2 {
		if _, err := l.Append(t.Context(), origin, event("one")); err != nil {
			t.Fatal(err)
		}
		_, err := s.Commit(t.Context(), origin.Tenant, ledger.Commit{Writer: ledger.NewID(time.Now()), First: 1,
			Entries: [][]byte{[]byte("garbage"), []byte("a.e30.c"), []byte("a.e30K.c"), []byte("a.bnVs.c")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil || len(all) != 11 || all[2].SET != "garbage" {
		t.Fatalf("read %v, %v", indexes(all), err)
	}
	for i, claims := range map[int]string{2: "", 3: "{}", 4: "{}\n", 5: "", 7: ""} {
		if string(all[i].Claims) != claims {
			t.Errorf("record %d has the claims %q", i, all[i].Claims)
		}
	}
	if all[6].Claims == nil {
		t.Error("the event behind it has no claims")
	}
}

func indexes(records []audit.Record) (all []int64) {
	for _, r := range records {
		all = append(all, r.Index)
	}
	return all
}
