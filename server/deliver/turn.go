package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

const (
	// page bounds the events that are read and given at once.
	page = 128
	// shift is how long one log is copied while others wait for a worker.
	shift = 2 * time.Second
	// Bounds of what a receiver may ask for by Retry-After.
	leastLater, mostLater = time.Second, 5 * time.Minute
	// farewell bounds the step that ends a turn.
	farewell = time.Second
)

// round is a turn of a feed that has begun: this process copies, until ends.
type round struct {
	lane *lane
	feed *feed
	next ledger.Mark
	ends time.Time // by this process's clock, which is not before the store says so
	ok   bool      // something was copied
}

// turn copies what a feed has and its sink has not, and returns how long the feed rests then.
func (l *lane) turn(f *feed) (rest time.Duration) {
	asked := time.Now()
	s, err := l.d.cfg.Store.TakeSink(l.d.life, f.log.Tenant, l.target.Name, l.d.owner, l.d.cfg.Lease)
	switch {
	case errors.Is(err, fault.ErrConflict):
		return l.held(f, s)
	case err != nil:
		return l.failed(f, fmt.Errorf("take the turn: %w", err))
	}
	l.taken(f, s.Next)
	r := &round{lane: l, feed: f, next: s.Next, ends: asked.Add(l.d.cfg.Lease)}
	err = r.copy(asked.Add(shift))
	if errors.Is(err, fault.ErrConflict) { // somebody else copies by now
		return doubled(firstLook, lastLook, 0)
	}
	if err != nil {
		rest = l.failed(f, err)
	} else {
		l.succeeded(f, r.ok)
	}
	r.leave(rest)
	return rest
}

// held returns how long a feed rests whose sink is not free. Where nobody may copy for a while it is that while; where
// somebody does, he is done soon, or dead.
func (l *lane) held(f *feed, s ledger.Sink) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.heard(s.Next)
	rest := doubled(firstLook, lastLook, f.held)
	if s.Owner == "" {
		rest = s.Wait + rest/8
	}
	f.held++
	return max(rest, time.Millisecond)
}

func (l *lane) taken(f *feed, next ledger.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.held = 0
	f.heard(next)
}

// complaints are this far apart, for each sink.
const complaints = time.Minute

// failed notes a failure and returns how long the feed rests.
func (l *lane) failed(f *feed, err error) time.Duration {
	if l.d.life.Err() != nil {
		return time.Millisecond // the end of everything is no failure
	}
	l.retries.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := doubled(l.d.cfg.Retry, l.d.cfg.MaxRetry, f.failed)
	if later, ok := errors.AsType[*Later](err); ok {
		rest = max(rest, min(max(later.After, leastLater), mostLater))
	}
	f.failed++
	if now := time.Now(); now.Sub(l.warned) >= complaints {
		l.warned = now
		l.d.cfg.Logger.Warn("a sink does not take events; they are kept and tried again", "sink", l.target.Name,
			"tenant", f.log.Slug, "behind", f.covered.behind(f.next), "attempts", f.failed, "error", err)
	}
	return max(rest, time.Millisecond)
}

// succeeded ends a run of failures, if anything was copied.
func (l *lane) succeeded(f *feed, copied bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if copied && f.failed > 0 {
		l.d.cfg.Logger.Info("a sink takes events again", "sink", l.target.Name, "tenant", f.log.Slug, "attempts", f.failed)
		f.failed = 0
	}
}

// copy copies until the sink has everything or it is somebody else's turn.
func (r *round) copy(until time.Time) error {
	for {
		covered := r.lane.state(r.feed)
		if err := r.begin(covered); err != nil {
			return err
		}
		if covered.behind(r.next) == 0 || r.lane.d.stopping() || r.ok && time.Now().After(until) {
			return nil
		}
		if err := r.step(covered); err != nil {
			return err
		}
	}
}

func (d *Deliverer) stopping() bool {
	select {
	case <-d.closing:
		return true
	default:
		return d.life.Err() != nil
	}
}

