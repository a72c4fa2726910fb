package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

var readScript = goredis.NewScript(readSource)

// Position returns where t stands. It includes every commit that was acknowledged before the call.
func (db *DB) Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error) {
	position, _, err := db.read(ctx, t, nil, "position", 0)
	return position, err
}

// Rows returns t's rows of the given kinds (none given: of all), by kind and id, and the position that they belong to.
func (db *DB) Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error) {
	if err := accept.Kinds(kinds...); err != nil {
		return nil, ledger.Position{}, fmt.Errorf("read rows: %w", err)
	}
	all := len(kinds) == 0
	if !all {
		kinds = slices.Compact(slices.Sorted(slices.Values(kinds)))
	}
	for {
		position, reply, err := db.read(ctx, t, kinds, "rows", 0)
		if err != nil {
			return nil, ledger.Position{}, err
		}
		if known := reply.number(); all && known != int64(len(kinds)) {
			// A script must be told its keys beforehand. Kinds only ever join, so this ends.
			if kinds, err = db.kinds(ctx, t); err != nil {
				return nil, ledger.Position{}, err
			}
			continue
		}
		rows := readRows(reply, kinds)
		return rows, position, reply.err
	}
}

func (db *DB) kinds(ctx context.Context, t ledger.Tenant) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kinds, err := db.client.SMembers(ctx, keys(t).kinds()).Result()
	if err != nil {
		return nil, unavailable("read kinds", err)
	}
	return kinds, nil
}

// Cutoffs returns those cutoffs of t that changed after the given sequence number, in that order, without those that
// are over, and the position that they belong to.
func (db *DB) Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error) {
	position, reply, err := db.read(ctx, t, nil, "cutoffs", max(after, 0))
	if err != nil {
		return nil, ledger.Position{}, err
	}
	var cutoffs []ledger.Cutoff
	for len(reply.rest) > 0 {
		c, err := parseCutoff(reply.text(), reply.text())
		if err = errors.Join(err, reply.err); err != nil {
			return nil, ledger.Position{}, unavailable("read cutoffs", err)
		}
		if c.Disabled || !c.Until.Before(position.Time) {
			cutoffs = append(cutoffs, c)
		}
	}
	return cutoffs, position, nil
}

func parseCutoff(name, value string) (ledger.Cutoff, error) {
	kind, id, _ := strings.Cut(name, ":") // a kind holds no colon
	var n [4]int64
	fields := strings.Split(value, ":")
	if len(fields) != len(n) {
		return ledger.Cutoff{}, errors.New("a stored cutoff has another form")
	}
	for i, field := range fields {
		var err error
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return ledger.Cutoff{}, errors.New("a stored cutoff has another form")
		}
	}
	return ledger.Cutoff{
		Key: ledger.Key{Kind: kind, ID: id}, Seq: n[0],
		At: time.UnixMilli(n[1]).UTC(), Until: time.UnixMilli(n[2]).UTC(), Disabled: n[3] == 1,
	}, nil
}

// Events returns at most limit entries of t's log, in order, from index from on; fewer at the log's end.
func (db *DB) Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	if err := accept.Tenant(t); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	if limit <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := strconv.FormatInt(max(from, 0)+1, 10) + "-0"
	messages, err := db.client.XRangeN(ctx, keys(t).events(), start, "+", int64(limit)).Result()
	if err != nil {
		return nil, unavailable("read events", err)
	}
	entries := make([]ledger.Entry, len(messages))
	for i, m := range messages {
		number, _, _ := strings.Cut(m.ID, "-")
		id, err := strconv.ParseInt(number, 10, 64)
		data, ok := m.Values["s"].(string)
		if err != nil || !ok {
			return nil, unavailable("read events", errors.New("a stored event has another form"))
		}
		entries[i] = ledger.Entry{Index: id - 1, Data: []byte(data)}
	}
	return entries, nil
}

// read runs the read script; what follows the position in its reply is left to the caller.
func (db *DB) read(ctx context.Context, t ledger.Tenant, kinds []string, what string, after int64) (
	ledger.Position, *replyReader, error,
) {
	if err := accept.Tenant(t); err != nil {
		return ledger.Position{}, nil, fmt.Errorf("read: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k := keys(t)
	names := []string{k.meta(), k.log(), k.cutoffs(), k.cutoffsBySeq(), k.kinds()}
	for _, kind := range kinds {
		names = append(names, k.rows(kind))
	}
	reply, err := readScript.RunRO(ctx, db.client, names, what, after).Slice()
	if err != nil {
		return ledger.Position{}, nil, unavailable("read "+what, err)
	}
	r := &replyReader{rest: reply}
	position, err := db.readPosition(r)
	return position, r, err
}

// readPosition reads four numbers. A time that comes with something else is not believed.
func (db *DB) readPosition(r *replyReader) (ledger.Position, error) {
	p := ledger.Position{Index: r.number(), Revision: r.number(), Cutoffs: r.number()}
	now := r.number()
	if r.err != nil {
		return ledger.Position{}, r.err
	}
	p.Time = db.observe(now)
	return p, nil
}

func notUnderstood() error {
	return unavailable("read the reply", errors.New("the script's answer is not understood"))
}

// replyReader takes a script's reply apart; its first mistake stays in err.
type replyReader struct {
	rest []any
	err  error
}

func (r *replyReader) next() any {
	if len(r.rest) == 0 {
		return nil
	}
	first := r.rest[0]
	r.rest = r.rest[1:]
	return first
}

func take[T any](r *replyReader) T {
	value, ok := r.next().(T)
	if !ok && r.err == nil {
		r.err = notUnderstood()
	}
	return value
}

func (r *replyReader) number() int64      { return take[int64](r) }
func (r *replyReader) text() string       { return take[string](r) }
func (r *replyReader) list() *replyReader { return &replyReader{rest: take[[]any](r)} }
