package shim

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/vault"
)

// outcomeOf tells a decision from the lack of one.
func outcomeOf(f *fault.Error) audit.Outcome {
	switch f.Kind {
	case fault.Unavailable, fault.Internal, fault.Conflict:
		return audit.Failed
	}
	return audit.Denied
}

// event is the record of a call as far as it got. Its token was verified.
func (g *Grant) event(outcome audit.Outcome, reason, phase string) audit.Event {
	if g.chain == nil { // once for all records of the call
		g.chain, g.secrets = chainOf(g.claims), namesOf(g.refs)
	}
	e := audit.Event{Name: audit.KeyUse, Txn: g.claims.Txn, Agent: g.chain[0], Body: audit.Body{
		Outcome: outcome, Reason: reason, DecisionID: g.id, ClientID: g.claims.ClientID,
		Actor: audit.Actor{Chain: g.chain},
		Tool:  g.tool.Name, Resource: g.tool.Resource,
		Token: audit.Token{JTI: g.claims.ID, Expiry: g.claims.Expiry},
		Use: audit.Use{Phase: phase, Mode: g.call.Mode, Host: g.tool.Upstream.Address().HostPort,
			Secrets: g.secrets},
		Request: audit.Request{IP: g.call.IP, Trace: g.call.Trace},
	}}
	if g.claims.Lineage != nil {
		e.Body.Lineage = g.claims.Lineage.JTI
	}
	if g.match != nil { // only then is the method one of those that somebody allowed
		e.Body.Actions = []string{g.match.Rule.Action}
		e.Body.Use.Method, e.Body.Use.Rule = g.call.Method, g.match.Rule.Path
	}
	return e
}

// chainOf returns who acts for whom, from the agent that calls.
func chainOf(c *token.Claims) []string {
	chain := []string{token.ClientSubject(c.ClientID)}
	for before := range c.Act.Chain() {
		chain = append(chain, before.Subject)
	}
	return slices.Compact(append(chain, c.Subject))
}

// namesOf returns the versions of secrets, each once, as records name them.
func namesOf(refs []vault.Ref) (names []string) {
	for _, ref := range refs {
		if name := ref.Name + ":" + strconv.Itoa(ref.Version); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// deny records a refusal and returns it, with the id of the record where there is one. Those of callers whom nobody
// knows are counted, so that nobody can fill a tenant's log from outside.
func (s *Shim) deny(ctx context.Context, g *Grant, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := *fault.As(err)
	if g.claims == nil || g.tool == nil {
		s.cfg.Log.Refuse(g.view.Origin(), f.Reason, g.call.IP)
		return &f
	}
	if _, err := s.cfg.Log.Append(ctx, g.view.Origin(), g.event(outcomeOf(&f), f.Reason, "")); err != nil {
		return fault.As(err)
	}
	f.DecisionID = g.id
	return &f
}

// post records what nobody waits for. That it cannot be is counted and said: the intent is in the log, and without an
// outcome it reads as a call that may have been made.
func (g *Grant) post(e audit.Event) {
	if err := g.shim.cfg.Log.Post(g.view.Origin(), e); err != nil {
		g.shim.count.unrecorded.Add(1)
		g.shim.cfg.Logger.Warn("the outcome of a call is not recorded", "tenant", g.view.Slug, "decision_id", g.id,
			"error", err)
	}
}
