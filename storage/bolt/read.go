package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// Position returns where t stands. It includes every commit that was acknowledged before the call.
func (db *DB) Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error) {
	return db.view(ctx, t, func(*tenantState, int64) {})
}

// Rows returns t's rows of the given kinds (none given: of all), by kind and id, and the position that they belong to.
func (db *DB) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	if err := accept.Kinds(kinds...); err != nil {
		return nil, ledger.Position{}, fmt.Errorf("read rows: %w", err)
	}
	prefixes := []string{""}
	if len(kinds) > 0 {
		prefixes = slices.Compact(slices.Sorted(slices.Values(kinds)))
		for i := range prefixes {
			prefixes[i] += "/"
		}
	}
	var all []ledger.Row
	position, err := db.view(ctx, t, func(l *tenantState, _ int64) {
		for _, prefix := range prefixes {
			all = appendRows(all, l.bucket(rows).Cursor(), []byte(prefix))
		}
	})
	return all, position, err
}

func appendRows(all []ledger.Row, c *bbolt.Cursor, prefix []byte) []ledger.Row {
	for key, value := c.Seek(prefix); bytes.HasPrefix(key, prefix) && key != nil; key, value = c.Next() {
		kind, id, _ := strings.Cut(string(key), "/") // a kind holds no slash
		all = append(all, ledger.Row{Kind: kind, ID: id, Value: bytes.Clone(value)})
	}
	return all
}

// Events returns at most limit entries of t's log, in order, from index from on; fewer at the log's end.
func (db *DB) Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	var entries []ledger.Entry
	_, err := db.view(ctx, t, func(l *tenantState, _ int64) {
		c := l.bucket(events).Cursor()
		for key, data := c.Seek(uint64s(max(from, 0))); key != nil && len(entries) < limit; key, data = c.Next() {
			entries = append(entries, ledger.Entry{Index: int64At(key, 0), Data: bytes.Clone(data)})
		}
	})
	return entries, err
}

// view runs read on one consistent state of t; read is not called for an unknown tenant.
func (db *DB) view(ctx context.Context, t ledger.Tenant, read func(*tenantState, int64)) (ledger.Position, error) {
	if err := accept.Tenant(t); err != nil {
		return ledger.Position{}, fmt.Errorf("read: %w", err)
	}
	if err := db.usable(ctx); err != nil {
		return ledger.Position{}, err
	}
	var position ledger.Position
	err := db.file.View(func(tx *bbolt.Tx) error {
		now := db.tick()
		l := find(tx, t)
		position = l.head().position(now)
		if l != nil {
			read(l, now)
		}
		return nil
	})
	if err != nil {
		return ledger.Position{}, unavailable("read", err)
	}
	return position, nil
}

func (db *DB) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable("read", err)
	}
	select {
	case <-db.closing:
		return unavailable("read", errors.New("the store is closed"))
	default:
	}
	if db.broken.Load() {
		return unavailable("read", errors.New("an earlier write to the file failed; restart bursar"))
	}
	return nil
}
