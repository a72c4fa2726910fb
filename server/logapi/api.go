// Package logapi is the audit log over HTTP: its Merkle tree in the formats of C2SP (tlog-checkpoint, tlog-tiles,
// tlog-proof, signed-note), and its events as a stream. It decides nothing and changes nothing.
//
// Each path is there twice: below a tenant's issuer, /t/{tenant}/log/…, and for the platform's own log /log/….
// All but the public keys need an operator token that may read the log.
package logapi

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/front"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Desk signs operators in; *admin.Service is one.
type Desk interface {
	front.Desk
	// Log returns the log of what op acts on, if op may read it. Errors are *fault.Error, Forbidden or NotFound.
	Log(ctx context.Context, op admin.Operator) (audit.Origin, error)
}

// Directory names the logs.
type Directory interface {
	// Origin names the log of a tenant; fault.NotFound where there is no such tenant.
	Origin(ctx context.Context, slug string) (audit.Origin, error)
	// PlatformOrigin names the platform's own log.
	PlatformOrigin() audit.Origin
}

// Trees are the Merkle trees of the logs. Their errors are *fault.Error or wrap a store's: fault.NotFound for what a
// tree does not have yet, fault.Gone for what was pruned.
type Trees interface {
	// Head returns the newest head. It covers all that was recorded before the call, and was signed.
	Head(ctx context.Context, o audit.Origin) (ledger.Head, error)
	// Tile returns the first width hashes of a tile, 32 bytes each.
	Tile(ctx context.Context, t ledger.Tenant, level int, index int64, width int) ([]byte, error)
	// Entries returns the first width entries of a bundle, 256 of which are a full one.
	Entries(ctx context.Context, t ledger.Tenant, index int64, width int) ([][]byte, error)
	// Inclusion proves that an entry is in the tree of the head that it returns.
	Inclusion(ctx context.Context, o audit.Origin, index int64) (tlog.RecordProof, ledger.Head, error)
	// Consistency proves that the tree of one size is the beginning of the other's; 1 <= from <= to.
	Consistency(ctx context.Context, o audit.Origin, from, to int64) (tlog.TreeProof, error)
}

// Keys are the public keys of the logs.
type Keys interface {
	// Keys returns the signed document of the keys that sign events.
	Keys(ctx context.Context, o audit.Origin) ([]byte, error)
	// VerifierKey returns the keys that sign checkpoints, as C2SP signed-note has them, the current one first.
	VerifierKey(ctx context.Context, o audit.Origin) ([]string, error)
}

// Events are the records of the logs; *audit.Log has them.
type Events interface {
	// Read returns up to limit records from an index on, in order; fewer at the end of the log.
	Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]audit.Record, error)
	// Since returns an index before which nothing was recorded at or after the given time.
	Since(ctx context.Context, t ledger.Tenant, at time.Time) (int64, error)
	// Find returns the records of a decision, in order; fault.NotFound if there is none.
	Find(ctx context.Context, t ledger.Tenant, decision string) ([]audit.Record, error)
	// Named returns the records that have the jti, or are of the issue of the token that has it; fault.NotFound if there
	// is none.
	Named(ctx context.Context, t ledger.Tenant, jti string) ([]audit.Record, error)
}

// Positions tell how long a log is, covered by a head or not.
type Positions interface {
	Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error)
}

// Config is what an API needs; every field but those with a default is required.
type Config struct {
	Desk      Desk
	Directory Directory
	Trees     Trees
	Keys      Keys
	Events    Events
	Positions Positions
	Logger    *slog.Logger // default slog.Default()

	// MaxReaders bounds how many read the events of one log at a time, in this process; default 32.
	MaxReaders int
	// Patience is how long a reader of events may take nothing of what is sent; default 30 s.
	Patience time.Duration
	// Heartbeat is how long nothing is sent to a follower; default 15 s.
	Heartbeat time.Duration
}

