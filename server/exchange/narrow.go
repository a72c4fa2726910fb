package exchange

import (
	"context"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tools"
)

// grant is what is left of a request after every step.
type grant struct {
	tool      *tools.Tool
	requested scopes.Set // empty asks for the policy's defaults
	decision  policy.Decision
	granted   scopes.Set
	issued    time.Time // iat, whole seconds; never ahead of the store's time
	expiry    time.Time // exp, whole seconds, after issued
	limits    audit.Limits
	actors    *token.Actor
	lineage   *token.Lineage
}

// refusedByPolicy is what every refusal by policy tells its caller, whatever its cause: the cause is in the log.
const refusedByPolicy = "The policy does not allow this; an operator can look up the decision by its id."

// narrow takes the request from its parameters to a grant. After an error, a.grant holds what was found out before it.
func (a *Attempt) narrow(ctx context.Context) (err error) {
	a.at(stepSubject)
	g := new(grant)
	a.grant = g
	if err := a.req.check(); err != nil {
		return err
	}
	if err := a.resolve(ctx); err != nil {
		return err
	}
	return a.judge(ctx, g)
}

// judge goes from who asks, and for whom, to what is granted.
func (a *Attempt) judge(ctx context.Context, g *grant) (err error) {
	if g.actors, err = a.chain(); err != nil {
		return err
	}
	if g.lineage, err = a.caller.parent.lineage(a.caller.rests()); err != nil {
		return err
	}
	if err := a.enabled(); err != nil {
		return err
	}
	a.at(stepTarget)
	if g.tool, err = a.tool(); err != nil {
		return err
	}
	a.at(stepScope)
	if g.requested, err = requestedScope(g.tool, a.req.Scope); err != nil {
		return err
	}
	if err := a.withinParent(g); err != nil {
		return err
	}
	a.at(stepPolicy)
	if err := a.decide(ctx, g); err != nil {
		return err
	}
	a.at(stepLifetime)
	return a.limit(g)
}

// enabled refuses a tenant, client, trusted issuer or subject that an operator has switched off.
func (a *Attempt) enabled() error {
	keys := []ledger.Key{target(revoke.Tenant, ""), target(revoke.Client, a.caller.client.ID)}
	if other := a.caller.other; other != nil {
		keys = append(keys, target(revoke.Client, other.ID))
	}
	for _, p := range a.caller.principals() {
		keys = append(keys, vouching(p)...)
	}
	return disabled(a.view.Cutoffs, fault.InvalidRequest, keys...)
}

