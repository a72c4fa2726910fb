// Package memory remembers for a moment what was found out about a token, so that one that comes many times is verified
// once.
package memory

import (
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Memory holds values by tenant and key. Each tenant has two generations: when the young one is full or old it becomes
// the old one, and the old one is dropped whole. So memory is bounded, and forgets in time without looking at every
// entry. A generation is counted in bytes of compact tokens; with its claims a token takes about four times as much,
// and whoever has one that takes more says that it is longer.
//
// It is safe for concurrent use.
type Memory[K comparable, V any] struct {
	limit int // bytes of all young generations together: then every tenant's becomes the old one
	share int // bytes of one tenant's: then only its own does, so that no tenant makes others be forgotten
	keep  time.Duration

	mu      sync.RWMutex
	tenants map[ledger.Tenant]*generations[K, V]
	size    int       // bytes in the young generations
	born    time.Time // when all of them last began
}

// generations are what is remembered for one tenant.
type generations[K comparable, V any] struct {
	young, old map[K]entry[V]
	size       int // bytes in young
}

type entry[V any] struct {
	value V
	until time.Time
}

// New returns a memory for tokens of so many bytes, of which one tenant can have a quarter. It holds nothing for longer
// than keep.
func New[K comparable, V any](bytes int, keep time.Duration) *Memory[K, V] {
	return &Memory[K, V]{limit: bytes / 2, share: bytes / 8, keep: keep,
		tenants: make(map[ledger.Tenant]*generations[K, V])}
}

// Get returns what is remembered.
func (m *Memory[K, V]) Get(t ledger.Tenant, key K, now time.Time) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var none V
	g := m.tenants[t]
	if g == nil {
		return none, false
	}
	e, ok := g.young[key]
	if !ok {
		e, ok = g.old[key]
	}
	if !ok || !now.Before(e.until) {
		return none, false
	}
	return e.value, true
}

// Put remembers what was found out about a token of so many bytes that expires at expiry.
func (m *Memory[K, V]) Put(t ledger.Tenant, key K, value V, bytes int, expiry, now time.Time) {
	e := entry[V]{value, now.Add(m.keep)}
	if expiry.Before(e.until) {
		e.until = expiry
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size+bytes > m.limit || now.Sub(m.born) >= m.keep {
		m.age(now)
	}
	g := m.tenants[t]
	if g == nil {
		g = &generations[K, V]{young: make(map[K]entry[V])}
		m.tenants[t] = g
	}
	if g.size+bytes > m.share {
		m.size -= g.size
		g.age()
	}
	if _, known := g.young[key]; !known {
		g.size += bytes
		m.size += bytes
	}
	g.young[key] = e
}

// age makes every young generation the old one.
func (m *Memory[K, V]) age(now time.Time) {
	for t, g := range m.tenants {
		if g.age(); len(g.old) == 0 {
			delete(m.tenants, t)
		}
	}
	m.size, m.born = 0, now
}

func (g *generations[K, V]) age() {
	g.old, g.young, g.size = g.young, make(map[K]entry[V]), 0
}
