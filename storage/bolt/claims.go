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
	name := sha256.Sum256([]byte(key))
	w := &work{tenant: t, plan: func(l *tenantState, now int64) (func(*tenantState) error, error) {
		old, taken := l.claim(name[:])
		if taken && old >= now {
			return nil, nil
		}
		fresh = true
		return func(l *tenantState) error {
			if err := l.sweepClaims(now); err != nil {
				return err
			}
			// The swept ones may not have included an old claim of this very key.
			if err := l.dropClaim(old, name[:]); err != nil {
				return err
			}
			return l.putClaim(max(until.UnixMilli(), now)+accept.ClaimMargin.Milliseconds(), name[:])
		}, nil
	}}
	if err := db.submit(ctx, w); err != nil {
		return false, err
	}
	return fresh, nil
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