// API serves everything below a log's URL. Its zero value serves nothing.
type API struct {
	cfg   Config
	front front.Front
	mux   *http.ServeMux

	stop     sync.Once
	stopping chan struct{}
	crowds   crowds
}

// New returns the API.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.MaxReaders == 0 {
		cfg.MaxReaders = 32
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(), stopping: make(chan struct{}),
		front: front.Front{Desk: cfg.Desk, Logger: cfg.Logger, Name: "log call"}}
	for _, r := range routes() {
		for _, prefix := range []string{"/log/", "/t/{tenant}/log/"} {
			a.mux.Handle(prefix+r.path, a.dispatch(r))
		}
	}
	for _, path := range []string{"/", "/log/tile", "/t/{tenant}/log/tile"} { // which the mux would redirect to tile/
		a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { a.front.Fail(w, r, front.ErrPath) })
	}
	return a
}

// Stop ends the streams of events under way, at once, and refuses new ones. Call it before a server drains, which
// otherwise waits for whoever follows a log.
func (a *API) Stop() { a.stop.Do(func() { close(a.stopping) }) }

// route is one path.
type route struct {
	path   string // below the log's URL
	public bool   // nobody needs a token
	query  []string
	serve  func(*API, *call) error
}

func routes() []route {
	return []route{
		{path: "checkpoint", serve: (*API).checkpoint},
		{path: "tile/{path...}", serve: (*API).tile},
		{path: "checkpoint/witnessed", serve: (*API).witnessed},
		{path: "events", query: eventParameters, serve: (*API).events},
		{path: "proof", query: []string{"index", "jti", "decision"}, serve: (*API).proof},
		{path: "consistency", query: []string{"from", "to"}, serve: (*API).consistency},
		{path: "vkey", public: true, serve: (*API).verifierKey},
		{path: "keys", public: true, serve: (*API).keys},
	}
}

// call is a request that may be answered.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	slug   string // of the tenant; "" for the platform
	origin audit.Origin
	query  *query
}

// ServeHTTP answers one call.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer a.front.Survive(w, r)
	// The mux would redirect from a path that is not clean, and an operator token is not to follow.
	if a.mux == nil || path.Clean(r.URL.Path) != r.URL.Path {
		a.front.Fail(w, r, front.ErrPath)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// dispatch serves one path.
func (a *API) dispatch(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead { // net/http leaves the body of HEAD out
			w.Header().Set("Allow", "GET, HEAD")
			a.front.Fail(w, r, front.ErrMethod)
			return
		}
		c := &call{w: w, r: r, slug: r.PathValue("tenant")}
		if err := a.answer(rt, c); err != nil {
			a.fail(c, err)
		}
	})
}

func (a *API) answer(rt route, c *call) (err error) {
	if rt.public {
		c.origin = a.cfg.Directory.PlatformOrigin()
		if c.slug != "" {
			c.origin, err = a.cfg.Directory.Origin(c.r.Context(), c.slug)
		}
	} else {
		c.origin, err = a.authorize(c)
	}
	if err != nil {
		return err
	}
	if c.query, err = parseQuery(c.r.URL.RawQuery, rt.query); err != nil {
		return err
	}
	return rt.serve(a, c)
}

// authorize returns the log of the URL, if whoever asks may read it.
func (a *API) authorize(c *call) (audit.Origin, error) {
	op, err := a.front.Operator(c.w, c.r, c.slug)
	if err != nil {
		return audit.Origin{}, err
	}
	return a.cfg.Desk.Log(c.r.Context(), op)
}

// fail answers with the problem that err is.
func (a *API) fail(c *call, err error) { front.Write(c.w, a.problem(c, err)) }

// problem returns what err is to the caller. Of what was pruned it says where the log begins now.
func (a *API) problem(c *call, err error) *problem {
	p := front.Problem(a.front.Judge(c.r, err))
	if fault.As(err).Kind == fault.Gone {
		if head, err := a.cfg.Trees.Head(c.r.Context(), c.origin); err == nil {
			p.First = head.First
		}
	}
	return p
}
