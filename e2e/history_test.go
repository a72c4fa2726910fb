package e2e_test

import (
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// through returns the world as it is seen through another of its servers.
func (w *world) through(s *harness.Server) *world {
	seen := *w
	seen.Server = s
	return &seen
}

// Three servers write one log and sign its heads, and each of them is killed amid it, then Redis too. All checkpoints
// that any of them served are of one history, in which every token is that somebody received.
func TestServersThatAreKilledSignOneHistory(t *testing.T) {
	t.Parallel()
	const concurrent = 60
	rounds := 2
	if harness.Full() {
		rounds = 10
	}
	x := newThreesome(t)
	outside := x.Auditor(t, "acme")
	outside.Watch(t, x.servers...)
	form := harness.Form(x.workload(t), payments, readRefunds)
	var tokens []string
	for round := range rounds {
		tokens = append(tokens, x.killAll(t, form, concurrent, round)...)
		if round%2 == 1 {
			x.Redis.Kill()
			x.Redis.Restart(t)
		}
		all(len(x.servers), func(i int) { x.servers[i].Restart(t) })
		for _, s := range x.servers {
			outside.Passes(t, s, tokens...)
		}
	}
	for _, s := range x.servers {
		outside.Consistent(t, s)
	}
	if n := len(outside.Shown(t)); n < 3*rounds {
		t.Errorf("%d checkpoints were served: too few to contradict each other", n)
	}
	if len(tokens) < rounds*len(x.servers) || len(tokens) >= concurrent*rounds*len(x.servers) {
		t.Errorf("%d tokens were received: no server was killed amid them", len(tokens))
	}
}

// killAll sends exchanges to all servers, and kills each when a number of its own have arrived.
func (x *threesome) killAll(t *testing.T, form url.Values, concurrent, round int) (tokens []string) {
	t.Helper()
	var mu sync.Mutex
	all(len(x.servers), func(i int) {
		received := killDuring(t, x.through(x.servers[i]), form, concurrent, (7*round+10*i)%(concurrent/2))
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, received...)
	})
	return tokens
}

// Three servers hammer one log until each has signed heads of it, in between those of the others: every checkpoint that
// was served goes on from the one before it, whoever signed it.
func TestServersThatSignTogetherSignOneHistory(t *testing.T) {
	t.Parallel()
	x := newThreesome(t)
	outside := x.Auditor(t, "acme")
	stop := outside.Watch(t, x.servers...)
	signed := make([]int, len(x.servers))
	for i, s := range x.servers {
		signed[i] = metric(t, s, "bursar_log_heads_total")
	}
	var loads []*load
	for _, s := range x.servers {
		l := new(load)
		l.start(t, x.through(s), 4)
		loads = append(loads, l)
	}
	for i, s := range x.servers {
		harness.Eventually(t, "each server has signed heads", func() bool {
			return t.Failed() || metric(t, s, "bursar_log_heads_total") >= signed[i]+10
		})
	}
	var tokens []string
	for _, l := range loads {
		l.stop()
		tokens = append(tokens, l.received...)
	}
	stop()
	for _, s := range x.servers {
		outside.Passes(t, s, tokens...)
		outside.Consistent(t, s)
	}
	if n := len(outside.Shown(t)); n < 10 {
		t.Errorf("%d checkpoints were served: too few to contradict each other", n)
	}
}

// metric returns the value of a metric without labels, which counts something.
func metric(t *testing.T, s *harness.Server, name string) int {
	t.Helper()
	text := harness.Get(t, s.Metrics).Body
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no metric %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(value)
}
