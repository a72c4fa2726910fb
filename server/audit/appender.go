package audit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxQueue bounds the calls that wait for one tenant's log.
const maxQueue = 4096

// The pauses between attempts to commit; each is twice the one before.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// appender writes one tenant's log: it numbers what is queued and has one commit in flight. What arrives meanwhile
// goes into the next one, so that load makes commits larger and not slower. Its goroutine lives while there is
// something to write.
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
	down    bool  // the commit in flight has not been answered for the deadline
	refuse  error // why nothing is accepted any more: closed, or the sequence is broken
}

// request is a call: events that are recorded together, with the change that they record.
type request struct {
	origin Origin
	change ledger.Change
	claims []ledger.Claim
	events []Event
	drafts []draft

	done     chan struct{} // closed with the answer; nil if nobody waits
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
	if !a.running {
		a.running = true
		a.log.running.Go(a.run)
	}
	return nil
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
	if !a.running && a.last > 0 { // it is to write its last event
		a.running = true
		a.log.running.Go(a.run)
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

// record brings a batch into the store, signed with the keys that the log has at its place.
func (a *appender) record(batch []*request) (c ledger.Commit, p ledger.Position, err error) {
	a.origin = batch[0].origin
	for {
		if c, p, err = a.sign(batch); !errors.Is(err, fault.ErrStale) {
			return c, p, err
		}
	}
}

func (a *appender) sign(batch []*request) (c ledger.Commit, p ledger.Position, err error) {
	if a.ring == nil {
		err = a.insist(func(ctx context.Context) error { return a.open(ctx, batch[0]) })
	}
	if err == nil {
		c, err = a.number(batch)
	}
	if err != nil {
		return c, p, unavailable(err)
	}
	// The commit stays as it is for as long as it takes to know what became of it.
	err = a.insist(func(ctx context.Context) error {
		p, err = a.log.cfg.Store.Commit(ctx, a.tenant, c)
		return err
	})
	if err != nil {
		a.forget()
	}
	return c, p, err
}

// number seals the events of a batch. Their numbers are used up only when the store confirms them.
func (a *appender) number(batch []*request) (ledger.Commit, error) {
	c := ledger.Commit{Writer: a.writer, First: a.last + 1, Change: batch[0].change}
	c.Change.Put = slices.Concat(c.Change.Put, a.fresh)
	signed := a.revision
	c.Signed = &signed
	var drafts []draft
	if a.last == 0 {
		start, err := a.start(batch[0].origin)
		if err != nil {
			return c, err
		}
		drafts = append(drafts, start)
	}
	made, err := a.made(batch[0].origin)
	if err != nil {
		return c, err
	}
	drafts = append(drafts, made...)
	for _, r := range batch {
		drafts = append(drafts, r.drafts...)
		c.Claims = append(c.Claims, r.claims...)
	}
	// Keys that the commit itself replaces sign no more: one that is in the wrong hands does not tell of its own end.
	ring, err := a.ring.With(c.Change.Put)
	if err != nil {
		return c, err
	}
	c.Entries, err = a.seal(drafts, ring.Events())
	return c, err
}

// start is the event with which a writer begins.
func (a *appender) start(o Origin) (draft, error) {
	body := Body{Outcome: Allowed, Request: Request{Node: a.log.cfg.Node}}
	return encode(o, &Event{Name: WriterStart, Body: body}, a.log.cfg.Now())
}

// alone is how many signatures are not worth sharing.
const alone = 8

// seal signs drafts as the events after the last one, on all processors if they are many.
func (a *appender) seal(drafts []draft, key *keys.Signer) ([][]byte, error) {
	now := a.log.cfg.Now()
	sealed, errs := make([][]byte, len(drafts)), make([]error, len(drafts))
	each := func(from, step int) {
		for i := from; i < len(drafts); i += step {
			sealed[i], errs[i] = seal(drafts[i], now, a.writer, a.last+1+int64(i), key)
		}
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), len(drafts)/alone))
	var working sync.WaitGroup
	for w := 1; w < workers; w++ {
		working.Go(func() { each(w, workers) })
	}
	each(0, workers)
	working.Wait()
	return sealed, errors.Join(errs...)
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

// confirmed answers the callers of a recorded batch, and follows up those that could not wait.
func (a *appender) confirmed(batch []*request, c ledger.Commit, p ledger.Position) {
	a.last += int64(len(c.Entries))
	a.moved(p)
	a.tell(batch[0].origin, p.Index, c.Entries)
	a.log.count.commits.Add(1)
	a.log.count.recorded.Add(int64(len(c.Entries)))
	var left []*request
	a.mu.Lock()
	a.resume()
	index := p.Index + int64(len(c.Entries))
	for _, r := range batch {
		index -= int64(len(r.drafts))
	}
	for _, r := range batch {
		p.Index = index
		index += int64(len(r.drafts))
		r.answer(p, nil)
		if r.gone {
			left = append(left, r)
		}
	}
	a.mu.Unlock()
	if len(left) > 0 {
		a.follow(left)
	}
}

// tell passes on what the store has confirmed.
func (a *appender) tell(o Origin, index int64, entries [][]byte) {
	if a.log.cfg.Appended != nil {
		a.log.cfg.Appended(o, index, entries)
	}
}

// follow queues, before everything else, what corrects the record for callers that were told that it failed.
func (a *appender) follow(left []*request) {
	var after []*request
	for _, r := range left {
		reason := NotReleased
		if !r.change.Empty() {
			reason = NotConfirmed
		}
		for _, e := range r.events {
			e.Body.Outcome, e.Body.Reason = Failed, reason
			f, err := a.log.request(r.origin, ledger.Change{}, []Event{e})
			if err != nil {
				panic(err) // all but outcome and reason has been encoded before
			}
			after = append(after, f)
		}
	}
	a.log.count.unreleased.Add(int64(len(after)))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(after, a.queue...)
}

// outclaimed answers those of a batch whose claims somebody else has, and lets the others go again, before everything
// else. Nothing of the batch was written. Where two of the batch claim the same, the store says so of the later one; it
// has lost only if the earlier one goes again.
func (a *appender) outclaimed(batch []*request, taken *ledger.Taken) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resume()
	var rest []*request
	met, held := map[string]bool{}, map[string]bool{} // claimed in this batch; and that by somebody who keeps it
	lost, next := taken.Claims, 0                     // next is the index in the commit of the claim that comes next
	for _, r := range batch {
		own := new(ledger.Taken)
		for i, claim := range r.claims {
			isLost := len(lost) > 0 && lost[0] == next
			if next++; isLost {
				lost = lost[1:]
			}
			if isLost && (held[claim.Key] || !met[claim.Key]) {
				own.Claims = append(own.Claims, i)
				held[claim.Key] = true
			}
			met[claim.Key] = true
		}
		if len(own.Claims) > 0 {
			r.answer(ledger.Position{}, own)
			continue
		}
		rest = append(rest, r)
		for _, claim := range r.claims {
			held[claim.Key] = true
		}
	}
	a.queue = append(rest, a.queue...)
}

