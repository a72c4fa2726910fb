package limit

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// The size of a table. A tenant that has half the places of a set gets no more of them at the cost of others.
const (
	sets      = 2048
	ways      = 8
	perTenant = ways / 2
)

// table holds the budgets of one kind: at most 16,384, in sets of eight. Finding one takes no lock. A new one takes the
// place of that budget of its set which is full the earliest: of one that says nothing any more, or else of the one
// that forgetting costs the least. Whoever wants to make the server forget k wrong secrets of somebody has to have k of
// his own counted in every other place of the set, and cannot know which set that is: the hash has a random seed.
type table struct {
	kind   Kind
	seed   maphash.Seed
	pushed *atomic.Int64 // counts budgets that were not full when they were pushed out
	sets   [sets]set
}

type set struct {
	mu   sync.Mutex // held to put a budget in
	ways [ways]atomic.Pointer[budget]
}

func (t *table) hash(k key) uint64 {
	return bits.RotateLeft64(maphash.String(t.seed, string(k.tenant)), 32) ^ maphash.Bytes(t.seed, k.id[:])
}

// find returns a budget that exists, or nil: nothing was taken from it lately.
func (t *table) find(k key) *budget {
	h := t.hash(k)
	return t.sets[h%sets].find(h, &k)
}

func (s *set) find(hash uint64, k *key) *budget {
	for i := range s.ways {
		if b := s.ways[i].Load(); b != nil && b.hash == hash && b.key == *k {
			return b
		}
	}
	return nil
}

// get returns a budget, made if there is none.
func (t *table) get(k key, now int64) *budget {
	h := t.hash(k)
	s := &t.sets[h%sets]
	if b := s.find(h, &k); b != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(h, &k); b != nil {
		return b
	}
	place, pushes := s.place(k, now)
	if pushes {
		t.pushed.Add(1)
	}
	b := &budget{key: k, kind: t.kind, hash: h}
	place.Store(b)
	return b
}

// place returns where a new budget goes, and whether one is lost by it that still says something.
func (s *set) place(k key, now int64) (*atomic.Pointer[budget], bool) {
	var first, own *atomic.Pointer[budget] // the earliest of all, and of the tenant
	var firstFull, ownFull int64
	of := 0
	for i := range s.ways {
		b := s.ways[i].Load()
		if b == nil {
			return &s.ways[i], false
		}
		full := b.full.Load()
		if first == nil || full < firstFull {
			first, firstFull = &s.ways[i], full
		}
		if b.tenant == k.tenant && full > now {
			of++
			if own == nil || full < ownFull {
				own, ownFull = &s.ways[i], full
			}
		}
	}
	if firstFull > now && of >= perTenant {
		return own, true
	}
	return first, firstFull > now
}
