package admin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

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
	// Kept is how many entries the log has kept. What there was from here up to Last.Size is gone; if that is nothing,
	// other entries stand in the place of those that were signed.
	Kept int64
	Now  ledger.Head // the first head of the new epoch
}

// AcceptLoss makes a log, of op's tenant or of the platform, go on although its store lost or changed what was signed.
// It is recorded first, with the last head that is known. Conflict: the log misses nothing.
//
// After Unavailable the loss may be recorded and not accepted; asking again is safe.
func (s *Service) AcceptLoss(ctx context.Context, op Operator) (*Loss, error) {
	if err := s.allow(ctx, op, op.either(WriteLog, WritePlatform)); err != nil {
		return nil, err
	}
	loss := &Loss{Issuer: op.origin.Issuer}
	var err error
	loss.Now, err = s.cfg.Trees.AcceptLoss(ctx, op.origin, func(last ledger.Head, why error) error {
		e := op.event(audit.LogEpoch, audit.Change{})
		e.Body.Tree = head(last)
		p, err := s.cfg.Log.Change(ctx, op.origin, ledger.Change{}, e)
		loss.Last, loss.Why, loss.Kept = last, why.Error(), p.Index
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

// head is a head as the log has it.
func head(h ledger.Head) audit.Tree {
	return audit.Tree{Epoch: h.Epoch, Size: h.Size, Root: base64.StdEncoding.EncodeToString(h.Root[:])}
}