// principals returns the verified identities that the request rests on.
func (c *caller) principals() []*identity.Principal {
	all := make([]*identity.Principal, 0, 3)
	for _, p := range [...]*identity.Principal{c.subject, c.actor, c.proof.Principal} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// agent returns the identity that the agent proved by a workload token: nil if it proved itself by other credentials.
func (c *caller) agent() *identity.Principal {
	switch {
	case c.actor != nil:
		return c.actor
	case c.subject != nil && !c.onBehalf:
		return c.subject
	}
	return c.proof.Principal
}

// tool finds the one tool that the request names. What does not exist, what is another tenant's and what is switched
// off look alike.
func (a *Attempt) tool() (*tools.Tool, error) {
	found, err := a.named()
	if err != nil {
		return nil, err
	}
	if found.Disabled {
		return nil, noTarget("target.unknown", "resource or audience names no tool of this tenant.")
	}
	return found, disabled(a.view.Cutoffs, fault.InvalidTarget, target(revoke.Tool, found.Name))
}

// named finds the one tool that the request names, even if it is switched off.
func (a *Attempt) named() (*tools.Tool, error) {
	var found *tools.Tool
	for i, name := range slices.Concat(a.req.Resources, a.req.Audiences) {
		tool, ok := a.view.Tools.At(name)
		if !ok && i >= len(a.req.Resources) {
			tool, ok = a.view.Tools.Named(name)
		}
		switch {
		case !ok:
			return nil, noTarget("target.unknown", "resource or audience names no tool of this tenant.")
		case found != nil && found != tool:
			return nil, noTarget("target.several", "resource and audience must name one tool; ask for a token for each.")
		}
		found = tool
	}
	if found == nil {
		return nil, noTarget("target.missing", "Name the tool that the token is for, by resource or audience.")
	}
	return found, nil
}

func noTarget(reason, public string) error { return fault.New(fault.InvalidTarget, reason, public) }

// requestedScope reads the scope parameter as scopes of the tool. The empty set asks for the policy's defaults.
func requestedScope(tool *tools.Tool, param string) (scopes.Set, error) {
	words, err := scopes.Words(param)
	if err != nil {
		return scopes.Set{}, fault.Wrap(fault.InvalidScope, "scope.malformed",
			"scope must be at most 64 words in the characters of RFC 6749 section 3.3, separated by single spaces.", err)
	}
	set, err := tool.Requested(words)
	if err != nil {
		return scopes.Set{}, fault.Wrap(fault.InvalidScope, "scope.unknown",
			"scope holds a word that is no scope of this tool.", err)
	}
	return set, nil
}

// withinParent refuses what a token of the same tool that is traded in does not allow, and a token that allows nothing.
func (a *Attempt) withinParent(g *grant) error {
	p := a.caller.parent
	switch {
	case p == nil:
		return nil
	case p.scope.Empty():
		return fault.New(fault.InvalidScope, "scope.parent_unknown",
			"Nothing that the subject token allows is known any more.")
	case p.tool == g.tool && !p.scope.Covers(g.requested):
		return fault.New(fault.InvalidScope, "scope.parent", "scope asks for more than the subject token allows.")
	}
	return nil
}

// decide asks the policy. Scope is all or nothing.
func (a *Attempt) decide(ctx context.Context, g *grant) error {
	c := &a.caller
	ask := policy.Request{
		Subject: c.about(), Actor: identityOf(c.agent()), Client: c.client.ID, OnBehalf: c.onBehalf,
		Parent: c.parent.asked(), Tool: g.tool.Name,
		Run: a.txn, Depth: len(g.lineage.JTI), Time: a.now(), IP: a.req.IP,
	}
	if !g.requested.Empty() {
		ask.Actions = g.requested.Names()
	}
	g.decision = a.view.Policies.Decide(ctx, ask)
	g.granted = scopes.Actions(g.tool.Name, g.decision.Actions...).Meet(scopes.Actions(g.tool.Name, g.tool.Actions...))
	switch {
	case !g.decision.Allowed:
		return denied(g.decision.Denial)
	case g.granted.Empty() || !g.granted.Covers(g.requested) ||
		c.parent != nil && c.parent.tool == g.tool && !c.parent.scope.Covers(g.granted):
		// The policy granted something else than it was asked.
		return fault.New(fault.Internal, "policy.narrower", "Internal error.")
	}
	return nil
}

// now is the time as conditions see it.
func (a *Attempt) now() time.Time {
	if !a.moment.IsZero() {
		return a.moment
	}
	return a.x.Directory.Now()
}

// denied gives a refusal of the policy its code: what names the whole tool is invalid_target, what names the actions
// invalid_scope, what names the delegation invalid_request.
func denied(why policy.Denial) error {
	kind := fault.InvalidTarget
	switch why {
	case policy.NotAction, policy.NoDefault:
		kind = fault.InvalidScope
	case policy.NotOnBehalf, policy.NotPresenter:
		kind = fault.InvalidRequest
	}
	return fault.New(kind, "policy."+string(why), refusedByPolicy)
}

// about is the subject as the policy sees it: of an agent that acts as itself, the identity that it proved.
func (c *caller) about() policy.Identity {
	switch {
	case c.parent != nil:
		return c.parent.subject()
	case c.subject != nil:
		return identityOf(c.subject)
	}
	return identityOf(c.proof.Principal)
}

func identityOf(p *identity.Principal) policy.Identity {
	if p == nil {
		return policy.Identity{}
	}
	return policy.Identity{Issuer: p.Issuer, Subject: p.Subject, Claims: p.Claims}
}

// limit sets the lifetime: the least of what the policy, the tool and everything that was presented allow.
func (a *Attempt) limit(g *grant) error {
	c := &a.caller
	g.limits = audit.Limits{Policy: seconds(g.decision.TTL), Tool: seconds(min(g.tool.TTL(), token.MaxLife)),
		Subject: expiry(c.subject), Actor: expiry(c.actor), Assertion: expiry(c.proof.Principal)}
	if c.parent != nil {
		g.limits.Subject = c.parent.Expiry
	}
	g.issued = a.x.Directory.Now().Truncate(time.Second)
	end := g.issued.Unix() + min(g.limits.Policy, g.limits.Tool)
	for _, limit := range []int64{g.limits.Subject, g.limits.Actor, g.limits.Assertion} {
		if limit != 0 {
			end = min(end, limit)
		}
	}
	g.expiry = time.Unix(end, 0)
	if !g.expiry.After(g.issued) {
		return bad("subject.expired", "A presented token expires within the second; get a new one.")
	}
	return nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// expiry returns when a presented token expires, in whole Unix seconds; 0 without one.
func expiry(p *identity.Principal) int64 {
	if p == nil {
		return 0
	}
	return p.Expiry.Unix()
}
