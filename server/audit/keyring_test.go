package audit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// master seals the keys of every log of the tests.
var master = func() keys.Master {
	m, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		panic(err)
	}
	return m
}()

// keyed holds keys for every tenant, so that the logs of most tests begin with what the test does.
var keyed = struct {
	sync.Mutex
	rows map[ledger.Tenant][]ledger.Row
}{rows: map[ledger.Tenant][]ledger.Row{}}

func keyRows(t ledger.Tenant) []ledger.Row {
	keyed.Lock()
	defer keyed.Unlock()
	if keyed.rows[t] == nil {
		rows, err := keys.CreateLog(master, t, time.Unix(0, 0))
		if err != nil {
			panic(err)
		}
		keyed.rows[t] = rows
	}
	return keyed.rows[t]
}

// withKeys is a store in which every tenant has keys for its log.
type withKeys struct{ audit.Store }

func (s withKeys) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	rows, at, err := s.Store.Rows(ctx, t, kinds...)
	return append(rows, keyRows(t)...), at, err
}

// verify checks that the record is signed, with one of the keys of its log, as what it is.
func verify(t *testing.T, m keys.Master, r audit.Record, rows []ledger.Row) (kid string) {
	t.Helper()
	ring, err := keys.OpenLog(m, origin.Tenant, rows)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.ParseSignedCompact(r.SET, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatalf("index %d: %v", r.Index, err)
	}
	header := set.Signatures[0].Header
	if typ := header.ExtraHeaders[jose.HeaderType]; typ != "secevent+jwt" {
		t.Errorf("index %d: typ %v", r.Index, typ)
	}
	for _, k := range ring.EventKeys() {
		public, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		if k.KeyID != header.KeyID {
			continue
		}
		claims, err := set.Verify(ed25519.PublicKey(public))
		if err != nil || string(claims) != string(r.Claims) {
			t.Errorf("index %d: %v; signed claims %s", r.Index, err, claims)
		}
		return k.KeyID
	}
	t.Errorf("index %d: signed by %s, which is no key of the log", r.Index, header.KeyID)
	return ""
}

