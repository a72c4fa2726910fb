package outpost

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// The stop rule of the log, as servers have it: what the log records while nobody signs its head could vanish without a
// trace.
const (
	maxUncovered    = 10_000
	maxUncoveredFor = time.Minute
	lookEvery       = 2 * time.Second
)

// cover is how far signed heads cover a tenant's log.
type cover struct {
	mu      sync.Mutex
	epoch   int64
	looked  time.Time
	entries int64 // of the log when it was looked at last
	size    int64 // of the head then
	mark    int64 // entries that the log had at since, and that no head covered yet when it was looked at last
	since   time.Time
}

// Accepted has f told of each log that goes on in another epoch, because an operator accepted a loss. Call it before
// anything is recorded.
func (d *Directory) Accepted(f func(ledger.Tenant)) { d.accepted = f }

// Gate says why nothing may be done in a tenant's log now, or returns nil. It looks at the store every so often; that
// the store is away is for those to find out who write to it.
func (d *Directory) Gate(ctx context.Context, o audit.Origin) error {
	for _, s := range d.slots {
		if s.tenant.ID == o.Tenant {
			return s.cover.check(ctx, d, s)
		}
	}
	return nil // it is no log of ours, and nothing signs there
}

func (c *cover) check(ctx context.Context, d *Directory, s *slot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := d.cfg.Now()
	if now.Sub(c.looked) >= lookEvery {
		head, at, err := d.cfg.Store.Head(ctx, s.tenant.ID)
		if err != nil {
			return fmt.Errorf("read the head of the log: %w", err)
		}
		if before := c.epoch; before > 0 && head.Epoch > before && d.accepted != nil {
			d.accepted(s.tenant.ID)
		}
		c.looked, c.epoch, c.entries, c.size = now, head.Epoch, at.Index, head.Size
		if c.since.IsZero() || head.Size >= c.mark {
			c.mark, c.since = at.Index, now
		}
	}
	uncovered := c.entries - c.size
	if uncovered > maxUncovered || c.size < c.mark && now.Sub(c.since) > maxUncoveredFor {
		return fault.Wrap(fault.Unavailable, "log.uncovered", "The newest events of this tenant's log are not signed. "+
			"Nothing is done until a server signs them.", fmt.Errorf("%w: no signed head covers the last %d events",
			fault.ErrUnavailable, uncovered))
	}
	return nil
}
