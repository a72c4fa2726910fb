package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// maxStep bounds the entries that one head adds, so that a store is not held up by a log that was long uncovered.
const maxStep = 4096

// edge is the right edge of the tree of one head.
type edge struct {
	*auditor.Edge
	of ledger.Head
}

// cover moves the head on until it covers all that the log had when cover began, and returns it.
func (t *Trees) cover(ctx context.Context, l *log) (ledger.Head, error) {
	if err := l.hold(ctx); err != nil {
		return ledger.Head{}, err
	}
	defer l.release()
	return t.coverHeld(ctx, l)
}

// coverHeld is cover, where the sequencer's part of the log is held.
func (t *Trees) coverHeld(ctx context.Context, l *log) (ledger.Head, error) {
	goal := int64(-1)
	for {
		head, at, err := t.believed(ctx, l)
		if err != nil {
			return head, err
		}
		if goal < 0 {
			goal = at.Index
		}
		if head.Size >= goal && head.Epoch > 0 {
			if _, err := t.edgeOf(ctx, l, head); l.isHalted() && err != nil {
				return head, err
			}
			return head, t.trust(l)
		}
		next, err := t.advance(ctx, l, head, at)
		switch {
		case errors.Is(err, fault.ErrConflict):
			t.count.conflicts.Add(1) // another process was faster; its head is as good
		case err != nil:
			return head, err
		case next.Size >= goal:
			return next, t.trust(l)
		}
	}
}

// advance makes the head that follows head, the tenant being at a position.
func (t *Trees) advance(ctx context.Context, l *log, head ledger.Head, at ledger.Position) (ledger.Head, error) {
	e, err := t.edgeOf(ctx, l, head)
	if err != nil {
		return head, err
	}
	l.edge = nil // until the store confirms what becomes of it
	leaves, err := t.leaves(ctx, l, head.Size, min(at.Index, head.Size+maxStep))
	if err != nil {
		return head, err
	}
	var tiles []ledger.Tile
	changed := 0 // up to this level, the tile that is not full has changed
	for _, leaf := range leaves {
		for _, tile := range e.Append(leaf) {
			tiles = append(tiles, stored(tile))
			changed = max(changed, tile.Level+1)
		}
	}
	for _, tile := range e.Partial() {
		if tile.Level <= changed {
			tiles = append(tiles, stored(tile))
		}
	}
	next := ledger.Head{Epoch: max(head.Epoch, 1), Size: e.Size(), Root: e.Root(), First: head.First,
		Witnessed: head.Witnessed}
	if next.Note, err = t.sign(ctx, l, next, at.Revision); err != nil {
		return head, err
	}
	step := ledger.Step{From: head, To: next, Revision: at.Revision, Tiles: tiles}
	if err := t.cfg.Store.Advance(ctx, l.tenant, step); err != nil {
		return head, fmt.Errorf("advance head: %w", err)
	}
	l.edge = &edge{e.Edge, next}
	t.count.heads.Add(1)
	t.covered(l, next)
	return next, nil
}

// edgeOf returns the edge of the tree of a head: the one that is known, or one made of its tiles, which must have the
// root that was signed.
func (t *Trees) edgeOf(ctx context.Context, l *log, head ledger.Head) (*edge, error) {
	if l.edge != nil && l.edge.of.Same(head) {
		return l.edge, nil
	}
	e, err := t.resumed(ctx, l, head.Size)
	if err != nil {
		return nil, err
	}
	if head.Epoch > 0 && e.Root() != tlog.Hash(head.Root) {
		return nil, t.halt(l, "the stored tiles are not those of the head that was signed at %d entries", head.Size)
	}
	return &edge{e, head}, nil
}

// resumed is resume of a tree that was signed: tiles that it lacks are lost.
func (t *Trees) resumed(ctx context.Context, l *log, size int64) (*auditor.Edge, error) {
	e, err := t.resume(ctx, l.tenant, size)
	if err != nil && !errors.Is(err, fault.ErrUnavailable) {
		return nil, t.halt(l, "the stored tiles are not those of a tree of %d entries", size)
	}
	return e, err
}

// resume returns the edge that the tree had at some size, as far as the stored tiles tell.
func (t *Trees) resume(ctx context.Context, id ledger.Tenant, size int64) (*auditor.Edge, error) {
	var ids []ledger.TileID
	for level, rest := 0, size; rest > 0; level, rest = level+1, rest/auditor.TileWidth {
		ids = append(ids, ledger.TileID{Level: level, Index: rest / auditor.TileWidth})
	}
	all, err := t.cfg.Store.Tiles(ctx, id, ids)
	if err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	return auditor.ResumeEdge(size, func(level int, index int64, width int) ([]tlog.Hash, error) {
		return hashes(all[level][:min(width*tlog.HashSize, len(all[level]))]), nil
	})
}

// leaves returns the leaf hashes of the entries from ≤ i < to. Those of our own are known; the others are read.
func (t *Trees) leaves(ctx context.Context, l *log, from, to int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, 0, to-from)
	for index := from; index < to; {
		if hash, ok := l.leaf(index); ok {
			all = append(all, hash)
			index++
			continue
		}
		end := index + 1 // the entries that are not ours, in one read
		for ; end < to; end++ {
			if _, ok := l.leaf(end); ok {
				break
			}
		}
		entries, err := t.cfg.Store.Events(ctx, l.tenant, index, int(end-index))
		if err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		for _, entry := range entries {
			if entry.Index != index {
				return nil, t.halt(l, "the store has lost entry %d", index)
			}
			all = append(all, tlog.RecordHash(entry.Data))
			index++
		}
		if index != end {
			return nil, t.halt(l, "the store has lost entry %d", index)
		}
	}
	return all, nil
}

