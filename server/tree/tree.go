// Package tree keeps the Merkle tree over each log (RFC 6962 §2.1), signs its heads as C2SP checkpoints, and proves
// from it what a log holds.
//
// Every process extends the trees of the logs that it writes. Whoever comes first moves the head, by compare-and-set,
// to one that covers all that was appended; the others start again from there. So however many sequencers there are,
// and whatever they believe, a head has one successor: no fork is ever signed.
//
// A head that the store shows is believed only if it continues the one that this process saw last, and the anchor,
// which is kept outside the store. If it does not, the store lost or changed what was signed, and nothing is issued
// in that log until an operator accepts the loss.
package tree

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Store keeps the logs and their trees. Each call is consistent in itself, and sees what was acknowledged before it.
// Errors wrap fault.ErrUnavailable where the store did not answer.
type Store interface {
	// Head returns where the tree stands, and where the tenant stood at that moment.
	Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error)
	// Advance makes a step, whole and durably, or not at all. fault.ErrConflict: the head or the revision is another one,
	// or the log is shorter than the next head. An error that wraps fault.ErrUnavailable leaves the outcome open.
	Advance(ctx context.Context, t ledger.Tenant, s ledger.Step) error
	// Tiles returns the hashes of each tile, nil of one that is not stored.
	Tiles(ctx context.Context, t ledger.Tenant, ids []ledger.TileID) ([][]byte, error)
	// Events returns up to limit entries from an index on, in order.
	Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error)
	// Rows returns the rows of the given kinds.
	Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error)
}

// Config is what Trees need. Store, Master and Anchors are required.
type Config struct {
	Store   Store
	Master  keys.Master // opens the keys that sign checkpoints
	Anchors Anchors
	// Moved, if set, is told of each head that is new to this process, in order. It must not block.
	Moved func(o audit.Origin, h ledger.Head)
	// Interval is how long an event may wait for others before a head covers it; default 50 ms.
	Interval time.Duration
	// Accepted, if set, is told when a log goes on in another epoch because an operator accepted a loss, here or in
	// another process. It must not block.
	Accepted func(ledger.Tenant)
	Now      func() time.Time // default time.Now; which keys sign
	Logger   *slog.Logger     // default slog.Default()
}

// The stop rules. A log whose newest events no signed head covers, for so long or so many, is not written any more, but
// for revocations: what it records meanwhile could vanish without a trace.
const (
	maxUncovered    = 10_000
	maxUncoveredFor = time.Minute
)

const (
	defaultInterval = 50 * time.Millisecond
	longestPause    = 2 * time.Second // between attempts to sign a head
	patience        = 5 * time.Second // of one attempt
	atOnce          = 16              // attempts
)

// Trees are the trees of all logs. They are safe for concurrent use.
type Trees struct {
	cfg   Config
	life  context.Context // ends when Close gives up
	end   context.CancelFunc
	slots chan struct{} // taken by each attempt
	count counters

	running sync.WaitGroup
	mu      sync.Mutex // guards what follows
	logs    map[ledger.Tenant]*log
	closed  bool
}

type counters struct{ heads, conflicts, failures atomic.Int64 }

