// Package keys holds a tenant's signing keys: sealed in rows, published as a JWKS, rotated so that no verifier ever
// meets a key that it could not know. It makes and reads rows and never stores them.
//
// A key is published from its creation. Its life is next (published, not used), active (signs), retired (published
// until the last token that it signed has expired), gone. A tenant has, of each algorithm in use, one active and one
// next key, and for some minutes of a rotation a second next key whose time to sign is set.
//
// Rows: `dek` holds the tenant's random data key, sealed by the master key; `key` holds one private key, sealed by the
// data key.
package keys

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/ledger"
)

const (
	// JWKSMaxAge is how long a verifier may use a fetched JWKS (its Cache-Control max-age).
	JWKSMaxAge = 5 * time.Minute
	// Propagation is the time from making a row until every process serves it, by whatever clock.
	Propagation = time.Minute
)

// ErrNoKey means that the ring has no key of that algorithm or kid.
var ErrNoKey = errors.New("no such key")

// Ring is a tenant's signing keys at one revision of its rows. It is immutable and safe for concurrent use.
type Ring struct {
	vault     vault
	lines     map[Alg]line
	byID      map[string]*key
	published atomic.Pointer[published]
}

// published is the JWKS of the time from ≤ t < until; a zero until has no end.
type published struct {
	from, until time.Time
	jwks        []byte
}

// Open reads a tenant's rows of kinds dek and key; rows of other kinds are passed over. It opens all keys: one that was
// sealed for another tenant, purpose, kid or algorithm, or by another master, makes it fail.
func Open(m Master, t ledger.Tenant, rows []ledger.Row) (*Ring, error) {
	r := &Ring{lines: make(map[Alg]line), byID: make(map[string]*key)}
	var err error
	if r.vault, err = openVault(m, t, purposeSign, rows); err != nil {
		return nil, fmt.Errorf("open ring: %w", err)
	}
	for _, row := range rows {
		if row.Kind != KindKey {
			continue
		}
		k, err := r.vault.openKey(row)
		if err != nil {
			return nil, fmt.Errorf("open ring: %w", err)
		}
		r.lines[k.Alg] = append(r.lines[k.Alg], k)
		r.byID[k.ID] = k
	}
	for _, l := range r.lines {
		slices.SortFunc(l, func(a, b *key) int { return cmp.Compare(a.Number, b.Number) })
		if l.active(time.Time{}) == nil || l.next() == nil {
			return nil, fmt.Errorf("open ring: %s has no active or no next key: rows are missing", l[0].Alg)
		}
	}
	if len(r.lines) == 0 {
		return nil, fmt.Errorf("open ring: signing keys: %w", ErrNoKey)
	}
	return r, nil
}

// line is the keys of one algorithm, in the order of their numbers, which is that of their creation and, but for those
// that are revoked, of their ActiveFrom.
type line []*key

// active returns the key that signs at now: of those that are not revoked, the last whose time has come. Before all
// times it is the first: nothing signs before it, and the clock of another process may be a little behind.
func (l line) active(now time.Time) *key {
	var found *key
	for _, k := range l {
		if k.revoked() || k.ActiveFrom.IsZero() {
			continue
		}
		if found == nil || !k.ActiveFrom.After(now) {
			found = k
		}
	}
	return found
}

// scheduled returns the key that will sign at a known time after now, or nil.
func (l line) scheduled(now time.Time) *key {
	active := l.active(now)
	for _, k := range l {
		if k != active && !k.revoked() && k.ActiveFrom.After(now) {
			return k
		}
	}
	return nil
}

// next returns the key that waits without a time, or nil.
func (l line) next() *key {
	for _, k := range l {
		if !k.revoked() && k.ActiveFrom.IsZero() {
			return k
		}
	}
	return nil
}

// retiredAt returns when k stops signing: when it is revoked, or its successor starts. It is zero as long as that is
// not known.
func (l line) retiredAt(k *key) time.Time {
	if k.revoked() || k.ActiveFrom.IsZero() {
		return k.RevokedAt
	}
	for _, later := range l {
		if later.Number > k.Number && !later.revoked() {
			return later.ActiveFrom
		}
	}
	return time.Time{}
}

// goneAt returns when the last token that k signed has expired everywhere; zero as long as that is not known.
func (l line) goneAt(k *key) time.Time {
	retired := l.retiredAt(k)
	if retired.IsZero() {
		return retired
	}
	return retired.Add(token.MaxLife + token.MaxLeeway)
}

