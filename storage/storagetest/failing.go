package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage"
)

// Op is a call of the store that can be made to fail.
type Op string

// The calls that can fail.
const (
	Commit   Op = "Commit"
	Claim    Op = "Claim"
	Position Op = "Position"
	Rows     Op = "Rows"
	Cutoffs  Op = "Cutoffs"
	Spend    Op = "Spend"
	TakeSink Op = "TakeSink"
	MoveSink Op = "MoveSink"
	Sink     Op = "Sink"
)

// Mode is how a call fails.
type Mode int

const (
	// Works is no failure.
	Works Mode = iota
	// NotApplied fails before the store is asked.
	NotApplied
	// Applied fails after the store has done it, as when the answer is lost.
	Applied
)

// Faulty is a store some of whose calls fail with fault.ErrUnavailable.
type Faulty struct {
	storage.Store

	mu    sync.Mutex
	modes map[Op]Mode
	calls []Op // since the last Break
	from  int  // what Break said
	until int
	how   Mode
}

// Failing wraps s; at first everything works.
func Failing(s storage.Store) *Faulty { return &Faulty{Store: s, modes: map[Op]Mode{}} }

// Set makes every further call of op behave as mode says.
func (f *Faulty) Set(op Op, mode Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modes[op] = mode
}

// Break counts the calls of every op from now on, from 1, and makes those from first on, count of them, behave as mode
// says.
func (f *Faulty) Break(first, count int, mode Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.from, f.until, f.how = nil, first, first+count, mode
}

// Mend makes everything work.
func (f *Faulty) Mend() { f.Break(0, 0, Works) }

// Calls returns the calls since the last Break or Mend.
func (f *Faulty) Calls() []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// mode returns how this call of op is to behave.
func (f *Faulty) mode(op Op) Mode {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, op)
	if n := len(f.calls); f.from <= n && n < f.until {
		return f.how
	}
	return f.modes[op]
}

// fail runs call unless op fails without it, and returns the failure of op.
func (f *Faulty) fail(op Op, call func() error) error {
	mode := f.mode(op)
	if mode != NotApplied {
		if err := call(); err != nil || mode == Works {
			return err
		}
	}
	return fmt.Errorf("%s: %w: %w", op, fault.ErrUnavailable, errors.New("made to fail by the test"))
}

// Commit is the store's, or fails.
func (f *Faulty) Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (p ledger.Position, err error) {
	if err := f.fail(Commit, func() error { p, err = f.Store.Commit(ctx, t, c); return err }); err != nil {
		return ledger.Position{}, err
	}
	return p, nil
}

// Claim is the store's, or fails.
func (f *Faulty) Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (fresh bool, err error) {
	if err := f.fail(Claim, func() error { fresh, err = f.Store.Claim(ctx, t, key, until); return err }); err != nil {
		return false, err
	}
	return fresh, nil
}

// Position is the store's, or fails.
func (f *Faulty) Position(ctx context.Context, t ledger.Tenant) (p ledger.Position, err error) {
	if err := f.fail(Position, func() error { p, err = f.Store.Position(ctx, t); return err }); err != nil {
		return ledger.Position{}, err
	}
	return p, nil
}

// Rows is the store's, or fails.
func (f *Faulty) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) (
	rows []ledger.Row, p ledger.Position, err error,
) {
	if err := f.fail(Rows, func() error { rows, p, err = f.Store.Rows(ctx, t, kinds...); return err }); err != nil {
		return nil, ledger.Position{}, err
	}
	return rows, p, nil
}

// Cutoffs is the store's, or fails.
func (f *Faulty) Cutoffs(ctx context.Context, t ledger.Tenant, after int64) (
	cutoffs []ledger.Cutoff, p ledger.Position, err error,
) {
	call := func() error { cutoffs, p, err = f.Store.Cutoffs(ctx, t, after); return err }
	if err := f.fail(Cutoffs, call); err != nil {
		return nil, ledger.Position{}, err
	}
	return cutoffs, p, nil
}

// Spend is the store's, or fails.
func (f *Faulty) Spend(ctx context.Context, all []limit.Spent) (left []time.Duration, err error) {
	if err := f.fail(Spend, func() error { left, err = f.Store.Spend(ctx, all); return err }); err != nil {
		return nil, err
	}
	return left, nil
}

// TakeSink is the store's, or fails.
func (f *Faulty) TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (
	s ledger.Sink, err error,
) {
	err = f.fail(TakeSink, func() error { s, err = f.Store.TakeSink(ctx, t, sink, owner, d); return err })
	return s, err
}

// MoveSink is the store's, or fails.
func (f *Faulty) MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error {
	return f.fail(MoveSink, func() error { return f.Store.MoveSink(ctx, t, sink, m) })
}

// Sink is the store's, or fails.
func (f *Faulty) Sink(ctx context.Context, t ledger.Tenant, sink string) (s ledger.Sink, err error) {
	if err := f.fail(Sink, func() error { s, err = f.Store.Sink(ctx, t, sink); return err }); err != nil {
		return ledger.Sink{}, err
	}
	return s, nil
}
