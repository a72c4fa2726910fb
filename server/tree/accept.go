package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// AcceptLoss makes a log go on from where the store is, under another origin, although that is not where it was: an
// operator has found that what is missing cannot be had back. First it calls record with the newest head that is
// known to have been signed, with how many of its entries the store's own head covers, and with what is wrong; unless
// that is recorded nothing changes. It returns the first head of the new epoch. fault.Conflict: nothing is missing.
//
// An error after record leaves the log halted, or as somebody else has made it meanwhile; it may be called again.
func (t *Trees) AcceptLoss(ctx context.Context, o audit.Origin,
	record func(lost ledger.Head, kept int64, why error) error,
) (ledger.Head, error) {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	if err := l.hold(ctx); err != nil {
		return ledger.Head{}, err
	}
	defer l.release()
	if _, err := t.coverHeld(ctx, l); err != nil && !errors.Is(err, errHalted) {
		return ledger.Head{}, err
	}
	l.mu.Lock()
	why, lost := l.halted, l.head
	l.mu.Unlock()
	if why == nil {
		return lost, fault.New(fault.Conflict, "log.nothing_lost", "The log misses nothing, so there is no loss to accept.")
	}
	lost, err := t.newestSigned(ctx, l.tenant, lost)
	if err != nil {
		return ledger.Head{}, err
	}
	left, _, err := t.cfg.Store.Head(ctx, l.tenant)
	if err != nil {
		return ledger.Head{}, fmt.Errorf("read head: %w", err)
	}
	if err := record(lost, min(left.Size, lost.Size), why); err != nil {
		return ledger.Head{}, err
	}
	head, at, err := t.cfg.Store.Head(ctx, l.tenant)
	if err != nil {
		return head, fmt.Errorf("read head: %w", err)
	}
	return t.restart(ctx, l, head, max(lost.Epoch, head.Epoch)+1, at)
}

// newestSigned returns the newest head of which this process or the anchor knows that it was signed: else the store's,
// whoever made that.
func (t *Trees) newestSigned(ctx context.Context, id ledger.Tenant, seen ledger.Head) (ledger.Head, error) {
	anchor, err := t.cfg.Anchors.Load(id)
	if err != nil {
		return seen, fmt.Errorf("read the anchor: %w", err)
	}
	if anchor.Epoch > seen.Epoch || anchor.Epoch == seen.Epoch && anchor.Size > seen.Size {
		seen = anchor
	}
	if seen.Epoch > 0 {
		return seen, nil
	}
	stored, _, err := t.cfg.Store.Head(ctx, id)
	if err != nil {
		return seen, fmt.Errorf("read head: %w", err)
	}
	return stored, nil
}

// restart signs the first head of another epoch, over what the store has.
func (t *Trees) restart(ctx context.Context, l *log, old ledger.Head, epoch int64, at ledger.Position) (
	ledger.Head, error,
) {
	l.disown()
	from := min(old.First, at.Index)
	if e, err := t.resume(ctx, l.tenant, old.Size); err == nil && e.Root() == tlog.Hash(old.Root) && old.Size <= at.Index {
		from = old.Size // what was signed and is still there stays as it was signed
	}
	tiles, e, err := t.rebuild(ctx, l, from, at.Index)
	if err != nil {
		return ledger.Head{}, err
	}
	next := ledger.Head{Epoch: epoch, Size: e.Size(), Root: e.Root(), First: old.First}
	if next.Note, err = t.sign(ctx, l, next, at.Revision); err != nil {
		return ledger.Head{}, err
	}
	step := ledger.Step{From: old, To: next, Revision: at.Revision, Tiles: tiles}
	if err := t.cfg.Store.Advance(ctx, l.tenant, step); err != nil {
		return ledger.Head{}, fmt.Errorf("advance head: %w", err)
	}
	if err := t.trust(l); err != nil {
		t.cfg.Logger.Error("after a restart the loss must be accepted again",
			"log", auditor.KeyName(l.origin().Issuer), "error", err)
	}
	l.mu.Lock()
	l.halted, l.checked = nil, true
	l.mu.Unlock()
	t.covered(l, next)
	t.accepted(l.tenant)
	if err := t.Save(); err != nil {
		t.cfg.Logger.Warn("save anchors", "error", err)
	}
	return next, nil
}

// rebuild makes the tree of the entries that the store has. What was pruned is known by its tiles alone.
func (t *Trees) rebuild(ctx context.Context, l *log, first, entries int64) ([]ledger.Tile, *auditor.Edge, error) {
	e, err := t.resume(ctx, l.tenant, first)
	if err != nil {
		return nil, nil, err
	}
	var tiles []ledger.Tile
	for e.Size() < entries {
		leaves, err := t.leaves(ctx, l, e.Size(), min(entries, e.Size()+maxStep))
		if err != nil {
			return nil, nil, err
		}
		for _, leaf := range leaves {
			for _, tile := range e.Append(leaf) {
				tiles = append(tiles, stored(tile))
			}
		}
	}
	for _, tile := range e.Partial() {
		tiles = append(tiles, stored(tile))
	}
	return tiles, e, nil
}

// Doubt halts a log whose store has lost what this process appended, at once, so that not even a crash hides it. It
// ends by itself if a look finds that nothing is missing.
func (t *Trees) Doubt(o audit.Origin) {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	_ = t.halt(l, "it has lost what this process had recorded")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checked = false
	t.schedule(l)
}

// kept checks that the store has our events that no head covers yet.
func (t *Trees) kept(ctx context.Context, l *log, head ledger.Head) error {
	l.mu.Lock()
	own := maps.Clone(l.own)
	l.mu.Unlock()
	for _, index := range slices.Sorted(maps.Keys(own)) {
		if index < head.Size {
			continue
		}
		entries, err := t.cfg.Store.Events(ctx, l.tenant, index, 1)
		switch {
		case err != nil:
			return fmt.Errorf("read entries: %w", err)
		case len(entries) == 0 || entries[0].Index != index || tlog.RecordHash(entries[0].Data) != own[index]:
			return t.halt(l, "the store has lost entry %d", index)
		}
	}
	return nil
}

// disown forgets what this process appended before a loss: the store has something else in those places, or nothing.
func (l *log) disown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.own)
	l.came = nil
	l.end = 0
}

// accepted tells that a log goes on in another epoch.
func (t *Trees) accepted(id ledger.Tenant) {
	if t.cfg.Accepted != nil {
		t.cfg.Accepted(id)
	}
}