func storedRows(t *testing.T, s *faulty) []ledger.Row {
	t.Helper()
	rows, _, err := s.DB.Rows(t.Context(), origin.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestALogWithoutKeysBeginsWithSome(t *testing.T) {
	s := newBareStore(t)
	var logs []*audit.Log
	for range 4 {
		logs = append(logs, configured(t, audit.Config{Store: s, Deadline: time.Minute}))
	}
	var group sync.WaitGroup
	for _, l := range logs { // at once: one of them makes the keys
		group.Go(func() {
			if err := appendOnly(l, origin, event("a")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	page, err := logs[0].Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil || len(page) != 10 { // those of the keys that were made, and each writer's start and event
		t.Fatalf("%d records: %v", len(page), err)
	}
	for _, r := range page {
		verify(t, master, r, storedRows(t, s))
	}
}

func TestWhatBeganALogIsDoneOnceThoughNotConfirmed(t *testing.T) {
	s := newBareStore(t)
	s.breaks(times(1, applied))
	l := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	page, err := l.Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil || len(page) != 4 {
		t.Fatalf("%d records: %v", len(page), err)
	}
	for i, want := range []string{"log.key", "log.key", "writer.start", "token.exchange"} {
		if !strings.Contains(string(page[i].Claims), `"urn:bursar:event:`+want+`:v1"`) {
			t.Errorf("record %d is %s, want %s", i, page[i].Claims, want)
		}
	}
}

// A change that creates the tenant creates the keys that sign its events.
func TestTheKeysOfANewTenantSignItsFirstEvent(t *testing.T) {
	s := newBareStore(t)
	l := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	rows, err := keys.CreateLog(master, origin.Tenant, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Change(t.Context(), origin, ledger.Change{Put: rows}, event("created"))
	if err != nil {
		t.Fatal(err)
	}
	wantHistory(t, l, "writer.start", "created")
	page, err := l.Read(t.Context(), origin.Tenant, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page {
		verify(t, master, r, rows)
	}
}

// A log is never gone on with under keys that somebody else made: not when its own are missing, and not when they do
// not open.
func TestALogWithoutItsKeysIsNotWritten(t *testing.T) {
	s := newBareStore(t)
	l := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	stranger, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	other := configured(t, audit.Config{Store: s, Master: stranger, Deadline: time.Minute})
	wantUnavailable(t, appendOnly(other, origin, event("b")))

	var gone []ledger.Key
	rows, at, err := s.DB.Rows(t.Context(), origin.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		gone = append(gone, ledger.Key{Kind: row.Kind, ID: row.ID})
	}
	_, err = s.DB.Commit(t.Context(), origin.Tenant, ledger.Commit{Writer: "thief", First: 1,
		Entries: [][]byte{[]byte("x")}, Change: ledger.Change{Expect: at.Revision, Delete: gone}})
	if err != nil {
		t.Fatal(err)
	}
	fresh := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	wantUnavailable(t, appendOnly(fresh, origin, event("c")))
}

func TestAProcessSignsWithTheKeysThatAnotherRotated(t *testing.T) {
	s := newBareStore(t)
	l := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	other := configured(t, audit.Config{Store: s, Deadline: time.Minute})
	rows, at, err := s.DB.Rows(t.Context(), origin.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenLog(master, origin.Tenant, rows)
	if err != nil {
		t.Fatal(err)
	}
	put, err := ring.Rotate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Change(t.Context(), origin, ledger.Change{Expect: at.Revision, Put: put}, event("r")); err != nil {
		t.Fatal(err)
	}
	if err := appendOnly(l, origin, event("b")); err != nil {
		t.Fatal(err)
	}
	page, err := l.Read(t.Context(), origin.Tenant, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, r := range page {
		kids = append(kids, verify(t, master, r, storedRows(t, s)))
	}
	// The keys, a writer and an event before the rotation; a writer and the rotation, which is signed by the new key.
	if old := ring.Events().KeyID; kids[3] != old || slices.Contains(kids[4:], old) {
		t.Errorf("the log was signed by %s", strings.Join(kids, ", "))
	}
}

// A revocation is made even if the log must not be written otherwise.
func TestARevocationPassesTheGate(t *testing.T) {
	closed := errors.New("closed")
	l := configured(t, audit.Config{Store: withKeys{newBareStore(t)}, Deadline: time.Minute,
		Gate: func(context.Context, audit.Origin) error { return closed }})
	err := appendOnly(l, origin, event("a"))
	wantUnavailable(t, err)
	if !errors.Is(err, closed) {
		t.Errorf("got %v", err)
	}
	revoke(t, l)
	wantHistory(t, l, "writer.start", "cut")
}

// Whoever may have to revoke is noted, and let in by that, whatever stops the log. What else they do is not.
func TestASignInPassesTheGateAndAFrozenLog(t *testing.T) {
	note := audit.Event{Name: audit.AuthAdmin, Body: audit.Body{Outcome: audit.Allowed}}
	refused := func(t *testing.T, l *audit.Log) {
		t.Helper()
		wantUnavailable(t, appendOnly(l, origin, event("a")))
		_, err := l.Change(t.Context(), origin, put(0, "b"), note) // a change is one, whatever its event
		wantUnavailable(t, err)
	}
	t.Run("gate", func(t *testing.T) {
		l := configured(t, audit.Config{Store: withKeys{newBareStore(t)}, Deadline: time.Minute,
			Gate: func(context.Context, audit.Origin) error { return errors.New("closed") }})
		refused(t, l)
		if err := appendOnly(l, origin, note); err != nil {
			t.Error(err)
		}
		wantHistory(t, l, "writer.start", "auth.admin")
	})
	t.Run("frozen", func(t *testing.T) {
		s := newStore(t)
		l := newLog(t, s)
		if err := appendOnly(l, origin, event("a")); err != nil {
			t.Fatal(err)
		}
		s.swap(newStore(t).DB)
		refused(t, l)
		if err := appendOnly(l, origin, note); err != nil {
			t.Error(err)
		}
		wantHistory(t, l, "writer.start", "auth.admin")
	})
}

func TestARevocationIsMadeThoughTheStoreLostEvents(t *testing.T) {
	s := newStore(t)
	l := newLog(t, s)
	if err := appendOnly(l, origin, event("a")); err != nil {
		t.Fatal(err)
	}
	replaced := newStore(t)
	s.swap(replaced.DB)
	wantUnavailable(t, appendOnly(l, origin, event("b")))
	wantUnavailable(t, appendOnly(l, origin, event("c")))
	revoke(t, l)
	wantHistory(t, l, "writer.start", "cut")
	wantUnavailable(t, appendOnly(l, origin, event("d")))
	if !errors.Is(appendOnly(l, origin, event("d")), fault.ErrSequence) {
		t.Error("the refusal does not say why")
	}
}

func revoke(t *testing.T, l *audit.Log) {
	t.Helper()
	e := audit.Event{Name: audit.CutoffSet, Body: audit.Body{Outcome: audit.Allowed, Change: audit.Change{ID: "cut"}}}
	_, err := l.Change(t.Context(), origin,
		ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "ap-bot"}, Keep: time.Hour}}}, e)
	if err != nil {
		t.Errorf("revoke: %v", err)
	}
}
