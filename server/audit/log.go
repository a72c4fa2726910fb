// Package audit is the log of what was decided and done: one per tenant, in total order, durable before the effect.
//
// An event is a Security Event Token (RFC 8417), signed with a key of its log. Every process is a writer with an id
// of its own for this boot (wid) and numbers its events gaplessly per tenant (wsn, from 1), inside what is signed: a
// hole, a replay or a store that lost acknowledged writes shows. Nothing may leave the process before Append or
// Change returned without error.
//
// What the log may do wrong has one direction. It may report as allowed what never left, and then says so in a
// following event, unless the process dies first; it never omits what left.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Store keeps the logs.
type Store interface {
	// Commit applies c whole and durably, or not at all, and returns when it knows or when ctx ends.
	// fault.ErrUnavailable: unknown whether c was applied; the same commit may be repeated and is applied once.
	// fault.ErrConflict: Change.Expect was not the revision, or something was disabled that the change did not know of.
	// fault.ErrStale: Signed is not the revision. fault.ErrSequence: First does not continue what the store has of the
	// writer. *ledger.Taken: somebody else has what c claims. These, and any other error, mean that nothing was written.
	Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error)
	// Events returns up to limit recorded events from an index on, in order; fewer at the end of the log.
	Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error)
	// Rows returns the rows of the given kinds at the returned position.
	Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error)
}

// Origin names a log. Its zero value is refused.
type Origin struct {
	Tenant ledger.Tenant
	Issuer string // issuer URL of the tenant, for the platform's log the base URL; at most 512 bytes
}

// Signer opens the one key of a process that is no server, *keys.ShimKey. It signs no more than keys.ShimEvents.
type Signer interface {
	// Signer returns what signs in a tenant's log, by the tenant's rows of kind keys.KindShim.
	Signer(t ledger.Tenant, rows []ledger.Row) (*keys.Signer, error)
}

// Config is what a Log needs.
type Config struct {
	Store  Store       // required
	Master keys.Master // opens the keys of each log, and seals those of a new one; required unless there is a Signer
	// Signer signs instead of the keys of a log, and instead of Master. The Log makes no changes then, and begins no log.
	Signer Signer
	// Appended, if set, is told of each commit, in the order of a log, before anybody is answered: the index of the first
	// of the events that were stored, and what was stored. It must not block, nor keep the events.
	Appended func(o Origin, index int64, events [][]byte)
	// Lost, if set, is told when the store has lost acknowledged events of this process. It must not block.
	Lost func(Origin)
	// Gate, if set, says why nothing may be done in a log now, or returns nil. It never stops a revocation, nor what it
	// takes to find out what is wrong and to mend it.
	Gate func(context.Context, Origin) error
	Now  func() time.Time // default time.Now; informative, never used for order
	Node string           // name of this process, recorded in each event
	// Deadline is how long a caller waits for the store; default 1 s. Until a store has not answered for that long,
	// callers wait; after that they are refused at once, until it answers.
	Deadline time.Duration
	Logger   *slog.Logger // default slog.Default()
}

// Log writes and reads the logs of all tenants. Its methods may be called concurrently.
type Log struct {
	cfg    Config
	writer string
	life   context.Context // ends when Close gives up
	end    context.CancelFunc
	floods floods
	count  counters

	running sync.WaitGroup // one for each tenant with something to write
	mu      sync.Mutex     // guards what follows
	tenants map[ledger.Tenant]*appender
	closed  bool
}

// New returns a Log that writes under a fresh writer id. Close it.
func New(cfg Config) *Log {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	l := &Log{cfg: cfg, writer: ledger.NewID(cfg.Now()), tenants: make(map[ledger.Tenant]*appender)}
	l.life, l.end = context.WithCancel(context.Background())
	l.floods.log, l.floods.logs = l, make(map[Origin]*tally)
	return l
}

