package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// spent is when budgets are full again. It is memory and not part of the file: nobody else has the file open, no
// promise rests on it, and syncing a disk ten times a second is no price for it.
type spent struct {
	mu    sync.Mutex // guards what follows
	full  map[budget]time.Time
	sweep int // budgets at which those that are full again are dropped
}

type budget struct {
	tenant ledger.Tenant
	name   string
}

const minSweep = 1024

// Spend takes from each budget and returns how long it takes until it is full again.
func (db *DB) Spend(ctx context.Context, all []limit.Spent) ([]time.Duration, error) {
	for _, s := range all {
		if err := errors.Join(accept.Tenant(s.Tenant), accept.Budget(s.Budget, s.Worth)); err != nil {
			return nil, fmt.Errorf("spend: %w", err)
		}
	}
	if ctx.Err() != nil {
		return nil, unavailable("give up before spending", ctx.Err())
	}
	now := db.now()
	left := make([]time.Duration, len(all))
	db.spent.mu.Lock()
	defer db.spent.mu.Unlock()
	db.spent.drop(now)
	for i, s := range all {
		key := budget{s.Tenant, s.Budget}
		full := db.spent.full[key]
		if full.Before(now) {
			full = now
		}
		db.spent.full[key] = full.Add(s.Worth)
		left[i] = full.Add(s.Worth).Sub(now)
	}
	return left, nil
}

// drop forgets the budgets that are full, once there are twice as many as were left the last time.
func (s *spent) drop(now time.Time) {
	if s.full == nil {
		s.full, s.sweep = map[budget]time.Time{}, minSweep
	}
	if len(s.full) < s.sweep {
		return
	}
	for key, full := range s.full {
		if !full.After(now) {
			delete(s.full, key)
		}
	}
	s.sweep = max(2*len(s.full), minSweep)
}