// origin returns whose log it is.
func (l *log) origin() audit.Origin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return audit.Origin{Tenant: l.tenant, Issuer: l.issuer}
}

// last returns the head that was seen last.
func (l *log) last() ledger.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

func (l *log) leaf(index int64) (tlog.Hash, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash, ok := l.own[index]
	return hash, ok
}

// covered notes a head that this process made or believes.
func (t *Trees) covered(l *log, h ledger.Head) {
	if t.cfg.Moved != nil && !h.Same(l.last()) {
		t.cfg.Moved(l.origin(), h)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head, l.end = h, max(l.end, h.Size)
	for index := range l.own {
		if index < h.Size {
			delete(l.own, index)
		}
	}
	for len(l.came) > 0 && l.came[0].end <= h.Size {
		l.came = l.came[1:]
	}
}

// ring is the keys of a log, and the revision of the rows that they were read from.
type ring struct {
	*keys.LogRing
	revision int64
}

// sign returns the checkpoint of a head, signed with the keys of a revision of the tenant's rows.
func (t *Trees) sign(ctx context.Context, l *log, h ledger.Head, revision int64) ([]byte, error) {
	issuer := l.origin().Issuer
	if l.ring.LogRing == nil || l.ring.revision != revision {
		r, at, err := t.keysOf(ctx, l.tenant)
		switch {
		case err != nil:
			return nil, err
		case at.Revision != revision:
			return nil, fmt.Errorf("%w: the rows changed", fault.ErrConflict)
		}
		l.ring = ring{r, revision}
	}
	c := auditor.Checkpoint{Origin: auditor.Origin(issuer, h.Epoch), Size: h.Size, Root: h.Root}
	return t.signText(l.ring.LogRing, issuer, c.Text())
}

func (t *Trees) keysOf(ctx context.Context, id ledger.Tenant) (*keys.LogRing, ledger.Position, error) {
	rows, at, err := t.cfg.Store.Rows(ctx, id, keys.KindDEK, keys.KindLogKey)
	if err != nil {
		return nil, at, fmt.Errorf("read the keys of the log: %w", err)
	}
	r, err := keys.OpenLog(t.cfg.Master, id, rows)
	return r, at, err
}

func (t *Trees) signText(r *keys.LogRing, issuer, text string) ([]byte, error) {
	var signers []note.Signer
	for _, s := range r.Notes(auditor.KeyName(issuer), t.cfg.Now()) {
		signers = append(signers, s)
	}
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signed, nil
}

// Ring returns the keys of a log, and the position that they belong to. keys.ErrNoKey: it has none; a log that has
// begun has lost them then.
func (t *Trees) Ring(ctx context.Context, o audit.Origin) (*keys.LogRing, ledger.Position, error) {
	return t.keysOf(ctx, o.Tenant)
}

// published is the public keys of a log, and when they were read.
type published struct {
	at       time.Time
	document []byte
	vkeys    []string
}

// publishedFor is how long public keys are served without another look: everybody may ask for them.
const publishedFor = time.Second

// Keys returns the signed document of the keys that sign the events of a log (auditor.OpenKeys).
func (t *Trees) Keys(ctx context.Context, o audit.Origin) ([]byte, error) {
	p, err := t.publish(ctx, o)
	return p.document, err
}

// VerifierKey returns the public keys that sign the checkpoints of a log, as C2SP signed-note writes them, the newest
// first.
func (t *Trees) VerifierKey(ctx context.Context, o audit.Origin) ([]string, error) {
	p, err := t.publish(ctx, o)
	return p.vkeys, err
}

func (t *Trees) publish(ctx context.Context, o audit.Origin) (p published, err error) {
	l := t.of(o.Tenant)
	l.mu.Lock()
	p = l.public
	l.mu.Unlock()
	if time.Since(p.at) < publishedFor {
		return p, nil
	}
	p = published{at: time.Now()}
	r, _, err := t.keysOf(ctx, o.Tenant)
	if err != nil {
		return p, err
	}
	text, err := auditor.KeysText(auditor.KeyName(o.Issuer), r.EventKeys())
	if err != nil {
		return p, err
	}
	if p.document, err = t.signText(r, o.Issuer, text); err != nil {
		return p, err
	}
	for _, s := range r.Notes(auditor.KeyName(o.Issuer), t.cfg.Now()) {
		key, err := s.VerifierKey()
		if err != nil {
			return p, fmt.Errorf("encode key: %w", err)
		}
		p.vkeys = append(p.vkeys, key)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.public = p
	return p, nil
}

func stored(tile auditor.HashTile) ledger.Tile {
	b := make([]byte, 0, len(tile.Hashes)*tlog.HashSize)
	for _, h := range tile.Hashes {
		b = append(b, h[:]...)
	}
	return ledger.Tile{TileID: ledger.TileID{Level: tile.Level, Index: tile.Index}, Hashes: b}
}

func hashes(b []byte) (all []tlog.Hash) {
	for h := range slices.Chunk(b, tlog.HashSize) {
		if len(h) == tlog.HashSize {
			all = append(all, tlog.Hash(h))
		}
	}
	return all
}