// Append records e and takes the claims (at most MaxClaims), both or none, and returns where e stands: Index is that of
// e, the rest is the tenant's ledger at that moment.
//
// A *ledger.Taken tells which of the claims somebody else has; e is not recorded then, nor is a claim taken. Any other
// error wraps fault.ErrUnavailable (or is a bug, of kind fault.Internal): the caller must act as if e had never
// happened. If e is or comes to be in the log all the same, an event like it with outcome "error" and reason
// "not_released" follows, and the claims stay taken.
func (l *Log) Append(ctx context.Context, o Origin, e Event, claims ...ledger.Claim) (ledger.Position, error) {
	if len(claims) > MaxClaims {
		return ledger.Position{}, fault.Wrap(fault.Internal, "audit.event", "Internal error.",
			errors.New("more claims than an event can have"))
	}
	return l.do(ctx, o, ledger.Change{}, []Event{e}, claims)
}

// MaxClaims bounds the claims of one event, so that a commit always has room for those of its events.
const MaxClaims = ledger.MaxClaims / ledger.MaxEntries

// Change makes a change and records it, both or none. At least one event is needed, at most MaxEvents are possible.
// Index is that of the first event; the others follow it immediately.
//
// An error that wraps fault.ErrUnavailable leaves open whether the change was made; if it was, or still comes to be,
// events with outcome "error" and reason "not_confirmed" follow its own. Any other error, such as fault.ErrConflict,
// means that nothing was changed.
func (l *Log) Change(ctx context.Context, o Origin, c ledger.Change, es ...Event) (ledger.Position, error) {
	if len(es) > MaxEvents {
		return ledger.Position{}, fault.New(fault.TooLarge, "audit.too_many_events",
			fmt.Sprintf("The change has more than %d parts; make it in several steps.", MaxEvents))
	}
	return l.do(ctx, o, c, es, nil)
}

// MaxEvents bounds the events of one change: a commit, less the entries that may have to open the log and the writer's
// part.
const MaxEvents = ledger.MaxEntries - 3

func (l *Log) do(ctx context.Context, o Origin, c ledger.Change, es []Event, claims []ledger.Claim) (
	ledger.Position, error,
) {
	r, err := l.request(o, c, es)
	if err != nil {
		return ledger.Position{}, fault.Wrap(fault.Internal, "audit.event", "Internal error.", err)
	}
	r.claims, r.done = claims, make(chan struct{})
	p, err := l.submit(ctx, o.Tenant, r)
	if errors.Is(err, fault.ErrUnavailable) {
		l.count.refused.Add(1)
	}
	return p, err
}

// request encodes events that are recorded together.
func (l *Log) request(o Origin, c ledger.Change, es []Event) (*request, error) {
	if len(es) == 0 {
		return nil, errors.New("a change without an event")
	}
	r := &request{origin: o, change: c, events: es, drafts: make([]draft, len(es))}
	now := l.cfg.Now()
	for i, e := range es {
		if l.cfg.Signer != nil && (!c.Empty() || !slices.Contains(keys.ShimEvents(), e.Name)) {
			return nil, fmt.Errorf("record %q: it is not for this process to sign", e.Name)
		}
		e.Body.Request.Node = l.cfg.Node
		d, err := encode(o, &e, now)
		if err != nil {
			return nil, fmt.Errorf("record %q: %w", e.Name, err)
		}
		r.drafts[i] = d
	}
	return r, nil
}

func (l *Log) submit(ctx context.Context, t ledger.Tenant, r *request) (ledger.Position, error) {
	if ctx.Err() != nil {
		return ledger.Position{}, unavailable(ctx.Err())
	}
	if l.cfg.Gate != nil && !r.exempt() {
		if err := l.cfg.Gate(ctx, r.origin); err != nil {
			return ledger.Position{}, unavailable(err)
		}
	}
	a, err := l.appender(t)
	if err != nil {
		return ledger.Position{}, err
	}
	if err := a.enqueue(r); err != nil {
		return ledger.Position{}, err
	}
	patience := time.NewTimer(l.cfg.Deadline)
	defer patience.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
		a.leave(r, ctx.Err())
	case <-patience.C:
		a.leave(r, errDeadline)
	}
	return r.position, r.err
}

// Thaw ends the freeze of a log that has lost acknowledged events of this process: an operator has accepted the loss,
// and this process goes on writing, under another writer's id.
func (l *Log) Thaw(t ledger.Tenant) {
	l.mu.Lock()
	a := l.tenants[t]
	l.mu.Unlock()
	if a != nil {
		a.thaw()
	}
}

