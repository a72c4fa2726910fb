package exchange

import (
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tools"
)

// parent is a token of ours that is traded in for another. It is a ceiling in everything: what is issued has its
// subject and its run, names its actors, ends no later and allows no more of its tool.
type parent struct {
	token.Claims
	tool  *tools.Tool
	scope scopes.Set // what it allows at its tool, of what can be done there now
	owned bool       // the client that asks is a resource server of its tool
	hash  string     // of its bytes, for the log
}

// resolveParent verifies a subject token that says it is one of ours. Who may present it is for the policy to say.
func (a *Attempt) resolveParent() error {
	claims, reason := a.x.own(a.view, a.req.SubjectToken)
	switch {
	case claims == nil:
		return bad("subject.own", "The subject token is not an access token that this tenant issued, or it has expired.")
	case len(claims.Confirmation) > 0:
		return bad("subject.bound",
			"The subject token is bound to a key (cnf), and a proof of that key cannot be checked here.")
	case reason != "":
		return bad("subject.target", "The tool of the subject token is not available.")
	}
	tool, _ := a.view.Tools.At(claims.Audience)
	p := &parent{Claims: *claims, tool: tool, owned: owns(a.view, a.caller.client, claims), hash: hash(a.req.SubjectToken)}
	p.scope = p.allowed()
	a.caller.parent = p
	a.txn = claims.Txn
	if key, hit := a.view.Cutoffs.Hits(*claims, tool.Name); hit {
		return bad("revoked."+key.Kind, refusedByPolicy)
	}
	return nil
}

// allowed reads the token's scope. A word that is no scope of its tool any more allows nothing.
func (p *parent) allowed() scopes.Set {
	words, err := scopes.Words(p.Scope)
	if err != nil {
		return scopes.Set{}
	}
	known := slices.DeleteFunc(words, func(word string) bool {
		_, err := p.tool.Requested([]string{word})
		return err != nil
	})
	set, err := p.tool.Requested(known)
	if err != nil {
		return scopes.Set{}
	}
	return set
}

// asked is what the policy needs to know of the token.
func (p *parent) asked() *policy.Parent {
	if p == nil {
		return nil
	}
	return &policy.Parent{Client: p.ClientID, Owned: p.owned, Scope: p.scope, Tool: p.tool.Name}
}

// behalf reports whether the token is about somebody whom its clients act for, and not about one of them.
func (p *parent) behalf() bool { return !strings.HasPrefix(p.Subject, token.ClientIssuer+":") }

// subject is the token's subject as the policy sees it: for one whom the clients act for, as the trusted issuer named
// it. The claims are those of our token; what the first subject token said is not kept.
func (p *parent) subject() policy.Identity {
	issuer, sub, _ := token.SplitSubject(p.Subject)
	return policy.Identity{Issuer: issuer, Subject: sub, Claims: map[string]any{
		"iss": p.Issuer, "sub": p.Subject, "aud": p.Audience, "client_id": p.ClientID, "scope": p.Scope,
		"iat": p.IssuedAt, "exp": p.Expiry, "jti": p.ID, "txn": p.Txn,
	}}
}

// lineage is that of a token which descends from p and rests on what the lineage names too.
func (p *parent) lineage(rests token.Lineage) (*token.Lineage, error) {
	if p == nil {
		return &rests, nil
	}
	l := token.Lineage{JTI: []string{p.ID}, Clients: []string{p.ClientID}}
	if old := p.Lineage; old != nil {
		l.JTI = append(l.JTI, old.JTI...)
		l.Clients = union(l.Clients, old.Clients)
		l.Issuers, l.Subjects = slices.Clone(old.Issuers), slices.Clone(old.Subjects)
	}
	l.Clients = union(l.Clients, rests.Clients)
	l.Issuers, l.Subjects = union(l.Issuers, rests.Issuers), union(l.Subjects, rests.Subjects)
	if len(l.JTI) > token.MaxHops {
		return nil, bad("delegation.hops", "The token would descend from more than 8 others; begin a new run.")
	}
	return &l, nil
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// chain returns the actors of the token to be issued, the current one outermost (RFC 8693 §4.1). A chain only ever
// grows: whoever acted before stays in it, and a client that trades in its own token is there already.
func (a *Attempt) chain() (*token.Actor, error) {
	c := &a.caller
	var before *token.Actor
	switch {
	case c.parent != nil && c.parent.ClientID == c.client.ID:
		return c.parent.Act, nil
	case c.parent != nil:
		before = c.parent.Act
	case !c.onBehalf:
		return nil, nil
	default:
		for _, p := range slices.Backward(c.subject.Actors) {
			before = &token.Actor{Issuer: p.Issuer, Subject: p.Subject, Act: before}
		}
	}
	chain := &token.Actor{Issuer: a.view.Issuer, Subject: token.ClientSubject(c.client.ID), SubProfile: agentProfile,
		Act: before}
	if c.client.Kind != clients.Agent {
		chain.SubProfile = serviceProfile
	}
	depth := 0
	for range chain.Chain() {
		depth++
	}
	if depth > token.MaxActors {
		return nil, bad("delegation.depth", "The chain of actors would be longer than 4.")
	}
	return chain, nil
}

// The sub_profile of clients.
const (
	agentProfile   = "ai_agent"
	serviceProfile = "service"
)

// contradicts reports whether two of the inputs say which run they belong to and differ: a subject of one run is never
// joined with an actor of another.
func (c *caller) contradicts() bool {
	run, known := any(nil), false
	if c.parent != nil {
		run, known = c.parent.Txn, true
	}
	for _, p := range c.principals() {
		txn, says := p.Claims["txn"]
		if _, text := txn.(string); says && (!text || known && txn != run) {
			return true
		}
		if says {
			run, known = txn, true
		}
	}
	return false
}

// mayAct reports whether the client is the one party who may act for a subject: by the workload identity that it has
// proven, or by the name that it has with us.
func (a *Attempt) mayAct() bool {
	only := a.caller.subject.MayAct
	if only == nil {
		return true
	}
	if only.Issuer == a.view.Issuer && only.Subject == token.ClientSubject(a.caller.client.ID) {
		return true
	}
	agent := a.caller.agent()
	return agent != nil && only.Issuer == agent.IssuerURL && only.Subject == agent.Subject
}

// forged reports whether somebody else's token claims an actor of ours. Only we say who acts by our leave.
func (a *Attempt) forged() bool {
	for _, p := range a.caller.subject.Actors {
		if a.view.Ours(p.Issuer) {
			return true
		}
	}
	return false
}

func delegated(role string) error {
	return fault.New(fault.InvalidRequest, role+".act",
		"The token already has an actor (act); only the token of a subject that is acted for may.")
}
