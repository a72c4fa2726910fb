// Package limit keeps any one caller from taking more than its part, and strangers from guessing secrets.
//
// Each process decides at once, on budgets in its own memory, without a lock and without asking anybody. In the
// background processes tell each other through the store what was taken. So P processes together allow, within any time
// T, at most
//
//	Count + Count·T/Per + (P−1) · Count · (1 + interval/Per)
//
// of a rate Count/Per: each of them can give a whole budget away before it has heard of the others. That happens once.
// What was given too much is a debt that has to grow back first. A process alone keeps to Count + Count·T/Per; sharing
// can cost a caller Count·interval/Per of its burst, never more. While the store does not answer, every process keeps
// to its own count: a limit is no promise, and refusing everybody would be what an attacker wants.
//
// docs/decisions/0015-rate-limits.md has the reasons.
package limit

import (
	"context"
	"crypto/sha256"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Kind says what is limited. It names budgets in the store.
type Kind uint8

// The kinds.
const (
	Address  Kind = iota // requests from an address
	Client               // requests of a proven client
	TenantOf             // requests of a tenant
	Pair                 // wrong secrets for one client from one address
	Guesser              // wrong secrets from one address
	Part                 // what a part of a tenant is allowed by its configuration
	repeated             // the same wrong secret; never shared
	proven               // a right secret; never shared

	kinds
)

var names = [kinds]string{"address", "client", "tenant", "pair", "guesser", "part", "repeated", "proven"}

// Tenant is whose budgets are meant.
type Tenant struct {
	ID   ledger.Tenant
	Slug string // by which Config has rules of its own for it
}

// Config is what a Limiter needs. All of it may be left out.
type Config struct {
	Rules   Rules            // of every tenant; what is missing is Defaults'
	Tenants map[string]Rules // of single tenants, by slug; what is missing is Rules'
	// Store makes the processes over it one. Without one this process is alone.
	Store Store
	// Interval is how often processes tell each other; default 100 ms.
	Interval time.Duration
	// Now is the clock, of which only differences count; default time.Now.
	Now func() time.Time
}

// DefaultInterval is how often processes tell each other.
const DefaultInterval = 100 * time.Millisecond

// Limiter counts. It is safe for concurrent use.
type Limiter struct {
	cfg     Config
	all     budgets
	own     map[string]*budgets // of tenants with rules of their own
	began   time.Time
	seed    maphash.Seed
	tables  [kinds]table
	refused [kinds]atomic.Int64
	pushed  atomic.Int64
	list    list

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// budgets are the allowances of rules, by kind; those that are off are not there.
type budgets [kinds]*allowance

// New returns a Limiter that has counted nothing yet. Close must follow.
func New(cfg Config) *Limiter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	cfg.Rules = cfg.Rules.or(Defaults())
	l := &Limiter{cfg: cfg, all: cfg.Rules.budgets(), own: map[string]*budgets{}, began: cfg.Now(),
		seed: maphash.MakeSeed()}
	for slug, rules := range cfg.Tenants {
		own := rules.or(cfg.Rules).budgets()
		l.own[slug] = &own
	}
	for kind := range l.tables {
		l.tables[kind].kind, l.tables[kind].seed, l.tables[kind].pushed = Kind(kind), l.seed, &l.pushed
	}
	l.share()
	return l
}

// budgets returns the allowances of the rules. Wrong secrets from one address have ten times the room of those for one
// client from it. Those for one client from everywhere have no bound: it would be a way to have the client refused.
func (r Rules) budgets() (all budgets) {
	for kind, rate := range map[Kind]Rate{
		Address: r.Address, Client: r.Client, TenantOf: r.Tenant,
		Pair: r.SecretFailures, Guesser: r.SecretFailures.times(10), repeated: r.SecretFailures,
	} {
		if a, on := rate.allowance(); on {
			all[kind] = &a
		}
	}
	return all
}

// of returns the budgets of a tenant.
func (l *Limiter) of(t Tenant) *budgets {
	if own := l.own[t.Slug]; own != nil {
		return own
	}
	return &l.all
}

// now returns the time since the limiter began.
func (l *Limiter) now() int64 { return int64(l.cfg.Now().Sub(l.began)) }

// Request counts a request of which nothing is known but the tenant in its URL and the address it comes from. The error
// is a *fault.Error of kind TooMany. What an address is refused does not count for the tenant, so that no single one
// can use up what the tenant has.
func (l *Limiter) Request(t Tenant, from netip.Addr) error {
	now, rules := l.now(), l.of(t)
	if err := l.take(rules, Address, key{t.ID, place(from)}, now); err != nil {
		return err
	}
	return l.take(rules, TenantOf, key{tenant: t.ID}, now)
}

// Client counts a request whose client has proven who it is. The error is a *fault.Error of kind TooMany. Claims do not
// count: a stranger could use up a client's budget by naming it.
func (l *Limiter) Client(t Tenant, client string) error {
	return l.take(l.of(t), Client, key{t.ID, named(client)}, l.now())
}

// Part counts a use of a part of a tenant whose rate stands in the tenant's configuration, such as a tool's. name tells
// its parts apart. A rate that is off, or not given, allows everything. The error is a *fault.Error of kind TooMany.
func (l *Limiter) Part(t Tenant, name string, r Rate) error {
	a, on := r.allowance()
	if !on {
		return nil
	}
	var rules budgets
	rules[Part] = &a
	sum := sha256.Sum256([]byte(name))
	return l.take(&rules, Part, key{t.ID, [16]byte(sum[:16])}, l.now())
}

// take takes a token of a budget, or refuses.
func (l *Limiter) take(rules *budgets, kind Kind, k key, now int64) error {
	a := rules[kind]
	if a == nil {
		return nil
	}
	b := l.tables[kind].get(k, now)
	wait := b.take(now, *a)
	if wait > 0 { // who was kept waiting since it looked at the clock looks again; time must not count against it
		wait = b.take(l.now(), *a)
	}
	if wait > 0 {
		return l.refuse(kind, wait)
	}
	l.note(b, a.cost)
	return nil
}

// The reasons of refusals, for the log.
const (
	ReasonAddress = "limit.address"
	ReasonClient  = "limit.client"
	ReasonTenant  = "limit.tenant"
	ReasonSecret  = "limit.secret"
	ReasonPart    = "limit.part"
)

// refuse returns the refusal of a kind.
func (l *Limiter) refuse(kind Kind, wait time.Duration) error {
	l.refused[kind].Add(1)
	reason, public := ReasonSecret, "There were too many wrong secrets; even the right one is refused until the time "+
		"in Retry-After has passed."
	switch kind {
	case Address:
		reason, public = ReasonAddress, "Too many requests from this address; wait as long as Retry-After says."
	case Client:
		reason, public = ReasonClient, "Too many requests of this client; wait as long as Retry-After says."
	case Part:
		reason, public = ReasonPart, "Too many requests for this tool; wait as long as Retry-After says."
	case TenantOf:
		reason, public = ReasonTenant, "Too many requests for this tenant; wait as long as Retry-After says."
	}
	f := fault.New(fault.TooMany, reason, public)
	f.RetryAfter = wait
	return f
}

// place returns what counts as one address: an IPv4 address, or the /64 that every IPv6 host can roam in.
func place(from netip.Addr) [16]byte {
	id := from.As16()
	if !from.Is4() && !from.Is4In6() {
		clear(id[8:])
	}
	return id
}

// maxName is longer than any client's id. What is longer names nobody, and no more of it than that is hashed.
const maxName = 64

// named returns the id of a client's budget: the client's own if it fits, else a hash of it.
func named(client string) (id [16]byte) {
	if len(client) < len(id) {
		copy(id[:], client)
		return id
	}
	sum := sha256.Sum256([]byte(client[:min(len(client), maxName)]))
	copy(id[:], sum[:])
	id[0] |= 0x80 // no character of an id
	return id
}

// Stats is what a Limiter has done since it began.
type Stats struct {
	Address, Client, Tenant, Secret int64 // refusals
	// Forgotten are budgets that were dropped before they were full again, because others needed their place.
	Forgotten int64
	// Unshared are rounds in which other processes were not told everything, or did not tell.
	Unshared int64
}

// Stats returns what was counted.
func (l *Limiter) Stats() Stats {
	s := Stats{Address: l.refused[Address].Load(), Client: l.refused[Client].Load(), Tenant: l.refused[TenantOf].Load(),
		Forgotten: l.pushed.Load(), Unshared: l.list.failed.Load()}
	for _, kind := range []Kind{Pair, Guesser, repeated} {
		s.Secret += l.refused[kind].Load()
	}
	return s
}
