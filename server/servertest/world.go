// Package servertest builds whole servers for the tests of their rooms: a real store, real issuers behind HTTP, and as
// many processes over one store as a test wants, in a time that the test can move.
package servertest

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/audit/audittest"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// BaseURL is the origin of every world.
const BaseURL = "https://sts.example"

// ShimURL is where every world has its shim.
const ShimURL = BaseURL + "/shim"

// Loopback are the private addresses that every tenant of a world may use.
var Loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Options say how a world differs from the usual one.
type Options struct {
	StoreURL   string                   // a Redis; an embedded store of its own if empty
	StoreSkew  time.Duration            // how far the embedded store's clock is ahead of the processes'
	Deadline   time.Duration            // of the processes' logs; a minute if zero, for machines that are busy
	NoCeiling  bool                     // the platform allows nothing private
	WrapLog    func(*audit.Log) LogWrap // between exchanger and log, of the first process
	WrapTenant func(tenant.Store) tenant.Store
	Limits     limit.Rules // of every process; nothing is limited if zero
}

// LogWrap is what an exchanger needs of a log.
type LogWrap = exchange.Log

// World is a store with the processes that work on it. The first process is its own.
type World struct {
	*Process
	T      testing.TB
	Store  *storagetest.Faulty
	Clock  *Clock
	Master keys.Master

	options  Options
	operator *audit.Log        // what tests change by
	apart    *tenant.Directory // what they look at for that
	ids      map[string]ledger.Tenant
}

// Process is what one bursar process has of its own.
type Process struct {
	Log       *audit.Log
	Limits    *limit.Limiter
	Directory *tenant.Directory
	Exchanger *exchange.Exchanger
	Server    *server.Server
	Registry  *prometheus.Registry
}

// Clock runs like the machine's, ahead of it by what was added.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now returns the time.
func (c *Clock) Now() time.Time { return time.Now().Add(c.passed()) }

// passed is how far the clock is ahead.
func (c *Clock) passed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// Advance lets d pass; a negative d sets the clock back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// New makes a world without tenants.
func New(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{T: t, Clock: new(Clock), options: o, ids: map[string]ledger.Tenant{}}
	config := storage.Config{URL: o.StoreURL}
	if o.StoreURL == "" {
		config = storage.Config{URL: "bolt:" + filepath.Join(t.TempDir(), "bursar.db"),
			Now: func() time.Time { return w.Clock.Now().Add(o.StoreSkew) }}
	}
	store, err := storage.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	t.Cleanup(w.checkLogs) // when the processes have ended
	if o.StoreURL != "" {
		store = moved{store, w.Clock}
	}
	w.Store = storagetest.Failing(store)
	if w.Master, err = keys.FileMaster(keys.NewMasterFile()); err != nil {
		t.Fatal(err)
	}
	w.operator = w.log(0)
	w.Process = w.Start()
	w.apart = w.Start().Directory
	if o.WrapLog != nil {
		w.Exchanger = exchange.New(exchange.Config{Directory: w.Directory, Log: o.WrapLog(w.Log), Claims: w.Store,
			Limits: w.Limits})
	}
	return w
}

// Start starts another process on the same store.
func (w *World) Start() *Process {
	w.T.Helper()
	logger := slog.New(slog.DiscardHandler)
	sources := identity.NewSources(identity.Config{Now: w.Clock.Now})
	p := &Process{Registry: prometheus.NewRegistry()}
	p.Log = w.log(w.options.Deadline)
	w.T.Cleanup(sources.Close)
	ceilings := map[string][]netip.Prefix{}
	if !w.options.NoCeiling {
		for _, slug := range []string{"acme", "globex", "initech"} {
			ceilings[slug] = Loopback
		}
	}
	var store tenant.Store = w.Store
	if w.options.WrapTenant != nil {
		store = w.options.WrapTenant(store)
	}
	p.Directory = tenant.NewDirectory(tenant.Config{Store: store, Master: w.Master, Sources: sources, BaseURL: BaseURL,
		ShimURL:  ShimURL,
		Ceilings: ceilings, Now: w.Clock.Now})
	rules := w.options.Limits
	if rules == (limit.Rules{}) {
		rules = limit.Unlimited()
	}
	p.Limits = limit.New(limit.Config{Rules: rules, Store: w.Store, Now: w.Clock.Now})
	w.T.Cleanup(p.Limits.Close)
	p.Exchanger = exchange.New(exchange.Config{Directory: p.Directory, Log: p.Log, Claims: w.Store, Limits: p.Limits})
	p.Server = server.New(server.Config{BaseURL: BaseURL, Directory: p.Directory, Exchanger: p.Exchanger,
		Ready:   func(ctx context.Context) error { _, err := w.Store.Position(ctx, ledger.Platform); return err },
		Metrics: p.Registry, Logger: logger, Now: w.Clock.Now})
	return p
}

// log returns a log that ends with the test.
func (w *World) log(deadline time.Duration) *audit.Log {
	l := audit.New(audit.Config{Store: w.Store, Master: w.Master, Now: w.Clock.Now,
		Deadline: cmp.Or(deadline, time.Minute), Logger: slog.New(slog.DiscardHandler)})
	w.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = l.Close(ctx) // a store that a test broke does not confirm any more
	})
	return l
}

// checkLogs fails the test for each event that is not as its schema describes it.
func (w *World) checkLogs() {
	audittest.CheckLog(w.T, w.operator, ledger.Platform)
	for _, id := range w.ids {
		audittest.CheckLog(w.T, w.operator, id)
	}
}

