package keys

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// With returns the keys as they are after a change that puts rows.
func (r *LogRing) With(put []ledger.Row) (*LogRing, error) {
	if !slices.ContainsFunc(put, func(row ledger.Row) bool { return row.Kind == KindLogKey }) {
		return r, nil
	}
	next := &LogRing{vault: r.vault, keys: slices.Clone(r.keys)}
	for _, row := range put {
		if row.Kind != KindLogKey {
			continue
		}
		k, err := r.vault.openLogKey(row)
		if err != nil {
			return nil, err
		}
		next.keys = slices.DeleteFunc(next.keys, func(old *logKey) bool { return old.ID == k.ID })
		next.keys = append(next.keys, k)
	}
	return next, next.settle()
}

// Rotate returns the rows after which other keys sign, events and checkpoints both. An event key that was replaced
// signs no more, and its private half is destroyed; a checkpoint key signs on for Overlap, and its private half is
// destroyed by the first rotation after that.
func (r *LogRing) Rotate(now time.Time) ([]ledger.Row, error) {
	var put []ledger.Row
	for _, use := range []LogUse{Events, Checkpoints} {
		rows, err := r.replace(use, now.UTC(), false)
		if err != nil {
			return nil, fmt.Errorf("rotate log keys: %w", err)
		}
		put = append(put, rows...)
	}
	return put, nil
}

// Revoke returns the rows after which a key that may be in wrong hands signs no more: its private half is destroyed,
// and if it was the newest of its use another one takes its place. What it signed before stays good; what it seems to
// have signed later is forged. Revoking a key again changes nothing; an unknown one is ErrNoKey, and that of a shim
// ErrShimKey: there is more to revoke of it.
func (r *LogRing) Revoke(kid string, now time.Time) ([]ledger.Row, error) {
	k := r.find(kid)
	switch {
	case k == nil:
		return nil, fmt.Errorf("revoke log key %s: %w", kid, ErrNoKey)
	case k.Use == OfShim:
		return nil, fmt.Errorf("revoke log key %s: %w", kid, ErrShimKey)
	case !k.Revoked.IsZero():
		return nil, nil
	}
	now = now.UTC()
	if k == r.last(k.Use) {
		return r.replace(k.Use, now, true)
	}
	row := k.logKeyRow
	row.Revoked = now
	put, err := r.vault.seal(row, nil)
	return []ledger.Row{put}, err
}

// replace makes the next key of a use, and retires or revokes the one before it.
func (r *LogRing) replace(use LogUse, now time.Time, revoke bool) ([]ledger.Row, error) {
	last := r.last(use)
	if last == nil {
		return nil, errors.New("there is no key to replace")
	}
	next, err := r.vault.newLogKey(use, last.Number+1, now)
	if err != nil {
		return nil, err
	}
	put := []ledger.Row{next}
	for _, k := range r.keys {
		row, seed := k.logKeyRow, []byte(nil)
		switch {
		case k == last && revoke:
			row.Retired, row.Revoked = now, now
		case k == last:
			row.Retired = now
			if use == Checkpoints {
				seed = k.private.Seed()
			}
		case k.Use != use || k.private == nil || now.Before(row.Retired.Add(Overlap)):
			continue
		}
		changed, err := r.vault.seal(row, seed)
		if err != nil {
			return nil, err
		}
		put = append(put, changed)
	}
	return put, nil
}
