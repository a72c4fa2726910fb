package logapi

import (
	"context"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// crowds are the readers of each log's events.
type crowds struct {
	mu   sync.Mutex
	logs map[ledger.Tenant]*crowd
}

// crowd is those who read the events of one log now, in this process. They share their looks at how far it goes, so
// that a log costs the store no more with many followers than with few.
type crowd struct {
	readers int // guarded by crowds.mu
	sights  [2]shared
}

// shared is the last look at a log, and lets one reader look at a time.
type shared struct {
	gate chan struct{}
	at   time.Time
	sight
}

// sight is how far a log may be shown.
type sight struct {
	size int64
	head ledger.Head // the zero Head where what no head covers is shown, too
}

var errCrowd = fault.New(fault.TooMany, "stream.many",
	"As many as may do so are reading the events of this log already; try again when one of them has ended.")

// enter lets one more read a log, at most most of them. The caller must call leave.
func (c *crowds) enter(t ledger.Tenant, most int) (at *crowd, leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at = c.logs[t]
	if at == nil {
		at = &crowd{sights: [2]shared{{gate: make(chan struct{}, 1)}, {gate: make(chan struct{}, 1)}}}
	}
	if at.readers >= most {
		return nil, nil, errCrowd
	}
	at.readers++
	if c.logs == nil {
		c.logs = map[ledger.Tenant]*crowd{}
	}
	c.logs[t] = at
	return at, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if at.readers--; at.readers == 0 {
			delete(c.logs, t)
		}
	}, nil
}

// total is how many read now.
func (c *crowds) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.logs {
		n += at.readers
	}
	return n
}

const (
	// lookEvery is how often a follower looks whether there is more.
	lookEvery = 100 * time.Millisecond
	// lookKeep is how old a look may be that a follower takes over from another.
	lookKeep = lookEvery / 2
)

// look returns how far a log goes. A reader's first look is its own; later ones are shared.
func (a *API) look(ctx context.Context, at *crowd, o audit.Origin, uncovered, first bool) (sight, error) {
	which := &at.sights[0]
	if uncovered {
		which = &at.sights[1]
	}
	select {
	case which.gate <- struct{}{}:
		defer func() { <-which.gate }()
	case <-ctx.Done():
		return sight{}, ctx.Err()
	}
	if !first && time.Since(which.at) < lookKeep {
		return which.sight, nil
	}
	began := time.Now()
	seen, err := a.see(ctx, o, uncovered)
	if err != nil {
		return sight{}, err
	}
	which.at, which.sight = began, seen
	return seen, nil
}

func (a *API) see(ctx context.Context, o audit.Origin, uncovered bool) (sight, error) {
	if uncovered {
		p, err := a.cfg.Positions.Position(ctx, o.Tenant)
		return sight{size: p.Index}, err
	}
	head, err := a.cfg.Trees.Head(ctx, o)
	return sight{size: head.Size, head: head}, err
}
