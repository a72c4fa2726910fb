package bolt

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/internal/accept"
)

// sweepClaims is how many forgotten claims one new claim removes; more than one, so that they cannot pile up.
const sweepClaims = 4

// Claim takes key for t and reports whether nobody had it: of any number of claims of one key exactly one is fresh. It
// is on disk before it is answered, and remembered until a little after until. An error (fault.ErrUnavailable) leaves
// open whether the key is taken.
func (db *DB) Claim(ctx context.Context, t ledger.Tenant, key string, until time.Time) (fresh bool, err error) {
	if err := accept.Tenant(t); err != nil {
		return false, fmt.Errorf("claim: %w", err)
	}
	claims := newClaimants([]ledger.Claim{{Key: key, Until: until}})
	w := &work{tenant: t, plan: func(l *tenantState, now int64) (func(*tenantState) error, error) {
		if l.taken(claims, now) != nil {
			return nil, nil
		}
		fresh = true
		return func(l *tenantState) error { return l.take(claims, now) }, nil
	}}
	if err := db.submit(ctx, w); err != nil {
		return false, err
	}
	return fresh, nil
}

// claimant is a claim as it is stored.
type claimant struct {
	name  [sha256.Size]byte
	until int64
}

func newClaimants(claims []ledger.Claim) []claimant {
	all := make([]claimant, len(claims))
	for i, c := range claims {
		all[i] = claimant{name: sha256.Sum256([]byte(c.Key)), until: c.Until.UnixMilli()}
	}
	return all
}

// taken returns those of the claims that somebody has, or that come twice; nil if all can be taken.
func (l *tenantState) taken(claims []claimant, now int64) error {
	var taken []int
	ours := make(map[[sha256.Size]byte]bool, len(claims))
	for i, c := range claims {
		old, found := l.claim(c.name[:])
		if found && old >= now || ours[c.name] {
			taken = append(taken, i)
		}
		ours[c.name] = true
	}
	if taken == nil {
		return nil
	}
	return &ledger.Taken{Claims: taken}
}

// take takes claims of which none is taken.
func (l *tenantState) take(claims []claimant, now int64) error {
	for _, c := range claims {
		if err := l.sweepClaims(now); err != nil {
			return err
		}
		// The swept ones may not have included an old claim of this very key.
		old, _ := l.claim(c.name[:])
		if err := l.dropClaim(old, c.name[:]); err != nil {
			return err
		}
		if err := l.putClaim(max(c.until, now)+accept.ClaimMargin.Milliseconds(), c.name[:]); err != nil {
			return err
		}
	}
	return nil
}

func (l *tenantState) claim(name []byte) (until int64, taken bool) {
	if l == nil {
		return 0, false
	}
	b := l.bucket(claims).Get(name)
	return int64At(b, 0), b != nil
}

func (l *tenantState) putClaim(until int64, name []byte) error {
	if err := l.bucket(claimExpiry).Put(expiryKey(until, name), nil); err != nil {
		return err
	}
	return l.bucket(claims).Put(name, uint64s(until))
}

func (l *tenantState) dropClaim(until int64, name []byte) error {
	if err := l.bucket(claimExpiry).Delete(expiryKey(until, name)); err != nil {
		return err
	}
	return l.bucket(claims).Delete(name)
}

func (l *tenantState) sweepClaims(now int64) error {
	for _, name := range expired(l.bucket(claimExpiry), now, sweepClaims) {
		until, _ := l.claim(name)
		if err := l.dropClaim(until, name); err != nil {
			return err
		}
	}
	return nil
}
