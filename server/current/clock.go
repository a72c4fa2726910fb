// Package current is what it takes to keep up with a store: its time, and reads that callers share.
package current

import (
	"sync/atomic"
	"time"
)

// Clock estimates the store's time from below: an answer that carries the store's time T and arrived when this
// process's clock showed L proves that the store was at T or later at L, so at L+d it is at T+d or later, as long as
// both clocks run at one rate. The best proof of the last minute counts, so that a drift of the rates cannot add up. It
// is safe for concurrent use.
type Clock struct {
	now  func() time.Time
	base time.Time // when the clock was made
	best atomic.Pointer[proof]
}

// proof is an observation of the store's time.
type proof struct {
	offset   time.Duration // store − local, from below
	observed time.Time     // local time
}

// NewClock returns a clock that has observed nothing; now is this process's.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now, base: now()} }

const proofLife = time.Minute

// Observe takes the store's time in an answer that has just arrived; a zero time is none.
func (c *Clock) Observe(store time.Time) {
	if store.IsZero() {
		return
	}
	local := c.local()
	seen := &proof{store.Sub(local), local}
	for {
		best := c.best.Load()
		if best != nil && seen.offset < best.offset && local.Sub(best.observed) <= proofLife {
			return
		}
		if c.best.CompareAndSwap(best, seen) {
			return
		}
	}
}

// Correct takes an observation for true although it contradicts earlier ones: the store's clock was set back, or
// another machine is the store now.
func (c *Clock) Correct(store time.Time) {
	local := c.local()
	c.best.Store(&proof{store.Sub(local), local})
}

// local returns this process's time, free of the steps that somebody makes its wall clock take.
func (c *Clock) local() time.Time { return c.base.Add(c.now().Sub(c.base)) }

// Now returns the store's time, from below; before the first observation, this process's.
func (c *Clock) Now() time.Time {
	local := c.local()
	if best := c.best.Load(); best != nil {
		return local.Add(best.offset)
	}
	return local
}
