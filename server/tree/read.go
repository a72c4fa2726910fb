package tree

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Head returns the newest head of a log. It covers all that was recorded before the call: if it did not yet, it is
// made. One that is not believed is returned as it is stored: what is wrong with the log is for its readers to see.
// fault.Unavailable: there is none, or it could not be made.
func (t *Trees) Head(ctx context.Context, o audit.Origin) (ledger.Head, error) {
	if !t.enter() {
		return ledger.Head{}, fault.New(fault.Unavailable, "tree.closed", "The server is stopping; ask again.")
	}
	defer t.running.Done()
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	h, err := t.cover(ctx, l)
	if errors.Is(err, errHalted) {
		if h, _, err = t.cfg.Store.Head(ctx, o.Tenant); err == nil && h.Epoch == 0 {
			err = errHalted
		}
	}
	if err != nil {
		return h, fault.Wrap(fault.Unavailable, "tree.unavailable",
			"No head of this log can be signed now; its operators know more.", err)
	}
	return h, nil
}

// Latest returns the newest head that there is, and has what it does not cover covered soon. fault.Unavailable: it is
// not believed.
func (t *Trees) Latest(ctx context.Context, o audit.Origin) (ledger.Head, error) {
	l := t.of(o.Tenant)
	l.named(o.Issuer)
	if err := t.look(ctx, l); err != nil {
		return ledger.Head{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halted != nil {
		return l.head, fmt.Errorf("%w: %w", fault.ErrUnavailable, l.halted)
	}
	return l.head, nil
}

// newest returns a head that covers so many entries, the one seen last if that does.
func (t *Trees) newest(ctx context.Context, id ledger.Tenant, size int64) (ledger.Head, error) {
	l := t.of(id)
	l.mu.Lock()
	seen, halted := l.head, l.halted
	l.mu.Unlock()
	if halted == nil && seen.Epoch > 0 && seen.Size >= size {
		return seen, nil
	}
	h, _, err := t.cfg.Store.Head(ctx, id)
	if err != nil {
		return h, fmt.Errorf("read head: %w", err)
	}
	return h, nil
}

func errShort() error {
	return fault.New(fault.NotFound, "tree.short", "The tree does not have that; it may have it later.")
}

func errPruned(first int64) error {
	return fault.New(fault.Gone, "tree.pruned", fmt.Sprintf("That was pruned; the log begins at %d now.", first))
}

// within returns a head that covers so many entries. end < 0 is more than any tree has.
func (t *Trees) within(ctx context.Context, id ledger.Tenant, end int64) (ledger.Head, error) {
	h, err := t.newest(ctx, id, end)
	if err != nil {
		return h, err
	}
	if end < 0 || end > h.Size {
		return h, errShort()
	}
	return h, nil
}

// Tile returns the first width hashes of a tile, 32 bytes each. fault.NotFound: the tree does not have them, or not
// yet; fault.Gone: they were pruned.
func (t *Trees) Tile(ctx context.Context, id ledger.Tenant, level int, index int64, width int) ([]byte, error) {
	if level < 0 || level > auditor.MaxLevel || index < 0 || width < 1 || width > auditor.TileWidth {
		return nil, errShort()
	}
	last := index*auditor.TileWidth + int64(width) // subtrees of that level
	end := last << (8 * level)
	if last>>(62-8*level) > 0 {
		end = -1
	}
	h, err := t.within(ctx, id, end)
	if err != nil {
		return nil, err
	}
	if level == 0 && end <= h.First {
		return nil, errPruned(h.First)
	}
	all, err := t.cfg.Store.Tiles(ctx, id, []ledger.TileID{{Level: level, Index: index}})
	if err != nil {
		return nil, fmt.Errorf("read tile: %w", err)
	}
	if len(all[0]) < width*tlog.HashSize {
		if err := t.pruned(ctx, id, end); level == 0 && err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: tile %s is missing", fault.ErrUnavailable, auditor.TilePath(level, index, width))
	}
	return all[0][:width*tlog.HashSize], nil
}

// Entries returns the first width entries of a bundle; fewer only of a log that has lost some. fault.NotFound: the
// tree does not cover them, or not yet; fault.Gone: they were pruned.
func (t *Trees) Entries(ctx context.Context, id ledger.Tenant, index int64, width int) ([][]byte, error) {
	if index < 0 || index > 1<<54 || width < 1 || width > auditor.TileWidth {
		return nil, errShort()
	}
	from := index * auditor.TileWidth
	h, err := t.within(ctx, id, from+int64(width))
	if err != nil {
		return nil, err
	}
	if from < h.First {
		return nil, errPruned(h.First)
	}
	entries, err := t.cfg.Store.Events(ctx, id, from, width)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	if len(entries) == 0 || entries[0].Index != from { // a store begins with the first entry that it still has
		if err := t.pruned(ctx, id, from+1); err != nil {
			return nil, err
		}
	}
	var all [][]byte
	for _, e := range entries {
		if e.Index < from+int64(width) { // where some are missing, those of the next bundle follow
			all = append(all, e.Data)
		}
	}
	return all, nil
}

// pruned reports, by what the store says now, that entries up to end were pruned: another process may have done so
// since this one saw the head.
func (t *Trees) pruned(ctx context.Context, id ledger.Tenant, end int64) error {
	h, _, err := t.cfg.Store.Head(ctx, id)
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	if end <= h.First {
		return errPruned(h.First)
	}
	return nil
}

// Inclusion proves that an entry is in the tree of the head that it returns (RFC 6962 §2.1.1).
func (t *Trees) Inclusion(ctx context.Context, o audit.Origin, index int64) (tlog.RecordProof, ledger.Head, error) {
	h, err := t.Head(ctx, o)
	switch {
	case err != nil:
		return nil, h, err
	case index < 0 || index >= h.Size:
		return nil, h, errShort()
	case index < h.First:
		return nil, h, errPruned(h.First)
	}
	proof, err := tlog.ProveRecord(h.Size, index, t.reader(ctx, o.Tenant, h))
	if err != nil {
		return nil, h, fmt.Errorf("prove entry %d: %w", index, err)
	}
	return proof, h, nil
}

// Consistency proves that the tree of from entries is the beginning of that of to entries (RFC 6962 §2.1.2).
func (t *Trees) Consistency(ctx context.Context, o audit.Origin, from, to int64) (tlog.TreeProof, error) {
	h, err := t.within(ctx, o.Tenant, to)
	switch {
	case err != nil:
		return nil, err
	case from < 1 || from > to:
		return nil, fault.New(fault.InvalidRequest, "tree.range", "The sizes must be 1 or more, the smaller one first.")
	case from < h.First:
		return nil, errPruned(h.First)
	}
	proof, err := tlog.ProveTree(to, from, t.reader(ctx, o.Tenant, h))
	if err != nil {
		return nil, fmt.Errorf("prove growth from %d to %d: %w", from, to, err)
	}
	return proof, nil
}

// reader reads hashes of the tree of a head, and checks each against its root.
func (t *Trees) reader(ctx context.Context, id ledger.Tenant, h ledger.Head) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: h.Size, Hash: h.Root}, tiles{ctx, t.cfg.Store, id})
}

// tiles reads tiles for x/mod.
type tiles struct {
	ctx   context.Context
	store Store
	id    ledger.Tenant
}

// Height is that of C2SP tlog-tiles.
func (tiles) Height() int { return 8 }

// ReadTiles reads the tiles, each cut to its width.
func (r tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	ids := make([]ledger.TileID, len(wanted))
	for i, tile := range wanted {
		ids[i] = ledger.TileID{Level: tile.L, Index: tile.N}
	}
	all, err := r.store.Tiles(r.ctx, r.id, ids)
	if err != nil {
		return nil, err
	}
	for i, tile := range wanted {
		if len(all[i]) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: tile %s is missing", fault.ErrUnavailable, tile.Path())
		}
		all[i] = all[i][:tile.W*tlog.HashSize]
	}
	return all, nil
}

// SaveTiles does nothing: they are the store's.
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
