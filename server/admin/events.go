package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Bounds of an EventQuery.
const (
	MaxEvents = audit.MaxPage
	MaxWait   = 30 * time.Second

	defaultEvents = 100
	pollEvery     = 100 * time.Millisecond
)

// EventQuery says which events of a log are wanted.
type EventQuery struct {
	// After is how many events are already known: the first one wanted has this index. Less than zero counts from the
	// log's end.
	After int64
	// Limit bounds the answer, 1 to MaxEvents; zero means 100.
	Limit int
	// Wait is how long to wait for the first event, at most MaxWait.
	Wait time.Duration
}

// Events reads the log of what op acts on, its tenant or the platform: events in order, and the After that continues
// behind them. The first reading is an event of the log, too; see Log.
func (s *Service) Events(ctx context.Context, op Operator, q EventQuery) ([]audit.Record, int64, error) {
	origin, err := s.Log(ctx, op)
	if err != nil {
		return nil, 0, err
	}
	if q.Limit < 0 || q.Limit > MaxEvents || q.Wait < 0 || q.Wait > MaxWait {
		return nil, 0, fault.New(fault.InvalidRequest, "events.query",
			fmt.Sprintf("The limit must be 1 to %d, and the wait at most %s.", MaxEvents, MaxWait))
	}
	if q.Limit == 0 {
		q.Limit = defaultEvents
	}
	from, err := s.await(ctx, origin.Tenant, q)
	if err != nil {
		return nil, 0, err
	}
	records, err := s.cfg.Log.Read(ctx, origin.Tenant, from, q.Limit)
	return records, from + int64(len(records)), err
}

// Log returns the log of what op acts on, its tenant or the platform, if op may read it; NotFound if there is no such
// tenant. That op reads is recorded before Log returns: for the first time from an address, and once an hour after
// that.
func (s *Service) Log(ctx context.Context, op Operator) (audit.Origin, error) {
	if err := s.allow(ctx, op, op.either(ReadLog, ReadPlatform)); err != nil {
		return audit.Origin{}, err
	}
	if err := s.visited(ctx, op, audit.AuditRead); err != nil {
		return audit.Origin{}, err
	}
	if op.slug == "" {
		return s.cfg.Directory.PlatformOrigin(), nil
	}
	return s.cfg.Directory.Origin(ctx, op.slug)
}

// await returns the index from which to read, once there is an event, the wait is over, or Stop was called.
func (s *Service) await(ctx context.Context, log ledger.Tenant, q EventQuery) (from int64, err error) {
	from = q.After
	for left := q.Wait; ; left -= pollEvery {
		p, err := s.cfg.Store.Position(ctx, log)
		if err != nil {
			return 0, fmt.Errorf("read position: %w", err)
		}
		if from < 0 {
			from = max(0, p.Index+from)
		}
		if p.Index > from || left <= 0 || s.stopping.Load() {
			return from, nil
		}
		if err := s.cfg.Sleep(ctx, min(pollEvery, left)); err != nil {
			return 0, fmt.Errorf("wait for events: %w", err)
		}
	}
}
