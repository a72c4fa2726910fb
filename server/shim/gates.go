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