// begin moves a sink to where the log begins, if the log is in another epoch or what comes next was pruned.
func (r *round) begin(covered Covered) error {
	next := covered.start(r.next)
	if next == r.next || covered.Epoch < r.next.Epoch {
		return nil
	}
	if missed := next.Index - r.next.Index; next.Epoch == r.next.Epoch {
		r.lane.d.cfg.Logger.Error("events were pruned before a sink had them", "sink", r.lane.target.Name,
			"origin", r.origin(covered.Epoch), "from", r.next.Index, "count", missed)
	}
	return r.move(next, nil)
}

func (r *round) origin(epoch int64) string { return r.lane.d.cfg.Heads.Origin(r.feed.log, epoch) }

// step copies one page.
func (r *round) step(covered Covered) error {
	l := r.lane
	ctx, cancel := context.WithDeadline(l.d.life, r.ends.Add(-l.d.cfg.Lease/4))
	defer cancel()
	limit := int(min(covered.behind(r.next), page))
	records, err := l.d.cfg.Source.Read(ctx, r.feed.log.Tenant, r.next.Index, limit)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for i, record := range records {
		if record.Index != r.next.Index+int64(i) {
			records = records[:i]
			break
		}
	}
	if len(records) == 0 {
		return fmt.Errorf("read the log: event %d is covered by a checkpoint and is not there", r.next.Index)
	}
	b := Batch{Log: r.feed.log, Origin: r.origin(covered.Epoch)}
	for _, record := range records {
		if name := nameOf(record.Claims); l.target.takes(name) {
			b.Events = append(b.Events, Event{Record: record, Name: name})
		}
	}
	to := r.next.Index + int64(len(records))
	given := 0
	if len(b.Events) > 0 {
		given, err = l.target.Sink.Give(ctx, b)
	}
	return r.gave(b, given, to, err)
}

// gave notes what came of giving a batch, after which the sink would be at to.
func (r *round) gave(b Batch, given int, to int64, err error) error {
	r.lane.delivered.Add(int64(given))
	var dead []ledger.DeadLetter
	refused, isRefused := errors.AsType[*Refused](err)
	switch {
	case given >= len(b.Events):
		err = nil
	case isRefused:
		index := b.Events[given].Index
		dead = []ledger.DeadLetter{{Mark: ledger.Mark{Epoch: r.next.Epoch, Index: index}, Code: refused.Code}}
		to, err = index+1, nil
	default:
		to = b.Events[given].Index
		if err == nil && given == 0 {
			err = errors.New("the sink took nothing")
		}
	}
	if to == r.next.Index {
		return err
	}
	if failed := r.move(ledger.Mark{Epoch: r.next.Epoch, Index: to}, dead); failed != nil {
		return failed
	}
	r.ok = true
	r.buried(b.Origin, dead)
	return err
}

// buried tells of dead letters.
func (r *round) buried(origin string, dead []ledger.DeadLetter) {
	for _, letter := range dead {
		r.lane.dead.Add(1)
		r.lane.d.cfg.Logger.Error("a sink refuses an event for good and goes on with the next one",
			"sink", r.lane.target.Name, "origin", origin, "index", letter.Index, "code", letter.Code)
	}
}

// move makes a step and extends the turn.
func (r *round) move(to ledger.Mark, dead []ledger.DeadLetter) error {
	l := r.lane
	asked := time.Now()
	// What was given is noted even if everything ends: or it would be given again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.d.life), l.d.cfg.Lease/2)
	defer cancel()
	err := l.d.cfg.Store.MoveSink(ctx, r.feed.log.Tenant, l.target.Name, ledger.Move{
		Owner: l.d.owner, From: r.next, To: to, Dead: dead, For: l.d.cfg.Lease,
	})
	if err != nil {
		return fmt.Errorf("note what the sink has: %w", err)
	}
	r.next, r.ends = to, asked.Add(l.d.cfg.Lease)
	l.mu.Lock()
	defer l.mu.Unlock()
	r.feed.moved(to)
	return nil
}

// leave ends the turn; nobody copies while the sink rests. If that fails, others wait until the turn is over.
func (r *round) leave(rest time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.lane.d.life), farewell)
	defer cancel()
	_ = r.lane.d.cfg.Store.MoveSink(ctx, r.feed.log.Tenant, r.lane.target.Name,
		ledger.Move{Owner: r.lane.d.owner, From: r.next, To: r.next, For: rest, Leave: true})
}
