package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

var (
	advanceScript = goredis.NewScript(advanceSource)
	pruneScript   = goredis.NewScript(pruneSource)
)

// Head returns where the tree of t's log stands, and how many entries the log had at that moment.
func (db *DB) Head(ctx context.Context, t ledger.Tenant) (ledger.Head, int64, error) {
	if err := accept.Tenant(t); err != nil {
		return ledger.Head{}, 0, fmt.Errorf("read head: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var stored struct {
		Entries   int64  `redis:"n"`
		Epoch     int64  `redis:"epoch"`
		Size      int64  `redis:"size"`
		Root      []byte `redis:"root"`
		Note      []byte `redis:"note"`
		Witnessed []byte `redis:"witnessed"`
		First     int64  `redis:"first"`
	}
	reply := db.client.HMGet(ctx, keys(t).log(), "n", "epoch", "size", "root", "note", "witnessed", "first")
	if err := reply.Err(); err != nil {
		return ledger.Head{}, 0, unavailable("read head", err)
	}
	if err := reply.Scan(&stored); err != nil {
		return ledger.Head{}, 0, unavailable("read head", err)
	}
	h := ledger.Head{Epoch: stored.Epoch, Size: stored.Size, Note: stored.Note, First: stored.First}
	if len(stored.Witnessed) > 0 {
		h.Witnessed = stored.Witnessed
	}
	if h.Epoch > 0 && copy(h.Root[:], stored.Root) != len(h.Root) {
		return ledger.Head{}, 0, unavailable("read head", errors.New("a stored root has another form"))
	}
	return h, stored.Entries, nil
}

// Advance replaces the head old by next, and stores the tiles: whole, or not at all. What is kept of the log (First)
// stays. fault.ErrConflict: the head is not old, or the log is shorter than next.
func (db *DB) Advance(ctx context.Context, t ledger.Tenant, old, next ledger.Head, tiles []ledger.Tile) error {
	if err := accept.Tree(t, next, tiles); err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	args := []any{"", "", "", next.Epoch, next.Size, next.Root[:], next.Note, next.Witnessed}
	if old.Epoch > 0 {
		args[0], args[1], args[2] = old.Epoch, old.Size, old.Root[:]
	}
	for _, tile := range tiles {
		args = append(args, tileField(tile.TileID), tile.Hashes)
	}
	done, err := advanceScript.Run(ctx, db.client, []string{keys(t).log(), keys(t).tiles()}, args...).Int()
	switch {
	case err != nil:
		return unavailable("advance", err)
	case done == 0:
		return fmt.Errorf("advance: %w: the head is another one", fault.ErrConflict)
	}
	return nil
}

// Tiles returns the stored hashes of each tile, nil of one that is not there.
func (db *DB) Tiles(ctx context.Context, t ledger.Tenant, ids []ledger.TileID) ([][]byte, error) {
	if err := accept.Tenant(t); err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	all := make([][]byte, len(ids))
	if len(ids) == 0 {
		return all, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = tileField(id)
	}
	values, err := db.client.HMGet(ctx, keys(t).tiles(), fields...).Result()
	if err != nil {
		return nil, unavailable("read tiles", err)
	}
	for i, value := range values {
		if hashes, ok := value.(string); ok {
			all[i] = []byte(hashes)
		}
	}
	return all, nil
}

// Prune forgets the entries before the given one, which is the first of a tile that the tree covers, and the tiles of
// level 0 that hold nothing else.
func (db *DB) Prune(ctx context.Context, t ledger.Tenant, before int64) error {
	if err := accept.Tenant(t); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	h, _, err := db.Head(ctx, t)
	if err != nil {
		return err
	}
	if err := accept.Prune(before, h); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	names := []string{keys(t).log(), keys(t).events(), keys(t).tiles()}
	if err := pruneScript.Run(ctx, db.client, names, before, accept.TileWidth).Err(); err != nil {
		return unavailable("prune", err)
	}
	return nil
}

func tileField(id ledger.TileID) string {
	return strconv.Itoa(id.Level) + "/" + strconv.FormatInt(id.Index, 10)
}
