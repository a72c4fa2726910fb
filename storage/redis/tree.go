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

// Head returns where the tree of t's log stands, and where t stood at that moment.
func (db *DB) Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error) {
	position, reply, err := db.read(ctx, t, nil, "head", 0)
	if err != nil {
		return ledger.Head{}, position, err
	}
	h, err := readHead(reply)
	return h, position, err
}

// readHead reads six texts.
func readHead(reply *replyReader) (ledger.Head, error) {
	number := func() int64 {
		text := reply.text()
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		reply.err = errors.Join(reply.err, err)
		return n
	}
	h := ledger.Head{Epoch: number(), Size: number()}
	root := reply.text()
	h.Note, h.Witnessed, h.First = optional(reply.text()), optional(reply.text()), number()
	if reply.err != nil || copy(h.Root[:], root) != len(h.Root) && h.Epoch > 0 {
		return ledger.Head{}, unavailable("read head", errors.New("the stored head has another form"))
	}
	return h, nil
}

func optional(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// Advance makes a step: whole, or not at all. What is kept of the log (First) stays. fault.ErrConflict: the head or the
// revision is another one, or the log is shorter than the next head.
func (db *DB) Advance(ctx context.Context, t ledger.Tenant, s ledger.Step) error {
	if err := accept.Step(t, s); err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	args := []any{"", "", "", s.To.Epoch, s.To.Size, s.To.Root[:], s.To.Note, s.To.Witnessed, s.Revision}
	if s.From.Epoch > 0 {
		args[0], args[1], args[2] = s.From.Epoch, s.From.Size, s.From.Root[:]
	}
	for _, tile := range s.Tiles {
		args = append(args, tileField(tile.TileID), tile.Hashes)
	}
	done, err := advanceScript.Run(ctx, db.client, []string{keys(t).log(), keys(t).tiles(), keys(t).meta()}, args...).Int()
	switch {
	case err != nil:
		return unavailable("advance", err)
	case done == 0:
		return fmt.Errorf("advance: %w: the head or the revision is another one", fault.ErrConflict)
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