// New returns trees of which nothing is known yet. Close them.
func New(cfg Config) *Trees {
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	t := &Trees{cfg: cfg, slots: make(chan struct{}, atOnce), logs: map[ledger.Tenant]*log{}}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// log is what this process knows of one log and its tree.
type log struct {
	tenant ledger.Tenant
	// work is held while the tree is looked at or extended. It guards what the sequencer alone needs.
	work chan struct{}
	edge *edge
	ring ring

	mu      sync.Mutex // guards what follows
	issuer  string
	checked bool // head was compared with the anchor
	head    ledger.Head
	own     map[int64]tlog.Hash // leaf hashes of our events that no head covers yet, by index
	end     int64               // behind the last entry that we know of
	came    []arrival           // when the uncovered entries came, the oldest first
	timer   *time.Timer         // runs while there is something to cover
	pause   time.Duration       // before the next attempt
	halted  error               // why the head is not believed
	looked  time.Time           // when it was found so
	saved   ledger.Head         // what the anchor is
	public  published
	used    time.Time
}

// of returns the state of a log.
func (t *Trees) of(id ledger.Tenant) *log {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[id]
	if l == nil {
		l = &log{tenant: id, work: make(chan struct{}, 1), own: map[int64]tlog.Hash{}, pause: t.cfg.Interval}
		t.logs[id] = l
	}
	l.used = time.Now()
	return l
}

// named notes whose log it is.
func (l *log) named(issuer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.issuer = issuer
}

// Appended tells of entries that the store confirmed, from an index on. They are covered soon.
func (t *Trees) Appended(o audit.Origin, index int64, entries [][]byte) {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	if at, twice := l.owns(index, entries); twice {
		_ = t.halt(l, "entry %d was recorded, and is another one now", at)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = max(l.end, index+int64(len(entries)))
	l.came = append(l.came, arrival{l.end, time.Now()})
	t.schedule(l)
}

// owns notes the hashes of our entries, unless one was in the place of another of ours: then nothing is noted, and it
// returns where.
func (l *log) owns(index int64, entries [][]byte) (at int64, twice bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := make([]tlog.Hash, len(entries))
	for i, entry := range entries {
		fresh[i] = tlog.RecordHash(entry)
		if hash, known := l.own[index+int64(i)]; known && hash != fresh[i] {
			return index + int64(i), true
		}
	}
	for i, hash := range fresh {
		l.own[index+int64(i)] = hash
	}
	return 0, false
}

// arrival is when the entries before end, and behind the arrival before, were heard of.
type arrival struct {
	end int64
	at  time.Time
}

// waited returns how long the oldest uncovered entry has waited. The caller holds the lock.
func (l *log) waited() time.Duration {
	if len(l.came) == 0 {
		return 0
	}
	return time.Since(l.came[0].at)
}

// schedule has the log looked at soon. The caller holds its lock.
func (t *Trees) schedule(l *log) {
	if l.timer == nil && t.life.Err() == nil {
		l.timer = time.AfterFunc(l.pause, func() { t.attempt(l) })
	}
}

// attempt covers what there is, and comes back later if that failed.
func (t *Trees) attempt(l *log) {
	if !t.enter() {
		return
	}
	defer t.running.Done()
	t.slots <- struct{}{}
	defer func() { <-t.slots }()
	ctx, cancel := context.WithTimeout(t.life, patience)
	defer cancel()
	_, err := t.cover(ctx, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if err == nil {
		l.pause = t.cfg.Interval
	} else {
		t.count.failures.Add(1)
		l.pause = min(2*l.pause, longestPause)
		if !errors.Is(err, errHalted) { // which was said once
			t.cfg.Logger.Warn("sign a head of the log", "log", auditor.KeyName(l.issuer), "error", err)
		}
	}
	if err != nil || l.end > l.head.Size {
		t.schedule(l)
	}
}

// enter reports whether Trees are still open, and counts whoever comes in.
func (t *Trees) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

// Gate says why nothing may be issued or changed in a log now, or returns nil. The first time that it is asked about a
// log, it looks at the store and at the anchor. Its errors wrap fault.ErrUnavailable.
func (t *Trees) Gate(ctx context.Context, o audit.Origin) error {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	if !l.trusted() {
		if err := t.look(ctx, l); err != nil {
			return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	uncovered := l.end - l.head.Size
	switch {
	case l.halted != nil:
		return gated("log.halted", "The store is not what was signed of this tenant's log. But for revocations, nothing is "+
			"done until it is put back, or an operator accepts the loss.", l.halted)
	case uncovered > maxUncovered || l.waited() > maxUncoveredFor:
		return gated("log.uncovered", "The newest events of this tenant's log cannot be signed. But for revocations, "+
			"nothing is done until they can.", fmt.Errorf("no signed head covers the last %d events", uncovered))
	}
	return nil
}

// gated is the refusal of what needs a log that must not be written now.
func gated(reason, public string, why error) error {
	return fault.Wrap(fault.Unavailable, reason, public, fmt.Errorf("%w: %w", fault.ErrUnavailable, why))
}

// lookAgain is how long a head that is not believed stays so without another look.
const lookAgain = time.Second

// trusted reports whether the log need not be looked at before something is done in it.
func (l *log) trusted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checked && l.halted == nil || l.halted != nil && time.Since(l.looked) < lookAgain
}

// look compares what the store has with what was seen, and covers what it finds uncovered.
func (t *Trees) look(ctx context.Context, l *log) error {
	if err := l.hold(ctx); err != nil {
		return err
	}
	defer l.release()
	wasHalted := l.isHalted()
	_, at, err := t.believed(ctx, l)
	if err == nil && wasHalted { // it may have been for what only covering finds
		_, err = t.coverHeld(ctx, l)
	}
	if err != nil && !errors.Is(err, errHalted) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end = max(l.end, at.Index); l.end > l.head.Size && l.halted == nil {
		if len(l.came) == 0 {
			l.came = append(l.came, arrival{l.end, time.Now()})
		}
		t.schedule(l)
	}
	return nil
}

// hold waits for the sequencer's part of the log.
func (l *log) hold(ctx context.Context) error {
	select {
	case l.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the tree: %w", ctx.Err())
	}
}

func (l *log) release() { <-l.work }

// Seen returns how many entries of a log are covered by a head that this process has seen. It asks nobody.
func (t *Trees) Seen(id ledger.Tenant) int64 {
	l := t.of(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.Size
}

// Forget drops what was last used before a time and has nothing to cover.
func (t *Trees) Forget(before time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.logs, func(_ ledger.Tenant, l *log) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.used.Before(before) && len(l.came) == 0 && l.timer == nil && l.halted == nil && l.head.Same(l.saved)
	})
}

// all returns the logs of which something is known.
func (t *Trees) all() []*log {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.logs))
}

// Close covers what there still is to cover, and saves the anchors. What it cannot cover until ctx ends, another
// process or the next start does.
func (t *Trees) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end()
	t.running.Wait()
	var errs []error
	for _, l := range t.all() {
		l.mu.Lock()
		open := l.end > l.head.Size && l.halted == nil
		if l.timer != nil {
			l.timer.Stop()
		}
		l.mu.Unlock()
		if open {
			_, err := t.cover(ctx, l)
			errs = append(errs, err)
		}
	}
	if err := t.Save(); err != nil {
		t.cfg.Logger.Warn("save anchors", "error", err) // older ones see less
	}
	return errors.Join(errs...)
}

// Stats are counts since the start, and gauges, of this process.
type Stats struct {
	Heads     int64         // signed and stored
	Conflicts int64         // heads that another process was faster with
	Failures  int64         // attempts that failed
	Uncovered int64         // events that no head covers yet
	Oldest    time.Duration // how long the oldest of them has waited
	Halted    int           // logs whose head is not believed
}

// Stats returns the current counts.
func (t *Trees) Stats() Stats {
	s := Stats{Heads: t.count.heads.Load(), Conflicts: t.count.conflicts.Load(), Failures: t.count.failures.Load()}
	for _, l := range t.all() {
		l.mu.Lock()
		s.Uncovered += max(l.end-l.head.Size, 0)
		s.Oldest = max(s.Oldest, l.waited())
		if l.halted != nil {
			s.Halted++
		}
		l.mu.Unlock()
	}
	return s
}
