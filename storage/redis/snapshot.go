package redis

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

//go:embed lua/snapshot.lua
var snapshotSource string

//go:embed lua/exchange.lua
var exchangeSource string

var (
	snapshotScript = goredis.NewScript(snapshotSource)
	exchangeScript = goredis.NewScript(exchangeSource)
)

// loadTimeout bounds one step of Load; exchanging a large tenant takes Redis a while.
const loadTimeout = time.Minute

// Snapshot returns t at one moment.
func (db *DB) Snapshot(ctx context.Context, t ledger.Tenant) (s ledger.Snapshot, err error) {
	if err := accept.Tenant(t); err != nil {
		return s, fmt.Errorf("read a snapshot: %w", err)
	}
	k := keys(t)
	for known := []string(nil); ; {
		names := []string{k.meta(), k.log(), k.cutoffs(), k.writers(), k.kinds()}
		for _, kind := range known {
			names = append(names, k.rows(kind))
		}
		reply, err := db.script(ctx, snapshotScript, names)
		if err != nil {
			return s, unavailable("read a snapshot", err)
		}
		r := &replyReader{rest: reply}
		if s.Position, err = db.readPosition(r); err == nil {
			s.Head, err = readHead(r)
		}
		cutoffs, writers := r.list(), r.list()
		if err = errors.Join(err, r.err); err != nil {
			return s, err
		}
		if r.number() != int64(len(known)) {
			// A script must be told its keys beforehand. Kinds only ever join, so this ends.
			if known, err = db.kinds(ctx, t); err != nil {
				return s, err
			}
			continue
		}
		s.Rows = readRows(r, known)
		if s.Cutoffs, err = readCutoffs(cutoffs); err == nil {
			s.Writers, err = readWriters(writers)
		}
		return s, errors.Join(err, r.err)
	}
}

// script runs a script that writes nothing.
func (db *DB) script(ctx context.Context, script *goredis.Script, names []string, args ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return script.Run(ctx, db.client, names, args...).Slice()
}

