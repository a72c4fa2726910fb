// Package shim stands in front of upstreams that know nothing but a static key: it takes an access token of ours for
// one tool, and swaps it for the key from the tenant's vault. A request goes through fixed steps, each of which fails
// closed:
//
//	form → limits → token → cutoffs → canonical path, rule and scope → body → record of the intent
//	→ key → pinned destination → answer without the key → stream under watch → record of the outcome
//
// What was checked is what is sent. The key never comes back: it is masked in every part of the answer.
package shim

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/memory"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/bursar-sts/bursar/server/scrub"
)

// Log records what is done with keys.
type Log interface {
	// Append returns once the event is durable, with the position that the tenant had reached.
	Append(ctx context.Context, o audit.Origin, e audit.Event, claims ...ledger.Claim) (ledger.Position, error)
	// Post records an event that nobody waits for. It never blocks.
	Post(o audit.Origin, e audit.Event) error
	// Refuse counts a refusal of somebody unknown. It never blocks.
	Refuse(o audit.Origin, reason string, ip netip.Addr)
}

// Config is what a Shim needs; the last five fields may be left out.
type Config struct {
	URL     string // under which agents reach it: an origin and maybe a path, without a trailing slash
	Tenants Tenants
	Log     Log
	// Deny returns what is never dialled: the server's own listeners and its store. See dial.Guard.
	Deny   func() []netip.AddrPort
	Limits *limit.Limiter // without any, the defaults, counted by this process alone
	// Lookup resolves host names; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// MaxStaleness is how long a stream goes on while it cannot be known what was revoked; default 1 s.
	MaxStaleness time.Duration
	Logger       *slog.Logger // default slog.Default()
}

// Shim is the handler of agents' calls. It is safe for concurrent use. Close it when its listener has ended.
type Shim struct {
	cfg      Config
	origin   string // of URL
	prefix   string // its path
	known    *memory.Memory[[sha256.Size]byte, verified]
	scrubs   *memory.Memory[[sha256.Size]byte, *scrub.Scrubber]
	injector *inject.Injector
	pool     pool
	gates    gates
	guesses  guesses
	watch    watch
	count    counters
}

// New returns a Shim.
func New(cfg Config) (*Shim, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/") {
		return nil, errors.New("the shim's URL must be an origin, and may have a path without a slash at its end")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Limits == nil {
		cfg.Limits = limit.New(limit.Config{})
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = time.Second
	}
	s := &Shim{cfg: cfg, origin: u.Scheme + "://" + u.Host, prefix: u.EscapedPath(),
		known:  memory.New[[sha256.Size]byte, verified](16<<20, time.Minute),
		scrubs: memory.New[[sha256.Size]byte, *scrub.Scrubber](32<<20, time.Minute)}
	quieten()
	s.pool.shim, s.watch.shim = s, s
	s.watch.ctx, s.watch.close = context.WithCancel(context.Background())
	s.injector = inject.New()
	return s, nil
}

type counters struct {
	answered, refused, failed, cut, scrubbed, unrecorded, streams atomic.Int64
}

// ServeHTTP serves one request.
func (s *Shim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := &begun{ResponseWriter: w}
	w = begun
	defer s.survive(begun, r)
	if s.metadata(w, r) {
		return
	}
	c, ok, err := s.read(r)
	if !ok {
		nothing(w)
		return
	}
	c.IP, c.Mode = peer.Of(r), audit.UseProxy
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// There may have been a length beside the chunks, which net/http drops before anybody sees it (RFC 9112 §6.3).
		w.Header().Set("Connection", "close")
	}
	if r.ContentLength != 0 { // whoever is refused has no more time than this to send it
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(silence))
	}
	if err == nil {
		err = framing(r)
	}
	if err != nil {
		s.answer(w, r, c, err)
		return
	}
	g, err := s.Authorize(r.Context(), c)
	if err == nil {
		err = s.serve(w, r, g)
	}
	if err != nil {
		s.answer(w, r, c, err)
	}
}

// answer refuses. Whoever has left is not answered.
func (s *Shim) answer(w http.ResponseWriter, r *http.Request, c Call, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	refusal := s.Refusal(c, err)
	if refusal.surface == internal || refusal.surface == unavailable {
		s.cfg.Logger.ErrorContext(r.Context(), "call failed", "tenant", c.Slug, "tool", c.Tool, "error", err)
	}
	if refusal.surface == destination || refusal.surface == unreachable { // which of its causes, nothing else tells
		s.cfg.Logger.WarnContext(r.Context(), "the upstream was not reached", "tenant", c.Slug, "tool", c.Tool,
			"decision_id", refusal.problem.DecisionID, "error", err)
	}
	s.count.refused.Add(1)
	refusal.write(w, r)
}

// survive answers for a call that panicked. It must be deferred.
func (s *Shim) survive(w *begun, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		// The value of a panic can be anything, a key too; its place is enough.
		s.cfg.Logger.ErrorContext(r.Context(), "call panicked", "stack", string(debug.Stack()))
		if w.yes { // what was passed on must not look whole
			panic(http.ErrAbortHandler)
		}
		refusalOf(fault.New(fault.Internal, "panic", "")).write(w, r)
	}
}

// begun remembers that an answer has begun.
type begun struct {
	http.ResponseWriter
	yes bool
}

func (b *begun) WriteHeader(status int) {
	b.yes = true
	b.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }
