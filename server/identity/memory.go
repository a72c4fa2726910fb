package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

// memory holds the results of verifications, so that a token that an agent trades many times is verified once. Only
// successes are held. It has two generations: when the young one is full or old it becomes the old one, and the old one
// is dropped whole. So it is bounded, and forgets in time without looking at every entry.
type memory struct {
	max  int // entries of one generation
	keep time.Duration

	mu    sync.Mutex // guards what follows
	young map[recollection]verdict
	old   map[recollection]verdict
	born  time.Time // of young
}

// recollection names a token by its exact bytes, for one tenant and one claimed type. That is enough for a positive
// result; replay and revocation must never be looked up by it, since one token can be spelled in several ways.
type recollection struct {
	tenant string
	as     TokenType
	sum    [sha256.Size]byte
}

// verdict is a success and what it rested on: it counts only while the entry and the keys are still the same.
type verdict struct {
	principal *Principal
	entry     [sha256.Size]byte
	keys      [sha256.Size]byte
	until     time.Time
}

func newMemory(size int, keep time.Duration) *memory {
	return &memory{max: max(size/2, 1), keep: keep, young: make(map[recollection]verdict)}
}

func (m *memory) get(r recollection, now time.Time) (verdict, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.young[r]
	if !ok {
		v, ok = m.old[r]
	}
	return v, ok && now.Before(v.until)
}

// put holds v until its principal's token expires, and no longer than keep.
func (m *memory) put(r recollection, v verdict, now time.Time) {
	v.until = now.Add(m.keep)
	if v.principal.Expiry.Before(v.until) {
		v.until = v.principal.Expiry
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= m.max || now.Sub(m.born) >= m.keep {
		m.old, m.young, m.born = m.young, make(map[recollection]verdict), now
	}
	m.young[r] = v
}
