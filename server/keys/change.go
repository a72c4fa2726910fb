package keys

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Create returns the rows of a new tenant: its data key and, for each algorithm, an active and a next key.
func Create(m Master, t ledger.Tenant, now time.Time, algs ...Alg) ([]ledger.Row, error) {
	if len(algs) == 0 {
		return nil, errors.New("create ring: no algorithm is given")
	}
	now = now.UTC()
	v, row, err := newVault(m, t, purposeSign, now)
	if err != nil {
		return nil, fmt.Errorf("create ring: %w", err)
	}
	c := change{vault: v, put: []ledger.Row{row}}
	for i, alg := range algs {
		if slices.Contains(algs[:i], alg) {
			continue
		}
		if err := c.begin(alg, now); err != nil {
			return nil, fmt.Errorf("create ring: %w", err)
		}
	}
	return c.put, nil
}

// Add returns the rows that let the ring sign with another algorithm. The first key of an algorithm is active at once:
// there is no older one to sign with until verifiers have fetched it. If the ring has alg already, nothing is returned.
func (r *Ring) Add(alg Alg, now time.Time) ([]ledger.Row, error) {
	if r.Has(alg) {
		return nil, nil
	}
	c := change{vault: r.vault}
	if err := c.begin(alg, now.UTC()); err != nil {
		return nil, fmt.Errorf("add algorithm: %w", err)
	}
	return c.put, nil
}

// Rotate returns the change after which the next key of alg signs: at once if every verifier knows it by then, else
// as soon as that is so (JWKSMaxAge and Propagation after it was made). The key that signed is retired then. Keys that
// are gone are deleted.
//
// As long as an earlier rotation is still to take effect nothing is put: that rotation is this one too. So the JWKS
// stays short however often somebody rotates.
func (r *Ring) Rotate(alg Alg, now time.Time) (put []ledger.Row, del []ledger.Key, err error) {
	now = now.UTC()
	l := r.lines[alg]
	next := l.next()
	if next == nil {
		return nil, nil, fmt.Errorf("rotate %s key: %w", alg, ErrNoKey)
	}
	c := change{vault: r.vault, del: l.leftovers(now)}
	if l.scheduled(now) == nil {
		from := next.Created.Add(JWKSMaxAge + Propagation)
		if from.Before(now) {
			from = now
		}
		if err := c.promote(next.keyRow, from, now); err != nil {
			return nil, nil, fmt.Errorf("rotate %s key: %w", alg, err)
		}
	}
	return c.put, c.del, nil
}

// Revoke returns the change that ends a key which may be in wrong hands: it is unpublished, its private half is
// destroyed, and what it signed no longer verifies. If it was active, the key that comes after it signs at once, even
// if some verifiers must fetch it first. Revoking a key again changes nothing; an unknown one is ErrNoKey.
func (r *Ring) Revoke(kid string, now time.Time) (put []ledger.Row, del []ledger.Key, err error) {
	now = now.UTC()
	k, ok := r.byID[kid]
	if !ok {
		return nil, nil, fmt.Errorf("revoke key: %w", ErrNoKey)
	}
	if k.revoked() {
		return nil, nil, nil
	}
	l := r.lines[k.Alg]
	c := change{vault: r.vault, del: l.leftovers(now)}
	if l.gone(k, now) {
		return nil, c.del, nil
	}
	if err := c.replace(l, k, now); err != nil {
		return nil, nil, fmt.Errorf("revoke key: %w", err)
	}
	dead := k.keyRow
	dead.RevokedAt, dead.Sealed = now, nil
	if err := c.keep(dead); err != nil {
		return nil, nil, fmt.Errorf("revoke key: %w", err)
	}
	return c.put, c.del, nil
}

// Due returns the algorithms whose active key has signed for longer than every, and which no rotation is replacing yet.
func (r *Ring) Due(now time.Time, every time.Duration) []Alg {
	var due []Alg
	for _, alg := range slices.Sorted(maps.Keys(r.lines)) {
		l := r.lines[alg]
		if k := l.active(now); k != nil && l.scheduled(now) == nil && now.Sub(k.ActiveFrom) > every {
			due = append(due, alg)
		}
	}
	return due
}

// leftovers are the keys that are gone.
func (l line) leftovers(now time.Time) []ledger.Key {
	var del []ledger.Key
	for _, k := range l {
		if l.gone(k, now) {
			del = append(del, ledger.Key{Kind: KindKey, ID: k.ID})
		}
	}
	return del
}

// change gathers rows.
type change struct {
	vault vault
	put   []ledger.Row
	del   []ledger.Key
}

func (c *change) keep(k keyRow) error {
	row, err := k.row()
	if err != nil {
		return err
	}
	c.put = append(c.put, row)
	return nil
}

// begin makes the first two keys of an algorithm.
func (c *change) begin(alg Alg, now time.Time) error {
	first, err := c.vault.newKey(alg, 1, now)
	if err != nil {
		return err
	}
	return c.promote(first, now, now)
}

// promote makes a next key sign from the given time on, and a new next key.
func (c *change) promote(next keyRow, from, now time.Time) error {
	next.ActiveFrom = from
	if err := c.keep(next); err != nil {
		return err
	}
	return c.succeed(next, now)
}

// succeed makes the next key that comes after k.
func (c *change) succeed(k keyRow, now time.Time) error {
	fresh, err := c.vault.newKey(k.Alg, k.Number+1, now)
	if err != nil {
		return err
	}
	return c.keep(fresh)
}

// replace fills the place that k leaves.
func (c *change) replace(l line, k *key, now time.Time) error {
	switch heir := l.scheduled(now); {
	case k == l.next():
		return c.succeed(k.keyRow, now)
	case k != l.active(now):
		return nil
	case heir != nil:
		early := heir.keyRow
		early.ActiveFrom = now
		return c.keep(early)
	}
	return c.promote(l.next().keyRow, now, now)
}
