package tree

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Past returns the head that the tree had when it was of that size, in the epoch that the log is in, with a checkpoint
// that is signed now. What it says follows from the newest head, so that it is no other history; it is for an archive,
// which ends there, and is not published as the log's head. fault.NotFound: the tree was never of that size.
func (t *Trees) Past(ctx context.Context, o audit.Origin, size int64) (past ledger.Head, err error) {
	h, err := t.Latest(ctx, o)
	switch {
	case err != nil:
		return past, err
	case size < 1 || size > h.Size:
		return past, errShort()
	case size < h.First:
		return past, errPruned(h.First)
	}
	root, err := tlog.TreeHash(size, t.reader(ctx, o.Tenant, h))
	if err != nil {
		return past, fmt.Errorf("%w: find the root of the first %d entries: %w", fault.ErrUnavailable, size, err)
	}
	r, _, err := t.keysOf(ctx, o.Tenant)
	if err != nil {
		return past, err
	}
	c := auditor.Checkpoint{Origin: auditor.Origin(o.Issuer, h.Epoch), Size: size, Root: root}
	past = ledger.Head{Epoch: h.Epoch, Size: size, Root: root, First: h.First}
	past.Note, err = t.signText(r, o.Issuer, c.Text())
	return past, err
}
