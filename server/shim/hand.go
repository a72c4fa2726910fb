package shim

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/tools"
)

// handed are the kinds of injection that a header carries whatever the call is: others cannot be handed to a proxy,
// which would write them into a log with the URL, or cannot be made without the body.
var handed = []tools.Kind{tools.InHeader, tools.InBearer, tools.InBasic, tools.InCookie, tools.InOAuth2}

// Hand returns the headers that a proxy must put on a call which it makes itself. Tool and secrets have to allow that:
// from here on the key is in the proxy's hands, and nobody cleans the answer or records how it ended. Like every use of
// a key it is recorded before. Errors are *fault.Error.
func (g *Grant) Hand(ctx context.Context) (http.Header, error) {
	if err := g.handable(); err != nil {
		return nil, g.shim.deny(ctx, g, err)
	}
	if err := g.Intend(ctx); err != nil {
		return nil, err
	}
	// The tenant may have changed meanwhile.
	if err := g.handable(); err != nil {
		return nil, g.abandon(err)
	}
	out := &http.Request{Method: g.call.Method, Header: http.Header{}}
	target := &inject.Target{Tenant: g.view.ID, Request: out, Dial: g.shim.guard(g)}
	for i := range g.tool.Upstream.Inject {
		injection := &g.tool.Upstream.Inject[i]
		value, err := g.view.Secrets.For(ctx, g.refs[i], g.tool.Upstream, injection)
		if err == nil {
			_, err = g.shim.injector.Apply(ctx, target, *injection, g.refs[i], value)
		}
		if err != nil {
			return nil, g.abandon(err)
		}
	}
	// Tokens and values can come from elsewhere, which takes longer than a revocation may.
	if time.Since(g.began) < every {
		return out.Header, nil
	}
	newest, err := g.shim.cfg.Tenants.Fresh(ctx, g.call.Slug)
	if err != nil {
		return nil, g.abandon(err)
	}
	if why, is := g.revoked(newest); is {
		return nil, g.abandon(why.refusal())
	}
	if !g.lasts() {
		return nil, g.abandon(badToken("expired"))
	}
	return out.Header, nil
}

func (g *Grant) handable() error {
	refused := func(public string) error { return fault.New(fault.Forbidden, "decide.not_allowed", public) }
	u := g.tool.Upstream
	switch {
	case !u.AllowDecisionMode:
		return refused("The tool does not say allow_decision_mode.")
	case g.match.Constrained():
		return refused("The rule, or the token, looks into the body, which a proxy does not show.")
	}
	for i, injection := range u.Inject {
		switch {
		case !slices.Contains(handed, injection.In):
			return refused("A key of this kind cannot be handed to a proxy.")
		case !g.view.Secrets.DecisionMode(g.refs[i]):
			return refused("The secret was not put with --decision-mode.")
		}
	}
	return nil
}

// ID names the decision in the log.
func (g *Grant) ID() string { return g.id }

// Txn returns the run that the call belongs to.
func (g *Grant) Txn() string { return g.claims.Txn }
