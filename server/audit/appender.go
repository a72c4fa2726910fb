package audit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxQueue bounds the calls that wait for one tenant's log.
const maxQueue = 4096

// The pauses between attempts to commit; each is twice the one before.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// company is how long an event that nobody waits for waits itself, so that it shares a commit with one that somebody
// waits for: alone it would be in the way of that one.
const company = 5 * time.Millisecond

// appender writes one tenant's log: it numbers what is queued and has one commit in flight. What arrives meanwhile
// goes into the next one, so that load makes commits larger and not slower. Its goroutine lives while there is
// something to write at once.
type appender struct {
	log    *Log
	tenant ledger.Tenant

	// The goroutine's own:
	writer string // wid
	last   int64  // number (wsn) of the last event that the store confirmed
	origin Origin // of what is written
	ended  bool   // the writer's last event has been numbered
	keyring

	mu      sync.Mutex // guards what follows, and the state of the requests
	queue   []*request
	running bool
	waiting *time.Timer // until what is queued goes alone; nil unless it all is patient, and not running
	ripe    bool        // it has waited long enough
	down    bool        // the commit in flight has not been answered for the deadline
	refuse  error       // why nothing is accepted any more: closed, or the sequence is broken
}

// request is a call: events that are recorded together, with the change that they record.
type request struct {
	origin Origin
	change ledger.Change
	claims []ledger.Claim
	events []Event
	drafts []draft

	done     chan struct{} // closed with the answer; nil if nobody waits
	patient  bool          // it can wait for company
	answered bool
	gone     bool // the caller has been told that it failed
	position ledger.Position
	err      error
}

// exempt reports whether the rules that stop a log let the request through: it cuts something off, or it only notes
// what those do who may have to do that, or who mend the log.
func (r *request) exempt() bool {
	held := func(e Event) bool { return !kindOf[e.Name].exempt }
	c := r.change
	revokes := len(c.Cut) > 0 && len(c.Put)+len(c.Delete)+len(c.Enable) == 0
	return revokes || c.Empty() && !slices.ContainsFunc(r.events, held)
}

// answer ends the wait of a caller that still waits.
func (r *request) answer(p ledger.Position, err error) {
	if r.done == nil || r.answered || r.gone {
		return
	}
	r.answered, r.position, r.err = true, p, err
	close(r.done)
}

// enqueue accepts r, or tells at once why not.
func (a *appender) enqueue(r *request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.refuse != nil && !(errors.Is(a.refuse, errFrozen) && r.exempt()):
		return unavailable(a.refuse)
	case a.down:
		return unavailable(errDown)
	case len(a.queue) >= maxQueue && !r.exempt():
		return unavailable(errFull)
	}
	a.queue = append(a.queue, r)
	switch {
	case a.running:
	case r.patient && a.refuse == nil:
		a.wait()
	default:
		a.write()
	}
	return nil
}

// write has the queue written. The caller holds the lock.
func (a *appender) write() {
	if a.waiting != nil {
		a.waiting.Stop()
		a.waiting = nil
	}
	a.running = true
	a.log.running.Go(a.run)
}

// wait has the queue written when it has waited long enough. The caller holds the lock.
func (a *appender) wait() {
	if a.waiting == nil {
		a.waiting = time.AfterFunc(company, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.waiting != nil && !a.running {
				a.ripe = true
				a.write()
			}
		})
	}
}

// patient reports whether all of the queue can wait for company. The caller holds the lock.
func (a *appender) patient() bool {
	if a.refuse != nil || a.ripe {
		return false
	}
	for _, r := range a.queue {
		if !r.patient {
			return false
		}
	}
	return len(a.queue) > 0
}

// leave gives up waiting for r, unless it is answered already. If r is not on its way yet it is dropped; else the
// appender follows it up.
func (a *appender) leave(r *request, cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !r.answered {
		r.gone, r.err = true, unavailable(cause)
	}
}

func (a *appender) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return
	}
	a.refuse = errClosed
	if !a.running && (a.last > 0 || len(a.queue) > 0) { // it is to write its last event
		a.write()
	}
}

func (a *appender) run() {
	for batch := a.next(); batch != nil; batch = a.next() {
		c, p, err := a.record(batch)
		taken, lost := errors.AsType[*ledger.Taken](err)
		switch {
		case err == nil:
			a.confirmed(batch, c, p)
		case lost:
			a.outclaimed(batch, taken)
		default:
			a.refused(batch, err)
		}
	}
}

// next takes the batch to be committed from the queue: a change alone, so that its refusal is nobody else's, or as
// many others as fit. It returns nil, and run ends, when there is nothing.
func (a *appender) next() []*request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.patient() {
		a.running = false
		a.wait()
		return nil
	}
	a.ripe = false
	var batch []*request
	for len(a.queue) > 0 && len(batch) < MaxEvents {
		r := a.queue[0]
		alone := !r.change.Empty() || len(r.events) > 1
		if alone && len(batch) > 0 {
			break
		}
		a.queue = a.queue[1:]
		if r.gone {
			continue
		}
		batch = append(batch, r)
		if alone {
			break
		}
	}
	if len(batch) == 0 {
		batch = a.farewell()
	}
	if len(batch) == 0 {
		a.queue, a.running = nil, false
	}
	return batch
}

// farewell returns the writer's last event, when the log is closed and everything else has been written. The caller
// holds the lock.
func (a *appender) farewell() []*request {
	if a.refuse != errClosed || a.ended || a.last == 0 || a.log.life.Err() != nil {
		return nil
	}
	a.ended = true
	r, err := a.log.request(a.origin, ledger.Change{}, []Event{{Name: WriterStop, Body: Body{Outcome: Allowed}}})
	if err != nil {
		panic(err) // the same origin has been encoded before
	}
	return []*request{r}
}

// insist does what the store must settle, again until it has.
func (a *appender) insist(do func(context.Context) error) error {
	pause := firstPause
	for {
		ctx, cancel := context.WithTimeout(a.log.life, a.log.cfg.Deadline)
		err := attempt(ctx, do, &pause)
		cancel()
		switch {
		case settled(err):
			return err
		case a.log.life.Err() != nil:
			return errClosed
		}
		a.stall(err)
	}
}

// attempt does it until the store answers or ctx ends.
func attempt(ctx context.Context, do func(context.Context) error, pause *time.Duration) error {
	for {
		err := do(ctx)
		if settled(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(*pause):
			*pause = min(2**pause, longestPause)
		}
	}
}

// settled reports whether err tells what became of a commit.
func settled(err error) bool {
	return !errors.Is(err, fault.ErrUnavailable) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// stall notes that the store does not answer, and answers those who wait behind the commit in flight. Nothing of
// theirs has been written, nor will be.
func (a *appender) stall(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return
	}
	a.down = true
	a.log.cfg.Logger.Error("the store does not confirm; nothing is issued or changed until it does",
		"log", a.name(), "error", err)
	var kept []*request
	for _, r := range a.queue {
		r.answer(ledger.Position{}, unavailable(errDown))
		if r.done == nil {
			kept = append(kept, r)
		}
	}
	a.queue = kept
}

// name is that of the log for people: its URL without the scheme, as its checkpoints have it.
func (a *appender) name() string { return auditor.KeyName(a.origin.Issuer) }

// resume notes that the store answered. The caller holds the lock.
func (a *appender) resume() {
	if a.down {
		a.down = false
		a.log.cfg.Logger.Info("the store answers again", "log", a.name())
	}
}
