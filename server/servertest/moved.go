package servertest

import (
	"context"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// moved is a store whose clock nobody can move, such as Redis. What it tells of the time is ahead by what the test let
// pass. The times that it keeps are its own: a cutoff hits what was issued up to the time at which it was made.
type moved struct {
	storage.Store
	clock *Clock
}

func (m moved) Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	p, err := m.Store.Commit(ctx, t, c)
	return m.position(p), err
}

func (m moved) Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error) {
	p, err := m.Store.Position(ctx, t)
	return m.position(p), err
}

func (m moved) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	rows, p, err := m.Store.Rows(ctx, t, kinds...)
	return rows, m.position(p), err
}

func (m moved) Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error) {
	all, p, err := m.Store.Cutoffs(ctx, t, after)
	return all, m.position(p), err
}

func (m moved) position(p ledger.Position) ledger.Position {
	if !p.Time.IsZero() {
		p.Time = p.Time.Add(m.clock.passed())
	}
	return p
}
