package limit

import (
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// key names a budget within its table. The id has one size whatever a caller sends: text of theirs is hashed.
type key struct {
	tenant ledger.Tenant
	id     [16]byte
}

// budget is a bucket of tokens that fills by itself. All of its state is the moment at which it is full again, so that
// one that is full says nothing and may be forgotten. Times are nanoseconds since the limiter began, and tokens are
// counted in the time that it takes to make them.
type budget struct {
	key
	kind Kind
	hash uint64 // of the key
	full atomic.Int64

	unsent atomic.Int64 // taken, and not told to the store yet
	next   *budget      // in the list of those that have something to tell; owned by that list
}

// allowance is a rate as budgets need it.
type allowance struct {
	cost  int64 // how long a token takes to grow back
	burst int64 // how long all of them take
}

// allowance returns what the rate allows; false if it is off.
func (r Rate) allowance() (allowance, bool) {
	if r.Off || r.Count <= 0 {
		return allowance{}, false
	}
	cost := max(int64(r.Per)/int64(r.Count), 1)
	return allowance{cost: cost, burst: cost * int64(r.Count)}, true
}

// take takes a token and returns 0, or, if there is none, how long to wait for one.
func (b *budget) take(now int64, a allowance) time.Duration {
	for {
		full := b.full.Load()
		next := max(full, now) + a.cost
		if wait := next - now - a.burst; wait > 0 {
			return time.Duration(wait)
		}
		if b.full.CompareAndSwap(full, next) {
			return 0
		}
	}
}

// wait returns how long there will be no token; 0 if there is one.
func (b *budget) wait(now int64, a allowance) time.Duration {
	return time.Duration(max(b.full.Load()+a.cost-now-a.burst, 0))
}

// spend takes a token even if there is none.
func (b *budget) spend(now int64, a allowance) {
	for {
		full := b.full.Load()
		if b.full.CompareAndSwap(full, max(full, now)+a.cost) {
			return
		}
	}
}

// raise makes the budget full no earlier than that.
func (b *budget) raise(full int64) {
	for {
		old := b.full.Load()
		if full <= old || b.full.CompareAndSwap(old, full) {
			return
		}
	}
}
