package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// Head returns where the tree of t's log stands, and where t stood at that moment.
func (db *DB) Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error) {
	var h ledger.Head
	var broken error
	position, err := db.view(ctx, t, func(l *tenantState, _ int64) { h, broken = l.treeHead() })
	if err == nil && broken != nil {
		err = unavailable("read head", broken)
	}
	return h, position, err
}

// Advance makes a step: whole and on disk, or not at all. What is kept of the log (First) stays. fault.ErrConflict: the
// head or the revision is another one, or the log is shorter than the next head.
func (db *DB) Advance(ctx context.Context, t ledger.Tenant, s ledger.Step) error {
	if err := accept.Step(t, s); err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	w := &work{tenant: t, plan: func(l *tenantState, _ int64) (func(*tenantState) error, error) {
		h, err := l.treeHead()
		at := l.head()
		switch {
		case err != nil:
			return nil, err
		case !h.Same(s.From) || s.To.Size > at.entries || s.Revision != at.revision:
			return nil, fmt.Errorf("advance: %w: the head has size %d in epoch %d, the rows have revision %d",
				fault.ErrConflict, h.Size, h.Epoch, at.revision)
		}
		next := s.To
		next.First = h.First
		return func(l *tenantState) error {
			for _, tile := range s.Tiles {
				if err := l.bucket(hashTiles).Put(tileKey(tile.TileID), bytes.Clone(tile.Hashes)); err != nil {
					return fmt.Errorf("store tile: %w", err)
				}
			}
			return l.putTreeHead(next)
		}, nil
	}}
	return db.submit(ctx, w)
}

// Tiles returns the stored hashes of each tile, nil of one that is not there.
func (db *DB) Tiles(ctx context.Context, t ledger.Tenant, ids []ledger.TileID) ([][]byte, error) {
	all := make([][]byte, len(ids))
	_, err := db.view(ctx, t, func(l *tenantState, _ int64) {
		for i, id := range ids {
			all[i] = bytes.Clone(l.bucket(hashTiles).Get(tileKey(id)))
		}
	})
	return all, err
}

// Prune forgets the entries before the given one, which is the first of a tile that the tree covers, and the tiles of
// level 0 that hold nothing else.
func (db *DB) Prune(ctx context.Context, t ledger.Tenant, before int64) error {
	if err := accept.Tenant(t); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	w := &work{tenant: t, plan: func(l *tenantState, _ int64) (func(*tenantState) error, error) {
		h, err := l.treeHead()
		if err != nil {
			return nil, err
		}
		if err := accept.Prune(before, h); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
		from := h.First
		h.First = max(h.First, before)
		return func(l *tenantState) error {
			for index := from; index < before; index++ {
				if err := l.bucket(events).Delete(uint64s(index)); err != nil {
					return fmt.Errorf("forget an entry: %w", err)
				}
			}
			for tile := from / accept.TileWidth; tile < before/accept.TileWidth; tile++ {
				if err := l.bucket(hashTiles).Delete(tileKey(ledger.TileID{Index: tile})); err != nil {
					return fmt.Errorf("forget a tile: %w", err)
				}
			}
			return l.putTreeHead(h)
		}, nil
	}}
	return db.submit(ctx, w)
}

// treeHeadKey holds the head of the tree as JSON.
const treeHeadKey = "tree"

func (l *tenantState) treeHead() (h ledger.Head, err error) {
	if l == nil {
		return h, nil
	}
	if stored := l.root.Get([]byte(treeHeadKey)); stored != nil {
		if err = json.Unmarshal(stored, &h); err != nil {
			err = fmt.Errorf("read the head: %w", err)
		}
	}
	return h, err
}

func (l *tenantState) putTreeHead(h ledger.Head) error {
	encoded, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write the head: %w", err)
	}
	return l.root.Put([]byte(treeHeadKey), encoded)
}

func tileKey(id ledger.TileID) []byte { return append([]byte{byte(id.Level)}, uint64s(id.Index)...) }
