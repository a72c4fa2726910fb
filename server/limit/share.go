package limit

import (
	"context"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Spent is what was taken from one budget.
type Spent struct {
	Tenant ledger.Tenant
	Budget string        // unique in the tenant: a kind, a colon and 32 hexadecimal digits
	Worth  time.Duration // how long it takes to grow back
}

// Store adds up what processes take.
type Store interface {
	// Spend takes from each budget, which may be named once, and returns for each, in order, how long it takes until it
	// is full again if nobody takes more. One budget is changed as a whole, and no change is lost; several are not one
	// change. Nothing has to survive a restart of the store. Where the store did not confirm, the error wraps
	// fault.ErrUnavailable and the time is zero; what became of that budget is open.
	Spend(ctx context.Context, all []Spent) ([]time.Duration, error)
}

// maxWaiting bounds the budgets that have something to tell.
const maxWaiting = 1 << 16

// list holds the budgets that have something to tell the store, each once. Putting one in takes no lock.
type list struct {
	head    atomic.Pointer[budget]
	waiting atomic.Int64
	failed  atomic.Int64 // rounds
}

// note notes for the other processes that something was taken from b. Whoever notes the first since the last round puts
// b into the list.
func (l *Limiter) note(b *budget, cost int64) {
	if l.cfg.Store == nil || b.unsent.Add(cost) != cost {
		return
	}
	if l.list.waiting.Add(1) > maxWaiting {
		l.list.waiting.Add(-1)
		b.unsent.Store(0) // nobody is told; this process counts on
		return
	}
	for {
		b.next = l.list.head.Load()
		if l.list.head.CompareAndSwap(b.next, b) {
			return
		}
	}
}

// share starts the rounds, if there is anybody to share with.
func (l *Limiter) share() {
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	if l.cfg.Store == nil {
		return
	}
	l.stopped.Go(func() {
		ticker := time.NewTicker(l.cfg.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				l.round(ctx)
			}
		}
	})
}

// Close ends the sharing.
func (l *Limiter) Close() {
	l.stop()
	l.stopped.Wait()
}

// round tells the store what was taken, and learns what everybody took. What the store does not confirm is not told
// again: it may have been counted, and a caller must not pay twice.
func (l *Limiter) round(ctx context.Context) {
	var told []*budget
	var all []Spent
	for b := l.list.head.Swap(nil); b != nil; {
		next := b.next // before b can be put in again
		l.list.waiting.Add(-1)
		worth := b.unsent.Swap(0)
		told = append(told, b)
		all = append(all, Spent{Tenant: b.tenant, Budget: names[b.kind] + ":" + hex.EncodeToString(b.id[:]),
			Worth: time.Duration(worth)})
		b = next
	}
	if len(all) == 0 {
		return
	}
	began := l.now()
	left, err := l.cfg.Store.Spend(ctx, all)
	if err != nil {
		l.list.failed.Add(1)
	}
	for i, d := range left {
		if d > 0 {
			told[i].raise(began + int64(d) + told[i].unsent.Load())
		}
	}
}