// Post records an event that nobody waits for: what has happened already, and has been announced by an event that
// somebody did wait for. It is written with the next of those, or a few milliseconds later. An error
// means that it will not be recorded.
func (l *Log) Post(o Origin, e Event) error { return l.post(o, e, true) }

func (l *Log) post(o Origin, e Event, patient bool) error {
	r, err := l.request(o, ledger.Change{}, []Event{e})
	if err != nil {
		return err
	}
	r.patient = patient
	a, err := l.appender(o.Tenant)
	if err != nil {
		return err
	}
	return a.enqueue(r)
}

func (l *Log) appender(t ledger.Tenant) (*appender, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, unavailable(errClosed)
	}
	a, ok := l.tenants[t]
	if !ok {
		a = &appender{log: l, tenant: t, writer: l.writer}
		l.tenants[t] = a
	}
	return a, nil
}

// Record is one event as it is stored. What somebody put into the store past the log and is no SET has no claims, so
// that it hides nothing that follows it.
type Record struct {
	Index  int64           `json:"index"`
	SET    string          `json:"set"` // as it is stored, a compact JWS
	Claims json.RawMessage `json:"claims"`
}

// MaxPage bounds what one Read returns.
const MaxPage = 1000

// Read returns up to limit records (at most MaxPage) from an index on, in order; fewer at the end of the log.
func (l *Log) Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]Record, error) {
	entries, err := l.cfg.Store.Events(ctx, t, max(from, 0), min(max(limit, 1), MaxPage))
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	records := make([]Record, len(entries))
	for i, e := range entries {
		claims, err := Claims(e.Data)
		if err != nil || !json.Valid(claims) {
			claims = nil
		}
		records[i] = Record{Index: e.Index, SET: string(e.Data), Claims: claims}
	}
	return records, nil
}

// Close refuses new events, waits until the accepted ones and the end of the writer are recorded, and gives them up
// when ctx ends.
func (l *Log) Close(ctx context.Context) error {
	if ctx.Err() != nil {
		l.end()
	}
	l.floods.close()
	l.mu.Lock()
	l.closed = true
	for _, a := range l.tenants {
		a.close()
	}
	l.mu.Unlock()
	drained := make(chan struct{})
	go func() {
		l.running.Wait()
		close(drained)
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("close log: %w", ctx.Err())
	}
	l.end()
	<-drained
	if n := l.count.lost.Load(); n > 0 {
		l.cfg.Logger.Warn("no log counts some of the refusals of strangers", "count", n)
	}
	return err
}

// Stats are counts since the start, and gauges, of this process.
type Stats struct {
	Recorded   int64 // events that the store confirmed
	Commits    int64 // the commits that they were in
	Refused    int64 // calls answered with fault.ErrUnavailable
	Unreleased int64 // events followed by "not_released" or "not_confirmed"
	Lost       int64 // unauthenticated refusals that no event counts
	Queued     int   // calls that wait now
	Down       int   // tenants whose store does not answer
	Frozen     int   // tenants that this process can write no more
}

type counters struct{ recorded, commits, refused, unreleased, lost atomic.Int64 }

// Stats returns the current counts.
func (l *Log) Stats() Stats {
	s := Stats{
		Recorded: l.count.recorded.Load(), Commits: l.count.commits.Load(), Refused: l.count.refused.Load(),
		Unreleased: l.count.unreleased.Load(), Lost: l.count.lost.Load(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.tenants {
		a.stats(&s)
	}
	return s
}

var (
	errClosed   = errors.New("the log is closed")
	errDeadline = errors.New("the store did not answer in time")
	errDown     = errors.New("the store does not answer")
	errFrozen   = fault.Wrap(fault.Unavailable, "log.frozen", "The store lost events of this tenant. But for "+
		"revocations, nothing is done until the server is restarted, or an operator accepts the loss.",
		fmt.Errorf("frozen until restart, or until the loss is accepted: %w", fault.ErrSequence))
	errFull = errors.New("too many events wait for the store")
)

func unavailable(cause error) error {
	return fmt.Errorf("append to log: %w: %w", fault.ErrUnavailable, cause)
}
