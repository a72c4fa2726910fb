package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/bolt"
)

var origin = audit.Origin{Tenant: "tenant-a", Issuer: "https://sts.example/t/acme"}

// mishap is what goes wrong with a commit.
type mishap int

const (
	none       mishap = iota
	notApplied        // fails before the store sees it
	applied           // fails after the store has it
	hang              // nothing until the caller's context ends
	forgot            // the store has lost what this writer wrote
)

// faulty is a real store behind a line that breaks.
type faulty struct {
	*bolt.DB
	mu      sync.Mutex
	next    func(c ledger.Commit) mishap // nil: none
	commits int
	keyed   bool // every tenant has keys for its log
}

// swap makes another file the store.
func (f *faulty) swap(db *bolt.DB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.DB = db
}

// Rows are the store's, and keys.
func (f *faulty) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) (
	[]ledger.Row, ledger.Position, error,
) {
	if f.keyed {
		return withKeys{f.DB}.Rows(ctx, t, kinds...)
	}
	return f.DB.Rows(ctx, t, kinds...)
}

func (f *faulty) breaks(next func(c ledger.Commit) mishap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
}

func always(m mishap) func(ledger.Commit) mishap { return func(ledger.Commit) mishap { return m } }

// times returns m for the first n commits.
func times(n int, m mishap) func(ledger.Commit) mishap {
	return func(ledger.Commit) mishap {
		if n--; n < 0 {
			return none
		}
		return m
	}
}

func (f *faulty) Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	f.mu.Lock()
	f.commits++
	m := none
	if f.next != nil {
		m = f.next(c)
	}
	f.mu.Unlock()
	broken := fmt.Errorf("line: %w", fault.ErrUnavailable)
	switch m {
	case notApplied:
		return ledger.Position{}, broken
	case forgot:
		return ledger.Position{}, fault.ErrSequence
	case hang:
		<-ctx.Done()
		return ledger.Position{}, broken
	case applied:
		if _, err := f.DB.Commit(ctx, t, c); err != nil {
			return ledger.Position{}, err
		}
		return ledger.Position{}, broken
	}
	return f.DB.Commit(ctx, t, c)
}

// newStore opens an empty store in which logs have keys, closed with the test or bubble.
func newStore(t *testing.T) *faulty {
	t.Helper()
	s := newBareStore(t)
	s.keyed = true
	return s
}

// newBareStore opens an empty store.
func newBareStore(t *testing.T) *faulty {
	t.Helper()
	db, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "bursar.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &faulty{DB: db}
}

// newLog returns a log that is closed, and must drain, with the test or bubble. It waits as long as a busy disk takes.
func newLog(t *testing.T, s audit.Store) *audit.Log {
	t.Helper()
	return newLogWithin(t, s, time.Minute)
}

func newLogWithin(t *testing.T, s audit.Store, deadline time.Duration) *audit.Log {
	t.Helper()
	return configured(t, audit.Config{Store: s, Deadline: deadline})
}

// newClockedLog returns a log like newLog's with a clock of its own.
func newClockedLog(t *testing.T, s audit.Store, now func() time.Time) *audit.Log {
	t.Helper()
	return configured(t, audit.Config{Store: s, Deadline: time.Minute, Now: now})
}

func configured(t *testing.T, c audit.Config) *audit.Log {
	t.Helper()
	c.Node, c.Logger = "r1", slog.New(slog.DiscardHandler)
	if c.Master == nil && c.Signer == nil {
		c.Master = master
	}
	l := audit.New(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return l
}

// event returns an allowed exchange whose token has the given id.
func event(jti string) audit.Event {
	return audit.Event{
		Name: audit.TokenExchange, Txn: "run-" + jti, Agent: "spiffe://acme.example/ap-bot",
		Body: audit.Body{Outcome: audit.Allowed, ClientID: "ap-bot", Token: audit.Token{JTI: jti}},
	}
}

// set is what the tests read of a record.
type set struct {
	Index  int64
	Issuer string `json:"iss"`
	Aud    string `json:"aud"`
	ID     string `json:"jti"`
	Txn    string `json:"txn"`
	Writer string `json:"wid"`
	Number int64  `json:"wsn"`
	Issued int64  `json:"iat"`
	Name   string
	Body   struct {
		Agent string `json:"agent"`
		audit.Body
	}
	Events map[string]json.RawMessage `json:"events"`
}

// String tells an event of the tests apart: its token, and how it ended unless allowed.
func (s set) String() string {
	switch {
	case s.Body.Reason != "":
		return s.Body.Token.JTI + s.Body.Change.ID + " " + s.Body.Reason
	case s.Body.Token.JTI+s.Body.Change.ID != "":
		return s.Body.Token.JTI + s.Body.Change.ID
	}
	return s.Name
}

// history reads a whole log and checks what must hold of every log: indexes and each writer's numbers have no gap and
// each writer opens its part.
func history(t *testing.T, l *audit.Log) []set {
	t.Helper()
	return historyOf(t, l, origin)
}

func historyOf(t *testing.T, l *audit.Log, o audit.Origin) []set {
	t.Helper()
	var all []set
	numbers, ids := map[string]int64{}, map[string]bool{}
	for {
		page, err := l.Read(t.Context(), o.Tenant, int64(len(all)), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			s := parse(t, r)
			numbers[s.Writer]++
			switch {
			case r.Index != int64(len(all)):
				t.Fatalf("index %d at place %d", r.Index, len(all))
			case s.Number != numbers[s.Writer]:
				t.Fatalf("index %d: wsn %d, want %d", r.Index, s.Number, numbers[s.Writer])
			case (s.Number == 1) != (s.Name == audit.WriterStart):
				t.Fatalf("index %d: wsn %d is a %s", r.Index, s.Number, s.Name)
			case ids[s.ID]:
				t.Fatalf("index %d: jti occurs twice", r.Index)
			}
			ids[s.ID] = true
			all = append(all, s)
		}
		if len(page) < 100 {
			return all
		}
	}
}

func parse(t *testing.T, r audit.Record) set {
	t.Helper()
	s := set{Index: r.Index}
	if err := json.Unmarshal(r.Claims, &s); err != nil {
		t.Fatalf("index %d: %v in %s", r.Index, err, r.Claims)
	}
	if len(s.Events) != 1 {
		t.Fatalf("index %d: %d events", r.Index, len(s.Events))
	}
	for uri, body := range s.Events {
		if _, err := fmt.Sscanf(uri, "urn:bursar:event:%s", &s.Name); err != nil {
			t.Fatalf("index %d: event type %q", r.Index, uri)
		}
		s.Name = s.Name[:len(s.Name)-len(":v1")]
		if err := json.Unmarshal(body, &s.Body); err != nil {
			t.Fatalf("index %d: %v", r.Index, err)
		}
	}
	return s
}

func wantHistory(t *testing.T, l *audit.Log, want ...string) {
	t.Helper()
	var got []string
	for _, s := range history(t, l) {
		got = append(got, s.String())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log holds\n%q, want\n%q", got, want)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, fault.ErrUnavailable) || fault.As(err).Kind != fault.Unavailable {
		t.Errorf("got error %v, want the store to be unavailable", err)
	}
}
