package tenant

import (
	"sync"
	"time"
)

// clock estimates the store's time from below: an answer that carries the store's time T and arrived when this process's
// clock showed L proves that the store was at T or later at L, so at L+d it is at T+d or later, as long as both clocks run
// at one rate. The best proof of the last minute counts, so that a drift of the rates cannot add up.
type clock struct {
	now  func() time.Time
	base time.Time // when the clock was made

	mu       sync.Mutex
	offset   time.Duration // store − local, from below
	observed time.Time     // local time of the observation; zero before the first
}

const proofLife = time.Minute

func (c *clock) observe(store time.Time) {
	if store.IsZero() {
		return
	}
	local := c.local()
	offset := store.Sub(local)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.observed.IsZero() || offset >= c.offset || local.Sub(c.observed) > proofLife {
		c.offset, c.observed = offset, local
	}
}

// correct takes an observation for true although it contradicts earlier ones: the store's clock was set back, or another
// machine is the store now.
func (c *clock) correct(store time.Time) {
	local := c.local()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.observed = store.Sub(local), local
}

// local returns this process's time, free of the steps that somebody makes its wall clock take.
func (c *clock) local() time.Time { return c.base.Add(c.now().Sub(c.base)) }

// Now returns the store's time, from below; before the first observation, this process's.
func (c *clock) Now() time.Time {
	local := c.local()
	c.mu.Lock()
	defer c.mu.Unlock()
	return local.Add(c.offset)
}
