package limit

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// Guard keeps whoever is at one address from guessing the secrets of one tenant's clients. Ids and secrets are taken as
// they were sent: whether there is such a client makes no difference.
type Guard struct {
	limiter *Limiter
	tenant  Tenant
	from    netip.Addr
}

// Guard returns the guard against an address.
func (l *Limiter) Guard(t Tenant, from netip.Addr) Guard { return Guard{l, t, from} }

// trust is how long an address counts as one from which the client has shown its secret.
const trust = time.Hour

// Try is asked before a secret is compared. Its error is a *fault.Error of kind TooMany; then nothing may be compared,
// so that nobody learns anything by going on.
//
// What was wrong for this client from this address counts always. What was wrong from this address for others does not
// stop a client where it has shown its secret within the last hour, and what was wrong from elsewhere stops nobody
// here: whoever is at no address of a client cannot lock it out.
func (g Guard) Try(id, secret string) error {
	l, now, rules := g.limiter, g.limiter.now(), g.limiter.of(g.tenant)
	k := g.keys(id, secret)
	kinds := []Kind{repeated, Pair, Guesser}
	if seen := l.tables[proven].find(k[Pair]); seen != nil && seen.full.Load() > now {
		kinds = kinds[:2]
	}
	for _, kind := range kinds {
		a := rules[kind]
		if a == nil {
			continue
		}
		if b := l.tables[kind].find(k[kind]); b != nil {
			if wait := b.wait(now, *a); wait > 0 {
				return l.refuse(kind, wait)
			}
		}
	}
	return nil
}

// Tried says what became of a comparison that Try allowed. A secret that is wrong again and again, as one that somebody
// forgot to replace, is one guess: it locks itself out, and not those at the same address who have the right one.
func (g Guard) Tried(id, secret string, right bool) {
	l, now, rules := g.limiter, g.limiter.now(), g.limiter.of(g.tenant)
	k := g.keys(id, secret)
	if right {
		l.tables[proven].get(k[Pair], now).raise(now + int64(trust))
		return
	}
	kinds := []Kind{repeated, Pair, Guesser}
	if again := l.tables[repeated].find(k[repeated]); again != nil && again.full.Load() > now {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		if a := rules[kind]; a != nil {
			b := l.tables[kind].get(k[kind], now)
			b.spend(now, *a)
			if kind != repeated {
				l.note(b, a.cost)
			}
		}
	}
}

// keys returns the budgets of a guess. That of the secret itself is of this process alone, by a hash that means nothing
// anywhere else: a wrong secret may be the right one somewhere.
func (g Guard) keys(id, secret string) (k [kinds]key) {
	for kind := range k {
		k[kind].tenant = g.tenant.ID
	}
	at := place(g.from)
	name := named(id)
	var both [32]byte
	copy(both[:], name[:])
	copy(both[16:], at[:])
	sum := sha256.Sum256(both[:])
	k[Guesser].id = at
	copy(k[Pair].id[:], sum[:])
	k[repeated].id = k[Pair].id
	binary.NativeEndian.PutUint64(k[repeated].id[8:], maphash.String(g.limiter.seed, secret))
	return k
}