// EachStore runs a test in a world of its own on each store. Worlds on Redis share the server.
func EachStore(t *testing.T, run func(t *testing.T, w *World)) {
	t.Run("embedded", func(t *testing.T) { run(t, New(t, Options{})) })
	t.Run("redis", func(t *testing.T) { run(t, New(t, Options{StoreURL: storagetest.StartRedis(t).URL()})) })
}

// Create makes a tenant of a file that must be free of mistakes.
func (w *World) Create(file string) ledger.Tenant {
	w.T.Helper()
	f, err := tenant.ParseFile([]byte(file))
	if err != nil {
		w.T.Fatalf("parse: %v %v", err, Problems(err))
	}
	id, draft, err := w.Directory.DraftNew(f)
	if err != nil {
		w.T.Fatalf("draft: %v %v", err, Problems(err))
	}
	w.change(audit.Origin{Tenant: id, Issuer: w.Directory.IssuerURL(f.Tenant)}, draft.Change)
	w.Enroll(f.Tenant, id)
	w.ids[f.Tenant] = id
	if _, err := w.Directory.Tenants(w.T.Context()); err != nil {
		w.T.Fatal(err)
	}
	return id
}

// Enroll adds a tenant to the platform's list.
func (w *World) Enroll(slug string, id ledger.Tenant) (tenant.Entry, ledger.Position) {
	w.T.Helper()
	e := tenant.Entry{ID: id, Created: w.Clock.Now()}
	value, err := json.Marshal(e)
	if err != nil {
		w.T.Fatal(err)
	}
	at, err := w.Store.Position(w.T.Context(), ledger.Platform)
	if err != nil {
		w.T.Fatal(err)
	}
	return e, w.change(w.Directory.PlatformOrigin(), ledger.Change{Expect: at.Revision,
		Put: []ledger.Row{{Kind: tenant.KindTenant, ID: slug, Value: value}}})
}

// Apply changes a tenant to what a file says; with prune it loses what the file does not name.
func (w *World) Apply(file string, prune bool) *tenant.Draft {
	w.T.Helper()
	draft, err := w.Draft(file, prune)
	if err != nil {
		w.T.Fatalf("draft: %v %v", err, Problems(err))
	}
	w.Commit(slugOf(file), draft.Change)
	return draft
}

// Draft compares a file with its tenant.
func (w *World) Draft(file string, prune bool) (*tenant.Draft, error) {
	w.T.Helper()
	f, err := tenant.ParseFile([]byte(file))
	if err != nil {
		return nil, err
	}
	v, err := w.Directory.Fresh(w.T.Context(), f.Tenant)
	if err != nil {
		w.T.Fatal(err)
	}
	return w.Directory.Draft(v, f, prune)
}

func slugOf(file string) string {
	_, rest, _ := strings.Cut(file, "tenant: ")
	slug, _, _ := strings.Cut(rest, "\n")
	return slug
}

// Commit makes a change of a tenant, by a way that no directory hears of.
func (w *World) Commit(slug string, c ledger.Change) ledger.Position {
	w.T.Helper()
	return w.change(w.origin(slug), c)
}

// Cut revokes; with disable it also disables.
func (w *World) Cut(slug, kind, id string, disable bool) ledger.Position {
	w.T.Helper()
	return w.Commit(slug, ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: kind, ID: id}, Keep: revoke.Keep,
		Disable: disable}}})
}

func (w *World) change(o audit.Origin, c ledger.Change) ledger.Position {
	w.T.Helper()
	p, err := w.operator.Change(w.T.Context(), o, c, audit.Event{Name: "admin.client.update", Body: audit.Body{
		Outcome: audit.Allowed, Operator: audit.Operator{ID: "test"},
		Change: audit.Change{Object: "client", Before: audit.Digest([]byte("before")), After: audit.Digest([]byte("after"))},
	}})
	if err != nil {
		w.T.Fatal(err)
	}
	return p
}

func (w *World) origin(slug string) audit.Origin {
	return audit.Origin{Tenant: w.ID(slug), Issuer: w.Directory.IssuerURL(slug)}
}

// ID returns the internal id of a tenant that Create made.
func (w *World) ID(slug string) ledger.Tenant {
	w.T.Helper()
	id, ok := w.ids[slug]
	if !ok {
		w.T.Fatalf("there is no tenant %s", slug)
	}
	return id
}

// Record is an event of a log.
type Record struct {
	Name string
	Txn  string
	Body audit.Body
	Text string // its claims
}

// Records returns a tenant's log without the entries of operators and of the log itself.
func (w *World) Records(slug string) []Record {
	w.T.Helper()
	entries, err := w.Store.Events(context.Background(), w.ID(slug), 0, 100_000)
	if err != nil {
		w.T.Fatal(err)
	}
	var all []Record
	for _, e := range entries {
		var set struct {
			Txn    string                `json:"txn"`
			Events map[string]audit.Body `json:"events"`
		}
		claims, err := audit.Claims(e.Data)
		if err != nil {
			w.T.Fatal(err)
		}
		if err := json.Unmarshal(claims, &set); err != nil {
			w.T.Fatal(err)
		}
		for name, body := range set.Events {
			name = strings.TrimSuffix(strings.TrimPrefix(name, "urn:bursar:event:"), ":v1")
			if strings.HasPrefix(name, "token.") || name == audit.DenyFlood || name == audit.KeyUse {
				all = append(all, Record{name, set.Txn, body, string(claims)})
			}
		}
	}
	return all
}

// Problems returns the mistakes that an error lists.
func Problems(err error) []string {
	if f, ok := asFault(err); ok {
		return f.Problems
	}
	return nil
}
