package shim

import (
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// gate is what may be done at once: at a tool, or by one agent at a tool.
type gate struct {
	tenant       ledger.Tenant
	tool, client string // no client is all of them
}

// gates count the calls that are under way.
type gates struct {
	mu   sync.Mutex
	open map[gate]int
}

// guesses counts, by agent and tool, the answers in which the beginning of a key stood at the end of a text. Masking it
// tells whoever can have text of theirs repeated there whether they guessed right; so that may not happen often.
type guesses struct {
	mu   sync.Mutex
	seen map[gate]guessed
}

type guessed struct {
	count int
	since time.Time
}

// An agent may meet so many such answers in so long.
const (
	maxGuesses = 3
	guessTime  = time.Hour
)

func agentAt(g *Grant) gate { return gate{g.view.ID, g.tool.Name, g.claims.ClientID} }

// note counts an answer.
func (g *guesses) note(who gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen == nil {
		g.seen = map[gate]guessed{}
	}
	now, s := time.Now(), g.seen[who]
	if now.Sub(s.since) > guessTime {
		s = guessed{since: now}
	}
	s.count++
	g.seen[who] = s
}

// check refuses an agent that has met too many.
func (g *guesses) check(who gate) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, left := g.seen[who], time.Duration(0)
	if left = guessTime - time.Since(s.since); s.count < maxGuesses || left <= 0 {
		return nil
	}
	f := fault.New(fault.TooMany, "limit.guesses", "Answers of this tool ended with the beginning of its key too often. "+
		"Somebody has to look why; until Retry-After this agent's calls of it are refused.")
	f.RetryAfter = left
	return f
}

// enter counts a call until leave, or refuses it.
func (g *gates) enter(grant *Grant) (leave func(), err error) {
	bounds := grant.tool.Upstream.Limits
	all := gate{tenant: grant.view.ID, tool: grant.tool.Name}
	own := all
	own.client = grant.claims.ClientID
	g.mu.Lock()
	defer g.mu.Unlock()
	if full(g.open[all], bounds.Concurrent) || full(g.open[own], bounds.AgentConcurrent) {
		f := fault.New(fault.TooMany, "limit.concurrent", "Too many calls of this tool are under way; wait for one to end.")
		f.RetryAfter = time.Second
		return nil, f
	}
	if g.open == nil {
		g.open = map[gate]int{}
	}
	g.open[all]++
	g.open[own]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, k := range []gate{all, own} {
			if g.open[k]--; g.open[k] == 0 {
				delete(g.open, k)
			}
		}
	}, nil
}

// full reports whether so many are as many as may be; a bound of 0 is none.
func full(open, bound int) bool { return bound > 0 && open >= bound }
