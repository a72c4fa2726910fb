package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// Commit appends c's entries to t's log and applies its change: whole and on disk, or not at all.
//
// Errors: fault.ErrConflict (another revision, or something was disabled), fault.ErrStale (signed at another
// revision), fault.ErrSequence (the writer's counter does not continue) and *ledger.Taken (somebody has what c
// claims), all with nothing written; fault.ErrUnavailable with the outcome unknown, settled by repeating the commit.
// A repeated commit is answered with its own index and with the revision, cutoff sequence and time of now.
func (db *DB) Commit(ctx context.Context, t ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	if err := accept.Commit(t, c); err != nil {
		return ledger.Position{}, fmt.Errorf("commit: %w", err)
	}
	c = clone(c)
	claims := newClaimants(c.Claims)
	var position ledger.Position
	w := &work{tenant: t, plan: func(l *tenantState, now int64) (func(*tenantState) error, error) {
		h := l.head()
		batch, replayed, err := l.batch(c, h)
		if err != nil {
			return nil, err
		}
		if replayed {
			position = h.position(now)
			position.Index = batch.index
			return nil, nil
		}
		if c.Signed != nil && *c.Signed != h.revision {
			return nil, fmt.Errorf("commit: %w: signed at revision %d, found %d", fault.ErrStale, *c.Signed, h.revision)
		}
		if err := l.expect(c.Change, h); err != nil {
			return nil, err
		}
		if taken := l.taken(claims, now); taken != nil {
			return nil, taken
		}
		return func(l *tenantState) (err error) {
			if err := l.take(claims, now); err != nil {
				return err
			}
			position, err = l.apply(c, batch, h, now)
			return err
		}, nil
	}}
	// The committer writes position before it wakes us; a caller who gave up must not look at it.
	if err := db.submit(ctx, w); err != nil {
		return ledger.Position{}, err
	}
	return position, nil
}

// clone copies what bbolt keeps pointing at until its transaction ends: a caller who gave up may reuse its buffers.
func clone(c ledger.Commit) ledger.Commit {
	c.Entries = slices.Clone(c.Entries)
	for i, entry := range c.Entries {
		c.Entries[i] = bytes.Clone(entry)
	}
	c.Change.Put = slices.Clone(c.Change.Put)
	for i, row := range c.Change.Put {
		c.Change.Put[i].Value = bytes.Clone(row.Value)
	}
	c.Change.Delete = slices.Clone(c.Change.Delete)
	c.Change.Cut = slices.Clone(c.Change.Cut)
	c.Change.Enable = slices.Clone(c.Change.Enable)
	return c
}

func (l *tenantState) expect(c ledger.Change, h head) error {
	switch {
	case len(c.Put)+len(c.Delete) == 0:
	case c.Expect != h.revision:
		return fmt.Errorf("commit: %w: expected %d, found %d", fault.ErrConflict, c.Expect, h.revision)
	case c.Cutoffs != nil && l.disabledSince(*c.Cutoffs):
		return fmt.Errorf("commit: %w: something was disabled after cutoff %d", fault.ErrConflict, *c.Cutoffs)
	}
	return nil
}

// batch is what is remembered of a writer: its last counter, and where and how long its last commit was.
type batch struct{ last, index, length int64 }

// batch returns what to remember of the writer after c, or finds that c is the writer's last commit again.
func (l *tenantState) batch(c ledger.Commit, h head) (next batch, replayed bool, err error) {
	var known batch
	if l != nil {
		b := l.bucket(writers).Get([]byte(c.Writer))
		known = batch{last: int64At(b, 0), index: int64At(b, 1), length: int64At(b, 2)}
	}
	length := int64(len(c.Entries))
	switch {
	case c.First == known.last+1:
		return batch{last: known.last + length, index: h.entries, length: length}, false, nil
	case known.length == length && c.First+length-1 == known.last && l.holds(known.index, c.Entries):
		return known, true, nil
	}
	return batch{}, false, fmt.Errorf("commit: %w: the last counter is %d, and %d entries came from %d on",
		fault.ErrSequence, known.last, length, c.First)
}

// holds reports whether the log has exactly these entries from index on.
func (l *tenantState) holds(index int64, entries [][]byte) bool {
	for i, entry := range entries {
		if !bytes.Equal(l.bucket(events).Get(uint64s(index+int64(i))), entry) {
			return false
		}
	}
	return true
}

// apply writes c, all of whose conditions hold.
func (l *tenantState) apply(c ledger.Commit, b batch, h head, now int64) (ledger.Position, error) {
	for _, entry := range c.Entries {
		if err := l.bucket(events).Put(uint64s(h.entries), entry); err != nil {
			return ledger.Position{}, fmt.Errorf("append: %w", err)
		}
		h.entries++
	}
	if err := l.bucket(writers).Put([]byte(c.Writer), uint64s(b.last, b.index, b.length)); err != nil {
		return ledger.Position{}, fmt.Errorf("remember the writer: %w", err)
	}
	if len(c.Change.Put)+len(c.Change.Delete) > 0 {
		h.revision++
	}
	if err := l.changeRows(c.Change); err != nil {
		return ledger.Position{}, fmt.Errorf("change rows: %w", err)
	}
	sequence, err := l.changeCutoffs(c.Change, h.cutoffs, now)
	if err != nil {
		return ledger.Position{}, fmt.Errorf("change cutoffs: %w", err)
	}
	h.cutoffs = sequence
	position := h.position(now)
	position.Index = b.index
	return position, l.putHead(h)
}

// changeRows deletes, then puts.
func (l *tenantState) changeRows(c ledger.Change) error {
	for _, key := range c.Delete {
		if err := l.bucket(rows).Delete(rowKey(key.Kind, key.ID)); err != nil {
			return err
		}
	}
	for _, row := range c.Put {
		if err := l.bucket(rows).Put(rowKey(row.Kind, row.ID), row.Value); err != nil {
			return err
		}
	}
	return nil
}

// rowKey sorts by kind, then by id: the separator is before every character of a kind.
func rowKey(kind, id string) []byte { return []byte(kind + "/" + id) }
