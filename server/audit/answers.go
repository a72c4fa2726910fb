package audit

import (
	"errors"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

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
