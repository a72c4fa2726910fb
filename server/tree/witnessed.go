package tree

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Witnessed keeps a checkpoint of so many entries that others have signed too, beside the newest head, unless a later
// one is kept already. The signatures are the caller's to check.
func (t *Trees) Witnessed(ctx context.Context, o audit.Origin, size int64, signed []byte) error {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	if err := l.hold(ctx); err != nil {
		return err
	}
	defer l.release()
	for {
		head, at, err := t.cfg.Store.Head(ctx, l.tenant)
		if err != nil {
			return fmt.Errorf("read head: %w", err)
		}
		if err := t.believe(ctx, l, head, at.Index); err != nil {
			return err
		}
		if kept, ok := witnessedSize(o, head); ok && kept >= size {
			return nil
		}
		next := head
		next.Witnessed = signed
		err = t.cfg.Store.Advance(ctx, l.tenant, ledger.Step{From: head, To: next, Revision: at.Revision})
		if errors.Is(err, fault.ErrConflict) {
			continue // the head has moved meanwhile
		}
		return err
	}
}

// witnessedSize returns of how many entries the checkpoint is that others have signed, if it is of the head's epoch.
func witnessedSize(o audit.Origin, h ledger.Head) (int64, bool) {
	text, _, found := strings.Cut(string(h.Witnessed), "\n\n")
	if !found {
		return 0, false
	}
	c, err := auditor.ParseCheckpoint(text + "\n")
	return c.Size, err == nil && c.Origin == auditor.Origin(o.Issuer, h.Epoch)
}
