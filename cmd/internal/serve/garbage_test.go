package serve

import (
	"runtime/debug"
	"testing"
)

func TestGarbageMayPileUpToTheHeadroomOrByItsMultiple(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 400, 1 << 20: 400, 32 << 20: 400, 64 << 20: 200, 128 << 20: 100, 1 << 30: 100,
	} {
		if got := percentage(live); got != want {
			t.Errorf("%d MiB live: %d %%, want %d", live>>20, got, want)
		}
	}
}

var sink []byte

func TestAServerThatIsIdleGivesItsGarbageBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	t.Setenv("GOGC", "")
	g := garbage{percent: 400}
	for range 64 {
		sink = make([]byte, 1<<20)
	}
	sink = nil
	g.look() // it has been busy
	if h := readHeap(); h.objects < 64<<20 {
		t.Fatalf("%d MiB of objects: collected while busy, or the test does not test it", h.objects>>20)
	}
	g.look()
	if h := readHeap(); h.objects > 32<<20 {
		t.Errorf("%d MiB of objects stay", h.objects>>20)
	}
}

func TestAnOperatorsGOGCIsLeftAlone(t *testing.T) {
	t.Setenv("GOGC", "77")
	debug.SetGCPercent(77)
	defer debug.SetGCPercent(100)
	new(garbage).look()
	if got := debug.SetGCPercent(100); got != 77 {
		t.Errorf("it is %d", got)
	}
}
