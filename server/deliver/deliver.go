// Package deliver gives copies of the logs to sinks: files, standard output, webhooks (RFC 8935), collectors.
//
// A sink is a copy and never the record. Nothing waits for one: what is recorded is read again from the log, and a sink
// that is away is given later what it missed. It is given each event of a log at least once and in order, and none
// before a published checkpoint covers it; what it has been given twice has the same origin and index. How far a sink
// has come is kept in the store, where one process at a time copies a log to it: of several servers with the same sink,
// one does.
package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Store keeps how far each sink has come in each log. Steps are durable once they are answered, and one that was not
// confirmed (fault.ErrUnavailable) was made whole or not at all.
type Store interface {
	// TakeSink makes owner the one who copies t's log to a sink, for d from now on by the store's clock; an owner extends
	// so what he has. fault.ErrConflict: somebody else copies, or nobody may yet; the Sink tells for how long.
	TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (ledger.Sink, error)
	// MoveSink makes a step. fault.ErrConflict: the owner or the place is another one, and nothing was changed.
	MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error
	// Sink returns how far a sink has come.
	Sink(ctx context.Context, t ledger.Tenant, sink string) (ledger.Sink, error)
}

// Source reads the logs.
type Source interface {
	// Read returns up to limit records of a log from an index on, in order; fewer only at the end of the log. Those that
	// were pruned are left out.
	Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]Record, error)
}

// Record is one event as it was recorded.
type Record struct {
	Index  int64
	SET    string          // the signed event (RFC 8417), a compact JWS
	Claims json.RawMessage // of the SET
}

// Heads tells what the checkpoints cover. A log is known by its tenant and, where it is one of a tenant, the slug.
type Heads interface {
	// Logs returns all logs that there are.
	Logs(ctx context.Context) ([]Log, error)
	// Covered returns what the newest checkpoint covers of a log, whichever process published it. The zero Covered is that
	// of a log without one.
	Covered(ctx context.Context, l Log) (Covered, error)
	// Origin returns the origin of a log in an epoch, such as "sts.example/t/acme/log".
	Origin(l Log, epoch int64) string
}

// Log names a log.
type Log struct {
	Tenant ledger.Tenant
	Slug   string // of the tenant; empty for the platform's log
}

// Covered is what a checkpoint covers: the events from First on, up to Size and without it. Earlier ones were pruned.
type Covered struct {
	Epoch int64 // of the log, from 1
	First int64
	Size  int64
}

// after reports whether c is of a later moment than other.
func (c Covered) after(other Covered) bool {
	return c.Epoch > other.Epoch || c.Epoch == other.Epoch && (c.Size > other.Size || c.First > other.First)
}

// start returns where a sink goes on that stands at m: where the log begins, if what m marks is not there.
func (c Covered) start(m ledger.Mark) ledger.Mark {
	if m.Epoch != c.Epoch || m.Index < c.First {
		return ledger.Mark{Epoch: c.Epoch, Index: c.First}
	}
	return m
}

// behind returns how many covered events a sink that stands at m does not have. Of the log that a mark of a later epoch
// is of, c knows nothing.
func (c Covered) behind(m ledger.Mark) int64 {
	if m.Epoch > c.Epoch {
		return 0
	}
	return max(c.Size-c.start(m).Index, 0)
}

// Sink takes copies of events. Its methods are called concurrently, Give at most once at a time for one log.
type Sink interface {
	// Give gives events of one log to the sink and returns how many of them, from the first on, the receiver has for
	// good, whatever the error is. Fewer than all without an error: it wants to be called again. An error is about the
	// first event that the receiver does not have: a *Refused is for good, a *Later says when to try again, and after any
	// other one the event is tried again when time has passed. Errors hold nothing of what was sent or answered.
	Give(ctx context.Context, b Batch) (given int, err error)
	// Close gives back what the sink holds. Nothing is given after it.
	Close() error
}

// Batch is a run of events of one log, in order. Events that a target does not want may be missing between them.
type Batch struct {
	Log    Log
	Origin string
	Events []Event
}

// Event is a record, and what kind of event it is.
type Event struct {
	Record
	Name string // such as "token.exchange"
}

// Refused is the error of an event that its receiver will never take.
type Refused struct {
	Code string // at most 64 lower-case letters, digits and underscores
}

// Error names the code.
func (r *Refused) Error() string { return "the receiver refuses the event for good: " + r.Code }

// Later is the error of a receiver that says when it wants to be asked again.
type Later struct {
	After time.Duration
	Err   error
}

// Error is that of the cause.
func (l *Later) Error() string { return l.Err.Error() }

// Unwrap returns the cause.
func (l *Later) Unwrap() error { return l.Err }

// Target is a sink, and what it is given.
type Target struct {
	Name     string   // names its place in the store: lower-case letters, digits and hyphens
	Sink     Sink     // required
	All      bool     // the logs of all tenants
	Tenants  []string // slugs; meaningless beside All
	Platform bool     // the platform's own log
	// Events are names, and beginnings of names that end in a dot; nil is all events.
	Events []string
}

// Config is what a Deliverer needs.
type Config struct {
	Store   Store
	Source  Source
	Heads   Heads
	Targets []Target
	Logger  *slog.Logger // default slog.Default()
	// Lease is how long others wait for a process that died while it copied; default 15 s.
	Lease time.Duration
	// Retry is the first pause after a failure; default 1 s. Each is twice the one before, up to MaxRetry, default 1 min.
	Retry, MaxRetry time.Duration
	// Sweep is how often all logs are looked at, for what a process that died has left; default 30 s.
	Sweep time.Duration
}

