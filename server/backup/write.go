// Package backup copies a tenant into a file and reads it back: its configuration with its keys as they are stored,
// which is sealed by the master key, its revocations, its log, and the tree over it, all of one moment.
package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Source is the store that is copied. Errors wrap fault.ErrUnavailable where it did not answer.
type Source interface {
	// Snapshot returns the tenant at one moment, but for the entries and tiles.
	Snapshot(ctx context.Context, t ledger.Tenant) (ledger.Snapshot, error)
	// Events returns at most limit entries from an index on, in order.
	Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error)
	// Tiles returns the hashes of each tile, nil of one that is not stored.
	Tiles(ctx context.Context, t ledger.Tenant, ids []ledger.TileID) ([][]byte, error)
}

// Header says what a backup is of.
type Header struct {
	Slug    string        `json:"slug,omitempty"` // of the tenant; none for the platform
	Issuer  string        `json:"issuer"`         // whose log it is; for the platform, the base URL
	Tenant  ledger.Tenant `json:"tenant"`         // the internal id
	Created time.Time     `json:"created,omitzero"`
	Made    time.Time     `json:"made"`              // the backup
	Version string        `json:"version,omitempty"` // of the server that made it
}

const (
	entriesAtOnce = 256
	tilesAtOnce   = 64
)

// Write copies a tenant to w. While it does, the tenant may go on; the copy is that of the moment when it began. An
// error leaves a copy that Open refuses.
func Write(ctx context.Context, from Source, h Header, w io.Writer) error {
	s, err := from.Snapshot(ctx, h.Tenant)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	text, err := json.Marshal(about{h, s})
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	c := newChunks(w)
	c.chunk(chunkAbout, text)
	if err := writeTiles(ctx, from, h.Tenant, s.Head, c); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := writeEntries(ctx, from, h.Tenant, s, c); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := c.end(); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

// writeTiles writes the tiles of a head. The store's may have grown since, which is cut off.
func writeTiles(ctx context.Context, from Source, t ledger.Tenant, h ledger.Head, c *chunks) error {
	var ids []ledger.TileID
	flush := func() error {
		all, err := from.Tiles(ctx, t, ids)
		if err != nil {
			return err
		}
		var b []byte
		for i, id := range ids {
			size := width(h.Size, id) * hashSize
			if len(all[i]) < size {
				return errPruned(t, auditor.TilePath(id.Level, id.Index, size/hashSize))
			}
			b = appendTile(b, ledger.Tile{TileID: id, Hashes: all[i][:size]})
		}
		c.chunk(chunkTiles, b)
		ids = ids[:0]
		return c.err
	}
	for level := 0; level <= auditor.MaxLevel; level++ {
		index := int64(0)
		if level == 0 {
			index = h.First / auditor.TileWidth
		}
		for ; width(h.Size, ledger.TileID{Level: level, Index: index}) > 0; index++ {
			if ids = append(ids, ledger.TileID{Level: level, Index: index}); len(ids) == tilesAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return flush()
}

// width returns how many hashes a tile has in a tree of the given size; 0 or less if there is no such tile.
func width(size int64, id ledger.TileID) int {
	return int(min(size>>(8*id.Level)-id.Index*auditor.TileWidth, auditor.TileWidth))
}

func writeEntries(ctx context.Context, from Source, t ledger.Tenant, s ledger.Snapshot, c *chunks) error {
	for index := s.Head.First; index < s.Position.Index; {
		entries, err := from.Events(ctx, t, index, int(min(entriesAtOnce, s.Position.Index-index)))
		if err != nil {
			return err
		}
		var b []byte
		for _, e := range entries {
			if e.Index != index {
				return errPruned(t, fmt.Sprint("entry ", index))
			}
			if b, err = auditor.AppendEntry(b, e.Data); err != nil {
				return err
			}
			index++
		}
		if len(entries) == 0 {
			return errPruned(t, fmt.Sprint("entry ", index))
		}
		if c.chunk(chunkEntries, b); c.err != nil {
			return c.err
		}
	}
	return c.err
}

func errPruned(t ledger.Tenant, what string) error {
	return fmt.Errorf("%w: %s of %s is gone; if the log was pruned meanwhile, begin again", fault.ErrUnavailable, what, t)
}