// refused answers the callers of a batch of which nothing was written, or nothing that this process will learn of.
func (a *appender) refused(batch []*request, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case errors.Is(err, fault.ErrSequence):
		// Numbering on would hide what is missing. Another writer can go on, and that is a restart. Revocations go on
		// without one, under another writer's id.
		a.log.cfg.Logger.Error("the store lost acknowledged events of this process, or was replaced; "+
			"this tenant is frozen until restart, or until its loss is accepted, but for revocations",
			"log", a.name(), "wid", a.writer, "wsn", a.last, "error", err)
		a.refuse, err = errFrozen, unavailable(errFrozen)
		a.writer, a.last = ledger.NewID(a.log.cfg.Now()), 0
		if a.log.cfg.Lost != nil {
			a.log.cfg.Lost(batch[0].origin)
		}
		batch = a.keepExempt(batch)
	case errors.Is(err, errClosed):
		err = unavailable(errClosed)
		batch, a.queue = append(batch, a.queue...), nil
	case !errors.Is(err, fault.ErrConflict):
		a.log.cfg.Logger.Error("the store refuses a commit for good", "log", a.name(), "error", err)
		a.resume()
	default:
		a.resume()
	}
	for _, r := range batch {
		r.answer(ledger.Position{}, err)
		if r.done == nil {
			a.log.count.lost.Add(r.events[0].Body.Count) // which no event has now
		}
	}
}

// keepExempt queues those requests that are exempt, of a batch and of the queue, and returns the others. The caller
// holds the lock.
func (a *appender) keepExempt(batch []*request) (others []*request) {
	var kept []*request
	for _, r := range append(batch, a.queue...) {
		if r.exempt() {
			kept = append(kept, r)
		} else {
			others = append(others, r)
		}
	}
	a.queue = kept
	return others
}

// thaw ends a freeze. The writer has another id since then.
func (a *appender) thaw() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(a.refuse, errFrozen) {
		a.refuse = nil
	}
}

func (a *appender) stats(s *Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Queued += len(a.queue)
	if a.down {
		s.Down++
	}
	if errors.Is(a.refuse, errFrozen) {
		s.Frozen++
	}
}
