package e2e_test

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

// TestAKeyIsRotatedUnderLoad: calls go on at 500 a second while the key is put anew and activated, again and again, and
// while the data key that seals it is replaced. The upstream accepts a key until the next one is active, as the
// rotation of a key wants. No call fails, and each carries the key that was active when it began or a later one.
func TestAKeyIsRotatedUnderLoad(t *testing.T) {
	rotations := 4
	if harness.Full() {
		rotations = 20
	}
	eachShim(t, func(t *testing.T, w *shimWorld) {
		token := w.token(t, "legacy")
		stop, failed, sent := w.load(t, token, 500)
		current := acmeKey
		for i := range rotations {
			next := fmt.Sprintf("%s-%d", nextKey, i)
			w.up.Accept(current, next)
			w.put(t, "acme/legacy-key", next, everyPlain...)
			after := fmt.Sprintf("/v1/items/after-%d", i)
			if reply := w.get(t, "legacy", after); reply.Status != 200 || !slices.Equal(w.keysOf(after), []string{next}) {
				t.Errorf("the call after activation does not carry the new key: %d", reply.Status)
			}
			if i > 0 { // a secret has no more than 16 versions, and no call is left that needs this one
				w.run(t, "secret", "destroy", "acme/legacy-key", strconv.Itoa(i))
			}
			if i%2 == 1 {
				w.run(t, "keys", "rotate", "acme", "--vault")
			}
			current = next
		}
		at := sent.Load()
		harness.Eventually(t, "calls have gone on", func() bool { return sent.Load() > at+200 })
		stop()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d calls failed", n, sent.Load())
		}
		if n := sent.Load(); n < int64(rotations)*50 {
			t.Errorf("only %d calls were made", n)
		}
	})
}

// keysOf returns the keys of the calls of a path that the upstream got.
func (w *shimWorld) keysOf(path string) (keys []string) {
	for _, r := range w.up.Requests() {
		if strings.HasSuffix(r.Target, path) {
			keys = append(keys, r.Get("X-Api-Key")...)
		}
	}
	return keys
}

// load makes calls at a rate until stop is called, which waits for the last of them.
func (w *shimWorld) load(t *testing.T, token string, rate int) (stop func(), failed, sent *atomic.Int64) {
	t.Helper()
	var held atomic.Int64
	failed, sent = new(atomic.Int64), new(atomic.Int64)
	done := make(chan struct{})
	due := make(chan struct{}, rate)
	var all sync.WaitGroup
	all.Go(func() {
		ticks := time.NewTicker(time.Second / time.Duration(rate))
		defer ticks.Stop()
		defer close(due)
		for {
			select {
			case <-done:
				return
			case <-ticks.C:
				select {
				case due <- struct{}{}:
				default: // the machine is slower than that
				}
			}
		}
	})
	request := w.request(token, "legacy", "GET", "/v1/items/1", "")
	for range 32 {
		all.Go(func() {
			c, err := raw.Open(w.Shim)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			for range due {
				_, _ = io.WriteString(c.Conn, request)
				reply, err := c.Reply("GET")
				sent.Add(1)
				if err == nil && stalled(reply) {
					held.Add(1)
					continue
				}
				if err != nil || reply.Status != 200 || !reply.Whole || strings.Contains(string(reply.Body), "false") {
					failed.Add(1)
					t.Logf("a call failed: %v, %d %s", err, reply.Status, reply.Body)
				}
				if err != nil {
					return
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(done)
		all.Wait()
		if n := held.Load(); n*10 > sent.Load() {
			t.Errorf("the disk held up %d of %d calls: that shows nothing", n, sent.Load())
		}
	}), failed, sent
}

// stalled reports whether a call was refused because the disk did not answer in time, which is not what is tried here,
// and happens where many tests share one. A tenant that is being changed is no reason.
func stalled(reply *raw.Reply) bool {
	return reply.Status == 503 && reply.Get("Retry-After") != "" && !strings.Contains(string(reply.Body), "being changed")
}

// TestADisabledKeyStopsTheNextCall: under load, too, no call that begins after the command has returned is sent.
func TestADisabledKeyStopsTheNextCall(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		token := w.token(t, "legacy")
		for range 5 {
			stop, _, sent := w.load(t, token, 200)
			at := sent.Load()
			harness.Eventually(t, "calls are made", func() bool { return sent.Load() > at+20 })
			w.run(t, "secret", "disable", "acme/legacy-key")
			problem(t, "the next call", w.get(t, "legacy", "/v1/items/1"), 403, "credential_disabled")
			stop()
			before := w.up.Count().Requests
			problem(t, "a later call", w.get(t, "legacy", "/v1/items/1"), 403, "credential_disabled")
			if n := w.up.Count().Requests; n != before {
				t.Errorf("%d calls were sent", n-before)
			}
			w.run(t, "secret", "enable", "acme/legacy-key")
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
				t.Errorf("enabled again: %d", reply.Status)
			}
		}
	})
}

// TestARewrapThatIsKilledGoesOn: the data key of a tenant with many secrets is replaced, and the server is killed amid
// the work. Every secret opens before, between and after, and in the end nothing needs the old key.
func TestARewrapThatIsKilledGoesOn(t *testing.T) {
	secrets := 30
	if harness.Full() {
		secrets = 60
	}
	eachShim(t, func(t *testing.T, w *shimWorld) {
		for i := range secrets {
			w.put(t, fmt.Sprintf("acme/many-%d", i), acmeKey, "header")
		}
		for i := range 3 {
			killed := make(chan struct{})
			go func() {
				defer close(killed)
				_, _ = w.Bursar(t, "keys", "rotate", "acme", "--vault") // whose connection may break
			}()
			time.Sleep(time.Duration(10+20*i) * time.Millisecond) // anywhere amid it
			w.Kill()
			<-killed
			w.Restart(t)
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
				t.Fatalf("after a kill: %d %s", reply.Status, reply.Body)
			}
		}
		w.run(t, "keys", "rotate", "acme", "--vault")
		harness.Eventually(t, "the old data keys are gone", func() bool {
			n := 0
			w.inStore(t, "acme", func(s rowStore) { n = s.count("dek/vault") })
			return n == 1
		})
		for i := range secrets {
			name := fmt.Sprintf("many-%d", i)
			w.with(t, "one", strings.Replace(injections["legacy"], "legacy-key", name, 1), rules)
			if reply := w.get(t, "one", "/v1/items/1"); reply.Status != 200 {
				t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
			}
			if !harness.Full() && i == 5 {
				break
			}
		}
	})
}
