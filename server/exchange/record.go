package exchange

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/identity"
)

// event is the record of this attempt as far as it got.
func (a *Attempt) event(outcome audit.Outcome, reason string) audit.Event {
	e := audit.Event{Name: audit.TokenExchange, Txn: a.txn, Body: audit.Body{
		Outcome: outcome, Reason: reason, DecisionID: a.id,
		Request: audit.Request{IP: a.req.IP, Trace: a.req.Trace},
	}}
	if outcome != audit.Allowed {
		e.Body.Step = a.step
	}
	a.caller.describe(&e)
	e.Body.Subject.Reused, e.Body.ActorToken.Reused = a.reused(a.caller.subject), a.reused(a.caller.actor)
	a.grant.describe(&e.Body)
	if e.Body.Tool == "" {
		a.aimed(&e.Body)
	}
	if e.Body.Subject == (audit.Presented{}) {
		e.Body.Subject.Hash = evidence(a.req.SubjectToken)
	}
	if e.Body.ActorToken == (audit.Presented{}) {
		e.Body.ActorToken.Hash = evidence(a.req.ActorToken)
	}
	return e
}

// aimed adds what was asked for where the attempt ended before that was looked at: the one tool that the request names,
// whether or not it may be used, and the scopes if all are the tool's.
func (a *Attempt) aimed(b *audit.Body) {
	tool, err := a.named()
	if err != nil {
		return
	}
	b.Tool, b.Resource = tool.Name, tool.Resource
	if asked, err := requestedScope(tool, a.req.Scope); err == nil {
		b.Requested = asked.Names()
	}
}

// evidence is the hash of a token that was not accepted. What cannot be one is not hashed: it may be a password in the
// wrong place, which could be guessed from its hash.
func evidence(raw string) string {
	signature := len(raw) - strings.LastIndexByte(raw, '.') - 1
	if !strings.HasPrefix(raw, "eyJ") || strings.Count(raw, ".") != 2 || signature < signed {
		return ""
	}
	return hash(raw)
}

// signed is how long the shortest signature is, in base64url: 256 bits.
const signed = 43

func (a *Attempt) issuedEvent(m *minted) audit.Event {
	e := a.event(audit.Allowed, "")
	e.Body.Token = tokenRecord(m)
	return e
}

// describe adds who asked, and for whom.
func (c *caller) describe(e *audit.Event) {
	b := &e.Body
	if c.client == nil {
		return
	}
	b.ClientID, b.Method = c.client.ID, string(cmp.Or(c.proof.Method, clients.MethodWorkload))
	e.Agent = token.ClientSubject(c.client.ID)
	b.Subject, b.ActorToken = presented(c.subject), presented(c.actor)
	b.Actor.Chain = []string{e.Agent}
	switch {
	case c.parent != nil:
		b.Subject = audit.Presented{Issuer: c.parent.Issuer, JTI: c.parent.ID, Hash: c.parent.hash}
		b.Within = strings.Fields(c.parent.scope.String())
		b.Actor.Chain = chainOf(e.Agent, &c.parent.Claims)
	case c.onBehalf:
		for _, before := range c.subject.Actors {
			b.Actor.Chain = append(b.Actor.Chain, before.Subject)
		}
		b.Actor.Chain = append(b.Actor.Chain, token.Subject(c.subject.Issuer, c.subject.Subject))
	}
}

// chainOf returns who acts for whom by a token of ours: from the agent that calls to the token's subject.
func chainOf(agent string, c *token.Claims) []string {
	chain := []string{agent}
	for before := range c.Act.Chain() {
		chain = append(chain, before.Subject)
	}
	return slices.Compact(append(chain, c.Subject))
}

func presented(p *identity.Principal) audit.Presented {
	if p == nil {
		return audit.Presented{}
	}
	return audit.Presented{Issuer: p.IssuerURL, JTI: p.JTI, Hash: p.Hash, Alg: p.Alg, KeyID: p.KeyID}
}

// describe adds what was asked for, in the tool's own terms. Words that no tool knows are not recorded: they are text
// that the caller chose.
func (g *grant) describe(b *audit.Body) {
	if g == nil {
		return
	}
	if g.lineage != nil {
		b.Lineage = g.lineage.JTI
	}
	if g.tool == nil {
		return
	}
	b.Tool, b.Resource, b.Limits = g.tool.Name, g.tool.Resource, g.limits
	b.Requested, b.Actions = g.requested.Names(), g.granted.Names()
	b.Policy = audit.Policy{Revision: g.decision.Revision, Rules: g.decision.Rules,
		Considered: passedOver(g.decision)}
}

// passedOver lists the rules that did not decide, each with the step that it did not pass.
func passedOver(d policy.Decision) []string {
	var over []string
	for _, v := range d.Considered {
		if v.Denial != "" {
			over = append(over, v.Rule+":"+string(v.Denial))
		}
	}
	return over
}

func tokenRecord(m *minted) audit.Token {
	return audit.Token{JTI: m.claims.ID, Hash: hash(m.compact), Expiry: m.claims.Expiry, Type: token.Type}
}

// hash names the exact bytes of a token: evidence, never a key for state.
func hash(compact string) string {
	sum := sha256.Sum256([]byte(compact))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