func (c *Config) fill() {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	for _, d := range []struct {
		field *time.Duration
		usual time.Duration
	}{{&c.Lease, 15 * time.Second}, {&c.Retry, time.Second}, {&c.MaxRetry, time.Minute}, {&c.Sweep, 30 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.usual
		}
	}
}

// Deliverer copies. Its methods may be called concurrently.
type Deliverer struct {
	cfg     Config
	owner   string
	lanes   []*lane
	life    context.Context // ends when Close gives up
	end     context.CancelFunc
	closing chan struct{} // closed when Close begins
	once    sync.Once
	unknown chan struct{} // holds one thing while the head of an unknown log came
	running sync.WaitGroup

	mu    sync.RWMutex // guards what follows
	feeds map[ledger.Tenant][]*feed
}

// New returns a Deliverer that begins at once. Close it.
func New(cfg Config) *Deliverer {
	cfg.fill()
	d := &Deliverer{cfg: cfg, owner: ledger.NewID(time.Now()), closing: make(chan struct{}),
		unknown: make(chan struct{}, 1), feeds: map[ledger.Tenant][]*feed{}}
	d.life, d.end = context.WithCancel(context.Background())
	for _, t := range cfg.Targets {
		d.lanes = append(d.lanes, &lane{d: d, target: t})
	}
	d.running.Go(d.sweep)
	return d
}

// Advanced tells that a checkpoint was published that covers more. It returns at once.
func (d *Deliverer) Advanced(t ledger.Tenant, c Covered) {
	d.mu.RLock()
	feeds, known := d.feeds[t]
	d.mu.RUnlock()
	if !known {
		select {
		case d.unknown <- struct{}{}:
		default: // the list will be read anyway
		}
		return
	}
	for _, f := range feeds {
		f.lane.advance(f, c)
	}
}

// lookPause keeps the store from being swept with as many calls as it can answer; newPause is between two reads of the
// list of logs.
const (
	lookPause = 5 * time.Millisecond
	newPause  = 250 * time.Millisecond
)

// sweep looks at all logs every so often, and at new ones soon.
func (d *Deliverer) sweep() {
	ticker := time.NewTicker(d.cfg.Sweep)
	defer ticker.Stop()
	d.look(true)
	for {
		select {
		case <-d.closing:
			return
		case <-ticker.C:
			d.look(true)
		case <-d.unknown:
			if !d.pause(newPause) {
				return
			}
			d.look(false)
		}
	}
}

// pause reports whether it was not cut short by the end.
func (d *Deliverer) pause(p time.Duration) bool {
	select {
	case <-d.closing:
		return false
	case <-time.After(p):
		return true
	}
}

// look finds out how far all logs are covered, or only those that are new.
func (d *Deliverer) look(all bool) {
	logs, err := d.cfg.Heads.Logs(d.life)
	if err != nil {
		d.cfg.Logger.Warn("sinks: the logs cannot be listed", "error", err)
		return
	}
	for i, l := range logs {
		feeds, isNew := d.enrol(l)
		if len(feeds) == 0 || !all && !isNew {
			continue
		}
		if err := d.learn(l, feeds); err != nil {
			d.cfg.Logger.Warn("sinks: a log cannot be looked at", "tenant", l.Slug, "error", err)
		}
		if i%2 == 1 && !d.pause(lookPause) || d.life.Err() != nil {
			return
		}
	}
}

// enrol returns the feeds of a log, which are new if the log is.
func (d *Deliverer) enrol(l Log) (feeds []*feed, isNew bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	feeds, known := d.feeds[l.Tenant]
	if known {
		return feeds, false
	}
	for _, lane := range d.lanes {
		if lane.target.wants(l) {
			feeds = append(feeds, lane.add(l))
		}
	}
	d.feeds[l.Tenant] = feeds
	return feeds, true
}

// learn reads how far a log is covered, and how far its sinks have come.
func (d *Deliverer) learn(l Log, feeds []*feed) error {
	covered, err := d.cfg.Heads.Covered(d.life, l)
	if err != nil {
		return err
	}
	for _, f := range feeds {
		s, err := d.cfg.Store.Sink(d.life, l.Tenant, f.lane.target.Name)
		if err != nil {
			return err
		}
		f.lane.learn(f, covered, s.Next)
	}
	return nil
}

// Status is how a sink is doing.
type Status struct {
	Name      string
	Behind    int64 // covered events that it does not have, of all logs, as far as this process knows
	Waiting   int   // logs of which the last attempt failed
	Delivered int64 // events given since the start of this process
	Retries   int64 // attempts that failed since then
	Dead      int64 // events that it refused for good since then
}

// Status returns how the sinks are doing, in the order of the targets.
func (d *Deliverer) Status() []Status {
	all := make([]Status, len(d.lanes))
	for i, l := range d.lanes {
		all[i] = l.status()
	}
	return all
}

// Close begins nothing new, lets what is under way finish until ctx ends, and closes the sinks.
func (d *Deliverer) Close(ctx context.Context) error {
	d.once.Do(func() { close(d.closing) })
	for _, l := range d.lanes {
		l.close()
	}
	stop := context.AfterFunc(ctx, d.end)
	defer stop()
	finished := make(chan struct{})
	go func() {
		d.running.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-d.life.Done():
		select {
		case <-finished:
		case <-time.After(time.Second): // a sink that heeds no context, such as a pipe that nobody reads
			return fmt.Errorf("close sinks: %w", ctx.Err())
		}
	}
	d.end()
	var errs []error
	for _, l := range d.lanes {
		if err := l.target.Sink.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close sink %s: %w", l.target.Name, err))
		}
	}
	return errors.Join(errs...)
}
