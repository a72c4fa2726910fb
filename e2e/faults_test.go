package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// Nothing leaves the server that is not in the log: whenever it dies, every token that somebody received has its event,
// and the log verifies, against every checkpoint that was served meanwhile.
func TestEveryReceivedTokenHasItsEventAfterKill9(t *testing.T) {
	const concurrent = 1000
	rounds := 2
	if harness.Full() {
		rounds = 20
	}
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		before := int64(len(w.Events(t, "acme", 0)))
		outside := w.Auditor(t, "acme")
		outside.Watch(t, w.Server)
		received := 0
		for round := range rounds {
			tokens := killDuring(t, w, form, concurrent, concurrent*round/rounds)
			w.Restart(t)
			log := w.Events(t, "acme", before)
			harness.CheckNumbers(t, log)
			before += int64(len(log))
			recorded := harness.Issued(log)
			for _, token := range tokens {
				if !recorded[harness.ID(token)] {
					t.Errorf("round %d: a token was received and is not in the log", round)
				}
			}
			outside.Passes(t, w.Server, tokens...)
			w.acme().MustExchange(t, form) // it serves
			before++
			received += len(tokens)
		}
		if received < concurrent/4 || received > concurrent*rounds-rounds {
			t.Errorf("%d tokens of %d were received: the server was not killed amid them", received, concurrent*rounds)
		}
	})
}

// killDuring sends exchanges all at once, kills the server when more than so many tokens have arrived, and returns
// those that did. A server that is overrun may answer 503; who gets that asks again.
func killDuring(t *testing.T, w *world, form url.Values, concurrent, arrived int) []string {
	t.Helper()
	var mu sync.Mutex
	var tokens []string
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for range concurrent {
		clients.Go(func() {
			a, err := w.acme().Send(t.Context(), "token", form)
			for err == nil && a.Status == http.StatusServiceUnavailable && a.Token() == "" {
				a, err = w.acme().Send(t.Context(), "token", form)
			}
			if err != nil {
				return // the server is gone
			}
			if a.Status != http.StatusOK {
				t.Errorf("status %d %s", a.Status, a.Body)
			}
			mu.Lock()
			defer mu.Unlock()
			if tokens = append(tokens, a.Token()); len(tokens) == arrived+1 {
				close(enough)
			}
		})
	}
	<-enough
	w.Kill()
	clients.Wait()
	return tokens
}

// All requests that wait for a server to start are served when it does, however many they are.
func TestTheFirstRequestsAfterAStartAreAllServed(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		for range 3 {
			w.Kill()
			w.Restart(t)
			var served atomic.Int64
			all(64, func(int) {
				if a, err := w.acme().Send(t.Context(), "token", form); err == nil && a.Status == http.StatusOK {
					served.Add(1)
				}
			})
			if served.Load() != 64 {
				t.Errorf("%d of 64 requests were served", served.Load())
			}
		}
	})
}

// T-55: while Redis is away every answer is 503, in time and without a token, and when it is back the service is too.
// It does not run beside other tests, since it looks at the time.
func TestRedisStoppedUnderLoad(t *testing.T) {
	w := newWorld(t, harness.Start(t, "redis"))
	api := w.as(t, "payments-api")
	outside := w.Auditor(t, "acme")
	outside.Watch(t, w.Server)
	for _, outage := range []struct {
		name       string
		begin, end func(testing.TB)
	}{
		{"stopped", func(testing.TB) { w.Redis.Stop() }, w.Redis.Restart},
		{"killed", func(testing.TB) { w.Redis.Kill() }, w.Redis.Restart},
		{"hanging", w.Redis.Pause, w.Redis.Resume},
	} {
		t.Run(outage.name, func(t *testing.T) {
			l := &load{inTime: true}
			l.start(t, w, 16)
			l.await(t, "tokens before the outage", &l.tokens, 200)
			outage.begin(t)
			over := sync.OnceFunc(func() { outage.end(t) })
			defer over() // the next outage begins with a Redis that runs
			l.await(t, "refusals", &l.refusals, 100)
			token := l.last()
			ready := harness.Get(t, w.URL+"/readyz")
			for _, a := range []*harness.Answer{api.Introspect(t, token), api.Revoke(t, token), ready} {
				if a.Status != http.StatusServiceUnavailable || a.Took > limit {
					t.Errorf("status %d after %s: %s", a.Status, a.Took, a.Body)
				}
			}
			over()
			l.await(t, "tokens after the outage", &l.tokens, 200)
			l.stop()
			log := w.Events(t, "acme", 0)
			harness.CheckNumbers(t, log)
			recorded := harness.Issued(log)
			for _, token := range l.received {
				if !recorded[harness.ID(token)] {
					t.Error("a token was received and is not in the log")
				}
			}
			outside.Passes(t, w.Server, l.received...)
			if !api.Active(t, token) {
				t.Error("a token of before the outage is not active after it, although its revocation was refused")
			}
		})
	}
}

// limit is how soon every request is answered, whatever the store does.
const limit = 2 * time.Second

// load exchanges tokens from several goroutines until it is stopped, and judges every answer.
type load struct {
	tokens   atomic.Int64 // 200
	refusals atomic.Int64 // 503
	denials  atomic.Int64 // 400, which is a failure unless mayDeny
	mayDeny  bool
	inTime   bool // every answer must come within the limit
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	mu       sync.Mutex
	received []string
}

// start begins to exchange a workload token of w, from so many goroutines.
func (l *load) start(t *testing.T, w *world, workers int) {
	t.Helper()
	form := harness.Form(w.workload(t), payments, readRefunds)
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	t.Cleanup(l.stop)
	for range workers {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				a, err := w.acme().Send(context.WithoutCancel(ctx), "token", form)
				if err == nil {
					err = l.judge(a)
				}
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(2 * time.Millisecond) // a load, not a flood
			}
		})
	}
}

// judge counts an answer; its error is what is wrong with it.
func (l *load) judge(a *harness.Answer) error {
	switch {
	case l.inTime && a.Took > limit:
		return fmt.Errorf("status %d after %s", a.Status, a.Took)
	case a.Status == http.StatusOK && a.Token() != "":
		l.mu.Lock()
		l.received = append(l.received, a.Token())
		l.mu.Unlock()
		l.tokens.Add(1)
	case a.Status == http.StatusServiceUnavailable && a.Token() == "" && a.Header.Get("Retry-After") != "":
		l.refusals.Add(1)
	case l.mayDeny && a.Status == http.StatusBadRequest && a.Token() == "":
		l.denials.Add(1)
	default:
		return fmt.Errorf("status %d %s", a.Status, a.Body)
	}
	return nil
}

// await waits until a count has grown by so many.
func (l *load) await(t *testing.T, what string, count *atomic.Int64, more int64) {
	t.Helper()
	enough := count.Load() + more
	harness.Eventually(t, what, func() bool { return t.Failed() || count.Load() >= enough })
	if t.Failed() {
		t.FailNow()
	}
}

// last returns the newest token.
func (l *load) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received[len(l.received)-1]
}

func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}