func readRows(r *replyReader, kinds []string) (rows []ledger.Row) {
	for _, kind := range kinds {
		hash := r.list()
		for len(hash.rest) > 0 {
			rows = append(rows, ledger.Row{Kind: kind, ID: hash.text(), Value: []byte(hash.text())})
		}
		r.err = errors.Join(r.err, hash.err)
	}
	slices.SortFunc(rows, func(a, b ledger.Row) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	return rows
}

func readCutoffs(flat *replyReader) (all []ledger.Cutoff, err error) {
	for len(flat.rest) > 0 {
		c, err := parseCutoff(flat.text(), flat.text())
		if err = errors.Join(err, flat.err); err != nil {
			return nil, unavailable("read cutoffs", err)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b ledger.Cutoff) int { return cmp.Compare(cutoffName(a.Key), cutoffName(b.Key)) })
	return all, nil
}

func readWriters(flat *replyReader) (all []ledger.Writer, err error) {
	for len(flat.rest) > 0 {
		w := ledger.Writer{ID: flat.text()}
		if _, err := fmt.Sscanf(flat.text(), "%d:%d:%d", &w.Last, &w.Index, &w.Count); err != nil || flat.err != nil {
			return nil, unavailable("read writers", errors.New("a stored writer has another form"))
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b ledger.Writer) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// loading is a tenant that is being loaded: its keys have other names until they are exchanged.
type loading struct {
	db *DB
	keys
	kinds []string
}

func (l loading) staged(name string) string {
	return l.name("new:") + strings.TrimPrefix(name, l.name(""))
}

// all are the names of what makes a tenant, with rows of those kinds. What is claimed, what was spent, and how far
// sinks have come are not among it.
func (l loading) all(kinds []string) []string {
	names := []string{l.meta(), l.keys.kinds(), l.log(), l.tiles(), l.events(), l.writers(), l.cutoffs(), l.cutoffsBySeq(),
		l.cutoffsByEnd()}
	for _, kind := range kinds {
		names = append(names, l.rows(kind))
	}
	return names
}

// Load makes t what s and its parts say, in place of what it was: whole, or not at all. next returns the parts, and
// io.EOF after the last one; any other error of it is returned, and changes nothing. How far sinks have come stays as
// it is, and so does what is claimed. fault.ErrUnavailable from the last step, which exchanges one for the other,
// leaves open whether that was made.
func (db *DB) Load(ctx context.Context, t ledger.Tenant, s ledger.Snapshot, next func() (ledger.Part, error)) error {
	if err := accept.Snapshot(t, s); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l := loading{db: db, keys: keys(t)}
	for _, row := range s.Rows {
		if !slices.Contains(l.kinds, row.Kind) {
			l.kinds = append(l.kinds, row.Kind)
		}
	}
	err := l.clear(ctx)
	if err == nil {
		err = l.stage(ctx, s)
	}
	if err == nil {
		err = l.parts(ctx, s, next)
	}
	if err == nil {
		return l.exchange(ctx)
	}
	return errors.Join(err, l.clear(context.WithoutCancel(ctx)))
}

// pipe sends commands to Redis in one step.
func (l loading) pipe(ctx context.Context, fill func(context.Context, goredis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err := l.db.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		fill(ctx, p)
		return nil
	})
	if err != nil {
		return unavailable("load", err)
	}
	return nil
}

// clear forgets what is staged, by an attempt that died too.
func (l loading) clear(ctx context.Context) error {
	kinds, err := l.db.client.SMembers(ctx, l.staged(l.keys.kinds())).Result()
	if err != nil {
		return unavailable("load", err)
	}
	return l.pipe(ctx, func(ctx context.Context, p goredis.Pipeliner) {
		for _, name := range l.all(append(kinds, l.kinds...)) {
			p.Unlink(ctx, l.staged(name))
		}
	})
}

// stage writes everything but the parts.
func (l loading) stage(ctx context.Context, s ledger.Snapshot) error {
	return l.pipe(ctx, func(ctx context.Context, p goredis.Pipeliner) {
		for _, kind := range l.kinds {
			p.SAdd(ctx, l.staged(l.keys.kinds()), kind)
		}
		for _, row := range s.Rows {
			p.HSet(ctx, l.staged(l.rows(row.Kind)), row.ID, row.Value)
		}
		for _, c := range s.Cutoffs {
			name, disabled := cutoffName(c.Key), 0
			if c.Disabled {
				disabled = 1
			} else {
				p.ZAdd(ctx, l.staged(l.cutoffsByEnd()), goredis.Z{Score: float64(c.Until.UnixMilli()), Member: name})
			}
			p.HSet(ctx, l.staged(l.cutoffs()), name,
				fmt.Sprintf("%d:%d:%d:%d", c.Seq, c.At.UnixMilli(), c.Until.UnixMilli(), disabled))
			p.ZAdd(ctx, l.staged(l.cutoffsBySeq()), goredis.Z{Score: float64(c.Seq), Member: name})
		}
		for _, w := range s.Writers {
			p.HSet(ctx, l.staged(l.writers()), w.ID, fmt.Sprintf("%d:%d:%d", w.Last, w.Index, w.Count))
		}
		p.HSet(ctx, l.staged(l.meta()), "rev", s.Position.Revision, "cut", s.Position.Cutoffs, "time",
			s.Position.Time.UnixMilli())
		p.HSet(ctx, l.staged(l.log()), "n", s.Position.Index)
		if h := s.Head; h.Epoch > 0 {
			p.HSet(ctx, l.staged(l.log()), "epoch", h.Epoch, "size", h.Size, "root", h.Root[:], "note", h.Note,
				"witnessed", h.Witnessed, "first", h.First)
		}
	})
}

// parts writes the tiles and the entries.
func (l loading) parts(ctx context.Context, s ledger.Snapshot, next func() (ledger.Part, error)) error {
	index := s.Head.First
	for {
		part, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		err = l.pipe(ctx, func(ctx context.Context, p goredis.Pipeliner) {
			for _, tile := range part.Tiles {
				p.HSet(ctx, l.staged(l.tiles()), tileField(tile.TileID), tile.Hashes)
			}
			for _, entry := range part.Entries {
				index++
				p.XAdd(ctx, &goredis.XAddArgs{Stream: l.staged(l.events()), ID: strconv.FormatInt(index, 10) + "-0",
					Values: []any{"s", entry}})
			}
		})
		if err != nil {
			return err
		}
	}
	if index != s.Position.Index {
		return fmt.Errorf("load: the entries end before %d, and there are %d", index, s.Position.Index)
	}
	return nil
}

// exchange puts what is staged in the place of what there is.
func (l loading) exchange(ctx context.Context) error {
	kinds, err := l.db.kinds(ctx, ledger.Tenant(l.keys))
	if err != nil {
		return err
	}
	have, become := l.all(kinds), l.all(l.kinds)
	names := slices.Clone(have)
	for _, name := range become {
		names = append(names, l.staged(name))
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	names = append(names, become...)
	if err := exchangeScript.Run(ctx, l.db.client, names, len(have), len(become)).Err(); err != nil {
		return unavailable("load", err)
	}
	return nil
}
