package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Loss is what a log lost.
type Loss struct {
	Issuer string // whose log it is
	// Last is the newest head that is known to have been signed, zero if none is. Its Note is the evidence.
	Last ledger.Head
	Why  string // what was found wrong
	// Kept is how many of the entries that were signed the store's own head covers. Those from here up to Last.Size are
	// gone; others may stand in their place.
	Kept int64
	// Recorded is the entry that tells of it.
	Recorded int64
	Now      ledger.Head // the first head of the new epoch
}

// AcceptLoss makes a log, of op's tenant or of the platform, go on although its store lost or changed what was signed.
// It is recorded first, with the last head that is known. Conflict: the log misses nothing.
//
// After Unavailable the loss may be recorded and not accepted; asking again is safe.
func (s *Service) AcceptLoss(ctx context.Context, op Operator) (*Loss, error) {
	if err := s.allow(ctx, op, op.either(WriteLog, WritePlatform)); err != nil {
		return nil, err
	}
	if op.slug != "" {
		if _, err := s.cfg.Directory.Origin(ctx, op.slug); err != nil {
			return nil, err
		}
	}
	loss := &Loss{Issuer: op.origin.Issuer}
	var err error
	loss.Now, err = s.cfg.Trees.AcceptLoss(ctx, op.origin, func(last ledger.Head, kept int64, why error) error {
		e := op.event(audit.LogEpoch, audit.Change{})
		e.Body.Tree = head(last)
		p, err := s.cfg.Log.Change(ctx, op.origin, ledger.Change{}, e)
		loss.Last, loss.Why, loss.Kept, loss.Recorded = last, why.Error(), kept, p.Index
		return err
	})
	switch {
	case errors.Is(err, fault.ErrConflict):
		return nil, fault.Wrap(fault.Conflict, "log.moved",
			"Somebody else accepted the loss just now, or the log moves; look again.", err)
	case err != nil:
		return nil, fmt.Errorf("accept a loss: %w", err)
	}
	return loss, nil
}

// PruneLog drops of the log of what op acts on, its tenant or the platform, what is before an index and was recorded
// before a time; either may be left out (zero). What is dropped is archived, if the server is so configured. It returns
// the first entry that is kept. For operators of the platform only: who may change a tenant must not shorten what is
// known of it.
//
// After Unavailable some of it may have been dropped, and is recorded then; asking again is safe.
func (s *Service) PruneLog(ctx context.Context, op Operator, index int64, before time.Time) (first int64, err error) {
	if err := s.allow(ctx, op, op.either(PruneLog, WritePlatform)); err != nil {
		return 0, err
	}
	switch now := s.cfg.Directory.Now(); {
	case s.cfg.Pruner == nil:
		return 0, fault.New(fault.Conflict, "log.no_archive", "The server does not know where to archive what is dropped: "+
			"set audit.retention.archive in bursar.yaml, to a folder or to none.")
	case index < 0 || index == 0 && before.IsZero():
		return 0, invalid("log.prune", "index: must be above 0, unless there is a time")
	case before.After(now):
		return 0, invalid("log.prune", "before: is a time that is yet to come")
	case before.IsZero():
		before = now
	}
	if index == 0 {
		index = math.MaxInt64
	}
	return s.cfg.Pruner.Prune(ctx, op.origin, index, before, op.event(audit.AuditPrune, audit.Change{}))
}

// head is a head as the log has it.
func head(h ledger.Head) audit.Tree {
	return audit.Tree{Epoch: h.Epoch, Size: h.Size, Root: base64.StdEncoding.EncodeToString(h.Root[:])}
}
