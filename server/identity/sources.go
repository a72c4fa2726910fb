package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/memory"
)

// Config configures Sources. The zero value is complete: every field has the default that it names.
type Config struct {
	Now func() time.Time // time.Now
	// Deny returns the server's own listeners and its store, which are never dialled for a tenant; none.
	Deny func() []netip.AddrPort
	// Lookup resolves host names; net.DefaultResolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// RootCAs are whom https is trusted by; the system's.
	RootCAs *x509.CertPool
	// MaxAge is how soon a key that its issuer removed is no longer accepted; 5 minutes.
	MaxAge time.Duration
	// MaxStale is how long keys serve on while their issuer cannot be reached; 1 hour.
	MaxStale time.Duration
	// RefetchFloor is the time between two fetches on account of unknown keys; 30 seconds.
	RefetchFloor time.Duration
	// FetchTimeout bounds one fetch of keys with everything that belongs to it; 2 seconds.
	FetchTimeout time.Duration
	// Fetched is told of each fetch of keys that has ended, and why it failed. It may be called concurrently; nobody.
	Fetched func(error)
	// Remember is how long a verified token need not be verified again; 60 seconds.
	Remember time.Duration
	// MaxRemembered bounds the tokens that are remembered, in bytes; 16 MiB. One tenant can have a quarter of it.
	MaxRemembered int
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Fetched == nil {
		c.Fetched = func(error) {}
	}
	c.MaxAge = cmp.Or(c.MaxAge, 5*time.Minute)
	c.MaxStale = cmp.Or(c.MaxStale, time.Hour)
	c.RefetchFloor = cmp.Or(c.RefetchFloor, 30*time.Second)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, 2*time.Second)
	c.Remember = cmp.Or(c.Remember, time.Minute)
	c.MaxRemembered = cmp.Or(c.MaxRemembered, 16<<20)
	return c
}

// Sources owns what outlives a tenant's configuration: fetched keys, the connections that fetch them, and the memory of
// tokens verified a moment ago. It is safe for concurrent use. Keys and memory are kept by tenant: nothing that one
// tenant caused is ever used for another.
type Sources struct {
	config   Config
	guard    dial.Guard
	verified *memory.Memory[recollection, verdict]

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // fetches

	mu      sync.Mutex // guards what follows
	closed  bool
	keys    map[location]*Keys
	sweepAt int // number of key sets at which unused ones are looked for
}

// location is where keys are fetched, and for whom.
type location struct {
	tenant ledger.Tenant
	issuer string // found by discovery if uri is empty
	uri    string
	spiffe bool
	ranges string // the private ranges that may be dialled
}

// minSweep is the number of key sets below which looking for unused ones is not worth it.
const minSweep = 64

// NewSources returns Sources that hold no keys yet. Close ends them.
func NewSources(c Config) *Sources {
	c = c.withDefaults()
	s := &Sources{
		config:   c,
		guard:    dial.Guard{Deny: c.Deny, Lookup: c.Lookup, Timeout: c.FetchTimeout},
		verified: memory.New[recollection, verdict](c.MaxRemembered, c.Remember),
		keys:     make(map[location]*Keys),
		sweepAt:  minSweep,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends all fetches and waits for them. What would have to be fetched is unavailable from then on.
func (s *Sources) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// start runs f on a goroutine that Close waits for. It reports false, and does not run f, after Close.
func (s *Sources) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(f)
	}
	return !s.closed
}

// Pool returns the trusted issuers of one tenant. ceiling are the private ranges that the platform lets the tenant use;
// conditions holds, by issuer name, the compiled condition of every entry that has one. Entries with mistakes, entries
// that share a selector, and entries whose condition is not there are not trusted. Keys that an earlier Pool of the
// tenant fetched for an entry with the same source are used on.
func (s *Sources) Pool(t ledger.Tenant, ceiling []netip.Prefix, issuers []Issuer,
	conditions map[string]Condition) *Pool {
	p := &Pool{sources: s, tenant: t, bySelector: make(map[string]*entry),
		byHash: make(map[[sha256.Size]byte]*entry)}
	for _, i := range issuers {
		condition := conditions[i.Name]
		if len(i.Check()) > 0 || i.Condition != "" && condition == nil {
			continue
		}
		i = i.withDefaults()
		e := &entry{Issuer: i, hash: i.hash(), condition: condition}
		if len(i.JWKS) > 0 {
			e.keys = inlineKeys(s, i.JWKS, i.Kind == SPIFFE)
		} else {
			at := location{tenant: t, issuer: i.Issuer, uri: i.JWKSURI, spiffe: i.Kind == SPIFFE}
			e.keys = s.remoteKeys(at, ceiling, i.Network.AllowPrivate)
		}
		for _, selector := range i.Selectors() {
			if _, taken := p.bySelector[selector]; taken {
				e = nil // and so is the one that was there: neither can claim the token
			}
			p.bySelector[selector] = e
		}
		if e != nil {
			p.byHash[e.hash] = e
		}
	}
	return p
}

// hash identifies everything about the entry that decides whether a token is accepted.
func (i Issuer) hash() [sha256.Size]byte {
	text, err := json.Marshal(i)
	if err != nil { // a Check without mistakes leaves nothing that does not marshal
		panic("marshal issuer: " + err.Error())
	}
	return sha256.Sum256(text)
}

// ClientKeys returns the keys that a client publishes at uri to sign its own assertions with (RFC 7523). ceiling and
// allowPrivate mean what they mean for an issuer. Asking again returns the same Keys.
func (s *Sources) ClientKeys(t ledger.Tenant, ceiling []netip.Prefix, uri string, allowPrivate bool) *Keys {
	return s.remoteKeys(location{tenant: t, uri: uri}, ceiling, allowPrivate)
}

// remoteKeys returns the keys of a location, which all who name the same one share.
func (s *Sources) remoteKeys(at location, ceiling []netip.Prefix, allowPrivate bool) *Keys {
	guard := s.guard
	if allowPrivate {
		guard.Allow = ceiling
		at.ranges = fmt.Sprint(ceiling)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.keys[at]; ok {
		return k
	}
	if len(s.keys) >= s.sweepAt {
		s.sweep()
	}
	k := &Keys{sources: s, spiffe: at.spiffe, from: newFetcher(at, &guard, s.config.RootCAs)}
	k.used.Store(s.config.Now().Unix())
	s.keys[at] = k
	return k
}

// sweep forgets keys that nobody used for so long that they would have to be fetched anew. A Pool that still holds them
// keeps working.
func (s *Sources) sweep() {
	oldest := s.config.Now().Add(-s.config.MaxStale).Unix()
	maps.DeleteFunc(s.keys, func(_ location, k *Keys) bool { return k.used.Load() < oldest })
	s.sweepAt = max(minSweep, 2*len(s.keys))
}
