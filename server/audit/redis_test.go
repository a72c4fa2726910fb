package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/storage/redis"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// load appends from many callers until it is stopped, and remembers what they were told.
type load struct {
	log *audit.Log

	mu     sync.Mutex
	turn   sync.Cond
	acks   map[string]int64 // id → index
	failed map[string]bool
	over   bool
	wg     sync.WaitGroup
}

func startLoad(l *audit.Log, callers int) *load {
	w := &load{log: l, acks: map[string]int64{}, failed: map[string]bool{}}
	w.turn.L = &w.mu
	for caller := range callers {
		w.wg.Go(func() {
			for call := 0; w.call(fmt.Sprintf("%d-%d", caller, call)); call++ {
			}
		})
	}
	return w
}

func (w *load) call(id string) bool {
	p, err := w.log.Append(context.Background(), origin, event(id))
	if err != nil {
		time.Sleep(time.Millisecond) // a client backs off
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed[id] = true
	} else {
		w.acks[id] = p.Index
	}
	w.turn.Broadcast()
	return !w.over
}

// wait returns when the callers were told n more times that it worked, and m more times that it failed.
func (w *load) wait(n, m int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, m = n+len(w.acks), m+len(w.failed)
	for len(w.acks) < n || len(w.failed) < m {
		w.turn.Wait()
	}
}

func (w *load) stop() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.wg.Wait()
}

func TestNothingAcknowledgedIsLostAndNothingFailedIsLeftStanding(t *testing.T) {
	// With everysec, Redis may answer up to two seconds before it writes, while the disk is slow; what is killed then has
	// lost something, and the log that misses it freezes.
	server := storagetest.StartRedis(t, "--appendfsync", "always")
	db, err := redis.Open(t.Context(), redis.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	l := audit.New(audit.Config{Store: withKeys{db}, Master: master, Deadline: 50 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler)})
	callers := startLoad(l, 16)
	callers.wait(100, 0)
	for range 3 {
		server.Pause(t)
		callers.wait(0, 32)
		server.Resume(t)
		callers.wait(100, 0)
		server.Kill()
		callers.wait(0, 32)
		server.Restart(t)
		callers.wait(100, 0)
	}
	callers.stop()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := history(t, l)
	seen := map[string]int{}
	for _, s := range all {
		seen[s.String()]++
	}
	for id, index := range callers.acks {
		if all[index].String() != id || seen[id] != 1 || seen[id+" not_released"] != 0 {
			t.Errorf("%s was acknowledged at %d; the log has it %d times, that place is %s", id, index, seen[id], all[index])
		}
	}
	for id := range callers.failed {
		if seen[id] > 1 || seen[id] != seen[id+" not_released"] {
			t.Errorf("%s failed; it is there %d times and followed up %d times", id, seen[id], seen[id+" not_released"])
		}
	}
	followed := 0
	for entry, n := range seen {
		if strings.HasSuffix(entry, "not_released") {
			followed += n
		}
	}
	if followed == 0 {
		t.Error("no failure was followed up: the test does not test it")
	}
}
