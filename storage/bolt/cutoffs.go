package bolt

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// sweepCutoffs is how many forgotten cutoffs one commit that cuts removes.
const sweepCutoffs = 16

// changeCutoffs cuts, then enables, and returns the sequence number of the newest change.
func (l *tenantState) changeCutoffs(c ledger.Change, sequence, now int64) (int64, error) {
	if len(c.Cut) > 0 {
		if err := l.sweepCutoffs(now); err != nil {
			return 0, err
		}
	}
	for _, cut := range c.Cut {
		old, _ := l.cutoff(cut.Key)
		sequence++
		if err := l.putCutoff(old, ledger.Cutoff{
			Key: cut.Key, Seq: sequence,
			At:       toTime(now),
			Until:    later(old.Until, toTime(now).Add(cut.Keep)),
			Disabled: old.Disabled || cut.Disable,
		}); err != nil {
			return 0, err
		}
	}
	for _, key := range c.Enable {
		old, found := l.cutoff(key)
		if !found || !old.Disabled {
			continue
		}
		sequence++
		enabled := old
		enabled.Seq, enabled.Disabled = sequence, false
		// Followers must be able to learn of this even if the cutoff itself is long over.
		enabled.Until = later(old.Until, toTime(now).Add(accept.EnabledFor))
		if err := l.putCutoff(old, enabled); err != nil {
			return 0, err
		}
	}
	return sequence, nil
}

// putCutoff replaces old, which is zero where there was none, and keeps both indexes in step.
func (l *tenantState) putCutoff(old, c ledger.Cutoff) error {
	if err := l.dropCutoff(old); err != nil {
		return err
	}
	name := cutoffKey(c.Key)
	disabled := int64(0)
	if c.Disabled {
		disabled = 1
	} else if err := l.bucket(cutExpiry).Put(expiryKey(c.Until.UnixMilli(), name), nil); err != nil {
		return err
	}
	if err := l.bucket(cutSeq).Put(uint64s(c.Seq), name); err != nil {
		return err
	}
	return l.bucket(cutoffs).Put(name, uint64s(c.Seq, c.At.UnixMilli(), c.Until.UnixMilli(), disabled))
}

func (l *tenantState) dropCutoff(c ledger.Cutoff) error {
	if c.Seq == 0 {
		return nil
	}
	name := cutoffKey(c.Key)
	if err := l.bucket(cutSeq).Delete(uint64s(c.Seq)); err != nil {
		return err
	}
	if err := l.bucket(cutExpiry).Delete(expiryKey(c.Until.UnixMilli(), name)); err != nil {
		return err
	}
	return l.bucket(cutoffs).Delete(name)
}

func (l *tenantState) sweepCutoffs(now int64) error {
	for _, name := range expired(l.bucket(cutExpiry), now, sweepCutoffs) {
		old, _ := l.cutoff(parseCutoffKey(name))
		if err := l.dropCutoff(old); err != nil {
			return err
		}
	}
	return nil
}

func (l *tenantState) cutoff(key ledger.Key) (c ledger.Cutoff, found bool) {
	b := l.bucket(cutoffs).Get(cutoffKey(key))
	if b == nil {
		return ledger.Cutoff{}, false
	}
	return ledger.Cutoff{
		Key: key, Seq: int64At(b, 0), At: toTime(int64At(b, 1)), Until: toTime(int64At(b, 2)), Disabled: int64At(b, 3) == 1,
	}, true
}

// disabledSince reports whether something is disabled by a change with a greater sequence number.
func (l *tenantState) disabledSince(after int64) bool {
	if l == nil {
		return false
	}
	changes := l.bucket(cutSeq).Cursor()
	for seq, name := changes.Seek(uint64s(max(after, 0) + 1)); seq != nil; seq, name = changes.Next() {
		if c, _ := l.cutoff(parseCutoffKey(name)); c.Disabled {
			return true
		}
	}
	return false
}

// Cutoffs returns those cutoffs of t that changed after the given sequence number, in that order, without those that
// are over, and the position that they belong to.
func (db *DB) Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error) {
	var found []ledger.Cutoff
	position, err := db.view(ctx, t, func(l *tenantState, now int64) {
		changes := l.bucket(cutSeq).Cursor()
		for seq, name := changes.Seek(uint64s(max(after, 0) + 1)); seq != nil; seq, name = changes.Next() {
			c, _ := l.cutoff(parseCutoffKey(name))
			if c.Disabled || c.Until.UnixMilli() >= now {
				found = append(found, c)
			}
		}
	})
	return found, position, err
}

func cutoffKey(key ledger.Key) []byte { return []byte(key.Kind + ":" + key.ID) }

func parseCutoffKey(b []byte) ledger.Key {
	kind, id, _ := strings.Cut(string(b), ":") // a kind holds no colon
	return ledger.Key{Kind: kind, ID: id}
}

func expiryKey(until int64, name []byte) []byte { return append(uint64s(until), name...) }

// expired returns the names of at most limit things that were over before now.
func expired(expiry *bbolt.Bucket, now int64, limit int) [][]byte {
	var names [][]byte
	c := expiry.Cursor()
	for key, _ := c.First(); key != nil && int64At(key, 0) < now && len(names) < limit; key, _ = c.Next() {
		names = append(names, append([]byte(nil), key[8:]...)) // the key's bytes move when the bucket changes
	}
	return names
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func toTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
