// Package admin is every action of an operator. Each one has the same course: the operator's role, what is asked, and
// one commit of the change together with its events, so that nothing changes without a record and nobody reads what
// their role does not show. It knows no HTTP.
package admin

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/backup"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Judge judges what nobody asked; *exchange.Exchanger is one.
type Judge interface {
	// Suppose returns what the record of the hypothesis would say. It changes and records nothing. Errors are
	// *fault.Error, Invalid for a hypothesis about what the tenant does not have.
	Suppose(ctx context.Context, slug string, h exchange.Hypothesis) (audit.Body, error)
}

// Trees keep the Merkle trees of the logs; *tree.Trees is one. Errors wrap fault.ErrUnavailable where the store did not
// answer.
type Trees interface {
	// AcceptLoss makes a log go on from where the store is, after record has recorded which head was the newest, and what
	// is wrong; it returns the first head of the new epoch. fault.Conflict: the log misses nothing.
	AcceptLoss(ctx context.Context, o audit.Origin, record func(lost ledger.Head, kept int64, why error) error) (
		ledger.Head, error)
	// Ring returns the keys of a log, and the position that they belong to.
	Ring(ctx context.Context, o audit.Origin) (*keys.LogRing, ledger.Position, error)
}

// Pruner drops the beginnings of logs.
type Pruner interface {
	// Prune drops of a log, in whole parts, what is before an index and was recorded before a time, records e with it, and
	// returns the first entry that is kept then. Errors are *fault.Error, or wrap a sentinel.
	Prune(ctx context.Context, o audit.Origin, index int64, before time.Time, e audit.Event) (first int64, err error)
}

// Config is what a Service needs. Directory, Store, Log, Judge, Trees and PlatformTokenHash are required.
type Config struct {
	Directory *tenant.Directory
	// Store is the one that Directory reads.
	Store tenant.Store
	// Log records every change, in the commit that makes it.
	Log *audit.Log
	// Judge reads Directory too.
	Judge Judge
	Trees Trees
	// PlatformTokenHash is HashToken of the token in the server's admin.token file: the first platform admin.
	PlatformTokenHash string
	// Pruner prunes logs; without one, nobody can.
	Pruner Pruner
	// Copies is what is backed up, the store that Directory reads; without it, nobody can.
	Copies  backup.Source
	Version string // of the server, for backups
	// Prober tries secrets of the vault; without one, nobody can.
	Prober Prober
	// Limits bound how many wrong tokens one address can try; without any, the defaults, counted by this process alone.
	Limits *limit.Limiter
	// RotateEvery is the age at which Maintain replaces a signing key; default 30 days.
	RotateEvery time.Duration
	// Sleep waits for d, or until ctx ends, whose error it returns then; default is a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Service acts for operators. It is safe for concurrent use, by any number of processes over one store.
//
// Errors of its methods are *fault.Error, or wrap a store's sentinel; fault.As reads both. Unauthenticated, Forbidden,
// NotFound, Invalid and Conflict mean that nothing was changed. Unavailable leaves open whether the change was made,
// whole; asking again is safe except where a method says otherwise.
type Service struct {
	cfg      Config
	platform gate
	tenants  [64]gate // by hash of the slug
	seed     maphash.Seed
	stopping atomic.Bool
	visits   visits
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.RotateEvery == 0 {
		cfg.RotateEvery = 30 * 24 * time.Hour
	}
	if cfg.Limits == nil {
		cfg.Limits = limit.New(limit.Config{})
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	s := &Service{cfg: cfg, platform: make(gate, 1), seed: maphash.MakeSeed()}
	for i := range s.tenants {
		s.tenants[i] = make(gate, 1)
	}
	return s
}

// Stop ends the waits of Events, of those under way soon and of later ones at once: they answer with what there is.
// Call it before a server drains, which otherwise waits for whoever follows a log.
func (s *Service) Stop() { s.stopping.Store(true) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gate lets one change at a time through. It is no condition of correctness, which the store's revision is; it spares
// changes of one tenant in this process from making each other start again.
type gate chan struct{}

// enter waits for the gate; the caller must call leave.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, "admin.busy",
			"The tenant is being changed by others; try again shortly.", ctx.Err())
	}
}

// attempts bounds how often a change is drafted again because another process changed the tenant first.
const attempts = 64

// change makes a change of the operator's tenant. try reads, drafts and commits; it is called again after
// fault.ErrConflict.
func (s *Service) change(ctx context.Context, slug string, try func() error) error {
	leave, err := s.tenants[maphash.String(s.seed, slug)%uint64(len(s.tenants))].enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.retry(ctx, try)
}

func (s *Service) retry(ctx context.Context, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if !errors.Is(err, fault.ErrConflict) || attempt == attempts {
			return err
		}
		// Processes that lost to each other must not meet again at the same moment.
		if s.cfg.Sleep(ctx, rand.N(min(time.Duration(attempt)*5, 50)*time.Millisecond)) != nil {
			return err
		}
	}
}

// commit makes a change of the tenant as v has it.
func (s *Service) commit(ctx context.Context, v *tenant.View, c ledger.Change, events ...audit.Event) (
	ledger.Position, error) {
	c.Expect = v.Revision
	p, err := s.cfg.Log.Change(ctx, v.Origin(), c, events...)
	if err != nil {
		return p, fmt.Errorf("change tenant %s: %w", v.Slug, err)
	}
	s.cfg.Directory.Observe(p)
	// This process acts on its own change from now on. Should it not be able to read it back just now, the record of the
	// next decision tells it.
	_, _ = s.cfg.Directory.At(ctx, v.Slug, p)
	return p, nil
}

func isNotFound(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Kind == fault.NotFound
}

func invalid(reason string, problems ...string) error {
	f := fault.New(fault.Invalid, reason, "The request has mistakes; mend all of them and send it again.")
	f.Problems = problems
	return f
}
