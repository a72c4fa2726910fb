package serve

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A server makes much garbage and holds little: with Go's default, which collects whenever the heap has doubled, a
// sixth of its time went into that. So garbage may pile up to headroom, or to mostGarbage times what is live if that is
// less, but never less than Go's default lets it. GOMEMLIMIT, if it is set, is kept all the same.
const (
	headroom    = 128 << 20 // bytes
	mostGarbage = 4
)

// How a server is recognized that has just become idle, which then gives its memory back at once.
const (
	look    = time.Second // how often it is looked at
	quiet   = 1 << 20     // bytes allocated between two looks
	worth   = 8 << 20     // bytes of garbage
	unequal = 25          // by how much the percentage must be off to be set again, since setting it stops the world
)

// garbage sets when it is collected. Its zero value is ready for use.
type garbage struct {
	percent   int
	allocated uint64 // since the start, as of the last look
}

// heap is what the runtime tells, in bytes.
type heap struct{ live, objects, allocated uint64 }

func readHeap() heap {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64()}
}

// look is to be called regularly. It leaves alone what the operator has set by GOGC.
func (g *garbage) look() {
	if os.Getenv("GOGC") != "" {
		return
	}
	h := readHeap()
	if g.idle(h) {
		debug.FreeOSMemory()
		h = readHeap()
	}
	g.allocated = h.allocated
	if p := percentage(h.live); g.percent == 0 || p-g.percent > unequal || g.percent-p > unequal {
		g.percent = p
		debug.SetGCPercent(p)
	}
}

// idle reports whether little was allocated since the last look, and much of what was before is garbage.
func (g *garbage) idle(h heap) bool {
	return h.allocated-g.allocated < quiet && h.objects > h.live+worth
}

// percentage returns GOGC for a heap of which so many bytes are live.
func percentage(live uint64) int {
	return int(min(max(100*headroom/max(live, 1), 100), 100*mostGarbage))
}
