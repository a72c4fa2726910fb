package identity

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// memory holds the results of verifications, so that a token that an agent trades many times is verified once. Only
// successes are held. Each tenant has two generations: when the young one is full or old it becomes the old one, and
// the old one is dropped whole. So memory is bounded, and forgets in time without looking at every entry. A generation
// is counted in bytes of compact tokens; with its claims a token takes about four times as much.
type memory struct {
	limit int // bytes of all young generations together: then every tenant's becomes the old one
	share int // bytes of one tenant's: then only its own does, so that no tenant makes others be forgotten
	keep  time.Duration

	mu      sync.Mutex // guards what follows
	tenants map[ledger.Tenant]*generations
	size    int       // bytes in the young generations
	born    time.Time // when all of them last began
}

// generations are what is remembered for one tenant.
type generations struct {
	young, old map[recollection]verdict
	size       int // bytes in young
}

// recollection names a token by its exact bytes, for one claimed type. That is enough for a positive result; replay and
// revocation must never be looked up by it, since one token can be spelled in several ways.
type recollection struct {
	as  TokenType
	sum [sha256.Size]byte
}

// verdict is a success and what it rested on: it counts only while the entry and the keys are still the same.
type verdict struct {
	principal *Principal
	entry     [sha256.Size]byte
	keys      [sha256.Size]byte
	until     time.Time
}

// newMemory returns a memory for tokens of so many bytes, of which one tenant can have a quarter.
func newMemory(bytes int, keep time.Duration) *memory {
	return &memory{limit: bytes / 2, share: bytes / 8, keep: keep, tenants: make(map[ledger.Tenant]*generations)}
}

func (m *memory) get(t ledger.Tenant, r recollection, now time.Time) (verdict, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.tenants[t]
	if g == nil {
		return verdict{}, false
	}
	v, ok := g.young[r]
	if !ok {
		v, ok = g.old[r]
	}
	return v, ok && now.Before(v.until)
}

// put holds v, of a token of so many bytes, until the token expires, and no longer than keep.
func (m *memory) put(t ledger.Tenant, r recollection, v verdict, bytes int, now time.Time) {
	v.until = now.Add(m.keep)
	if v.principal.Expiry.Before(v.until) {
		v.until = v.principal.Expiry
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size+bytes > m.limit || now.Sub(m.born) >= m.keep {
		m.age(now)
	}
	g := m.tenants[t]
	if g == nil {
		g = &generations{young: make(map[recollection]verdict)}
		m.tenants[t] = g
	}
	if g.size+bytes > m.share {
		m.size -= g.size
		g.age()
	}
	if _, known := g.young[r]; !known {
		g.size += bytes
		m.size += bytes
	}
	g.young[r] = v
}

// age makes every young generation the old one.
func (m *memory) age(now time.Time) {
	for t, g := range m.tenants {
		if g.age(); len(g.old) == 0 {
			delete(m.tenants, t)
		}
	}
	m.size, m.born = 0, now
}

func (g *generations) age() {
	g.old, g.young, g.size = g.young, make(map[recollection]verdict), 0
}