func (l line) gone(k *key, now time.Time) bool {
	at := l.goneAt(k)
	return !at.IsZero() && !now.Before(at)
}

// publishes reports whether k is in the JWKS at now.
func (l line) publishes(k *key, now time.Time) bool { return !k.revoked() && !l.gone(k, now) }

// all yields every key with its line, by algorithm and in order.
func (r *Ring) all() iter.Seq2[line, *key] {
	return func(yield func(line, *key) bool) {
		for _, alg := range slices.Sorted(maps.Keys(r.lines)) {
			for _, k := range r.lines[alg] {
				if !yield(r.lines[alg], k) {
					return
				}
			}
		}
	}
}

// Has reports whether the ring can sign with alg.
func (r *Ring) Has(alg Alg) bool { return r.lines[alg].next() != nil }

// Algs returns the algorithms that the ring can sign with, in order.
func (r *Ring) Algs() []Alg {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.lines)), func(alg Alg) bool { return !r.Has(alg) })
}

// Signer returns the signer of the key of alg that is active at now; ErrNoKey if there is none. Each key has one, which
// outlives this call.
func (r *Ring) Signer(alg Alg, now time.Time) (*Signer, error) {
	k := r.lines[alg].active(now)
	if k == nil {
		return nil, fmt.Errorf("find %s key: %w", alg, ErrNoKey)
	}
	return k.signer, nil
}

// JWKS returns the keys that are published at now (RFC 7517 §5): public, each with kid, alg and use "sig". The result
// is shared and must not be changed.
func (r *Ring) JWKS(now time.Time) []byte {
	if p := r.published.Load(); p != nil && !now.Before(p.from) && (p.until.IsZero() || now.Before(p.until)) {
		return p.jwks
	}
	p := r.publish(now)
	r.published.Store(p)
	return p.jwks
}

// publish makes the JWKS of now. In one ring it changes only when a key is gone.
func (r *Ring) publish(now time.Time) *published {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	var p published
	for l, k := range r.all() {
		if l.publishes(k, now) {
			set.Keys = append(set.Keys, k.public)
		}
		switch at := l.goneAt(k); {
		case at.IsZero():
		case now.Before(at):
			if p.until.IsZero() || at.Before(p.until) {
				p.until = at
			}
		case at.After(p.from):
			p.from = at
		}
	}
	p.jwks, _ = json.Marshal(set) // public keys that were parsed always marshal
	return &p
}

// Verify checks that compact is an access token (RFC 9068 §2.1) that a key published at now signed, and returns its
// payload, for token.Parse. It says nothing of the claims, of time or of revocation. Errors are *token.Error.
func (r *Ring) Verify(compact string, now time.Time) (payload []byte, err error) {
	return token.Signed(compact, func(kid string) (jose.JSONWebKey, error) {
		k, ok := r.byID[kid]
		if !ok || !r.lines[k.Alg].publishes(k, now) {
			return jose.JSONWebKey{}, ErrNoKey
		}
		return k.public, nil
	})
}

// State is where a key is in its life.
type State string

const (
	StateNext    State = "next" // ActiveFrom says when it will sign, if that is known
	StateActive  State = "active"
	StateRetired State = "retired"
	StateRevoked State = "revoked"
)

// KeyInfo describes a key for operators. Zero times are not known yet.
type KeyInfo struct {
	KeyID      string
	Alg        Alg
	State      State
	Created    time.Time // published since
	ActiveFrom time.Time // signs, or signed, since
	RetiredAt  time.Time // does not sign since
	GoneAt     time.Time // not published since
}

// Info lists the keys that are not gone at now, by algorithm and in the order in which they sign.
func (r *Ring) Info(now time.Time) []KeyInfo {
	var all []KeyInfo
	for l, k := range r.all() {
		if l.gone(k, now) {
			continue
		}
		info := KeyInfo{
			KeyID: k.ID, Alg: k.Alg, State: StateNext,
			Created: k.Created, ActiveFrom: k.ActiveFrom, RetiredAt: l.retiredAt(k), GoneAt: l.goneAt(k),
		}
		switch {
		case k.revoked():
			info.State, info.GoneAt = StateRevoked, k.RevokedAt
		case k == l.active(now):
			info.State = StateActive
		case !info.RetiredAt.IsZero() && !now.Before(info.RetiredAt):
			info.State = StateRetired
		}
		all = append(all, info)
	}
	return all
}
