package exchange

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Hypothesis is a request that nobody made: who would ask, for whom, and for what. What a real request proves is taken
// for granted.
type Hypothesis struct {
	Client string // the id of the client that would ask
	// Agent is the identity that the client would prove; the zero value for a client without one.
	Agent Supposed
	// Subject is somebody whom the client would act for; the zero value for the client as itself.
	Subject Supposed
	// Parent is a token of ours that the client would trade in; nil without one. Its subject is Subject, or else the
	// client that it was issued to.
	Parent   *SupposedParent
	Tool     string        // by name
	Scope    string        // as a request would say it; empty for the defaults
	At       time.Time     // as conditions see it; now if zero
	IP       netip.Addr    // as conditions see it
	Lifetime time.Duration // of what would be presented; an hour if zero
}

// Supposed is an identity that somebody would prove.
type Supposed struct {
	Issuer  string // the trusted issuer's name
	Subject string
	Claims  map[string]any
}

// SupposedParent is a token of ours that somebody would trade in.
type SupposedParent struct {
	Client string // whom it was issued to
	Tool   string // by name
	Scope  string // as the token would say it
	Depth  int    // how many tokens it descends from
}

// Suppose judges a hypothesis by the tenant's configuration and revocations as they stand. Nothing is issued, used up
// or recorded; the answer is what the record would say. Errors are *fault.Error: NotFound, Unavailable, and Invalid for
// a hypothesis about what does not exist.
func (x *Exchanger) Suppose(ctx context.Context, slug string, h Hypothesis) (audit.Body, error) {
	view, err := x.Directory.Fresh(ctx, slug)
	if err != nil {
		return audit.Body{}, err
	}
	now := x.Directory.Now()
	a := &Attempt{x: x, view: view, id: ledger.NewID(now), run: ledger.NewID(now),
		req: Request{Audiences: []string{h.Tool}, Scope: h.Scope, IP: h.IP}, moment: h.At}
	a.txn = a.run
	if a.caller, err = h.caller(view, now); err != nil {
		return audit.Body{}, err
	}
	a.grant = new(grant)
	a.at(stepSubject)
	outcome, reason := audit.Allowed, ""
	if err := a.judge(ctx, a.grant); err != nil {
		f := fault.As(err)
		outcome, reason = outcomeOf(f), f.Reason
	}
	body := a.event(outcome, reason).Body
	if len(body.Requested) == 0 { // what is no scope of the tool: only a record may not hold it
		body.Requested = strings.Fields(h.Scope)
	}
	if outcome == audit.Allowed {
		body.Token.Expiry = a.grant.expiry.Unix()
	}
	return body, nil
}

// caller makes the parties of the hypothesis as a real request would have proven them.
func (h Hypothesis) caller(view *tenant.View, now time.Time) (c caller, err error) {
	client, ok := view.Clients.Get(h.Client)
	if !ok {
		return caller{}, noSuch("client", "is not a client of this tenant")
	}
	c.client, c.proof.Method = client, client.Auth.Method
	life := h.Lifetime
	if life <= 0 {
		life = time.Hour
	}
	expiry := now.Add(life)
	if c.proof.Principal, err = h.Agent.principal("agent", view, expiry); err != nil {
		return caller{}, err
	}
	if c.subject, err = h.Subject.principal("subject", view, expiry); err != nil {
		return caller{}, err
	}
	c.onBehalf = c.subject != nil
	if p := h.Parent; p != nil {
		c.subject = nil
		c.parent, err = h.parent(view, client, now, expiry)
	}
	return c, err
}

func (s Supposed) principal(field string, view *tenant.View, expiry time.Time) (*identity.Principal, error) {
	if s.Issuer == "" && s.Subject == "" {
		return nil, nil
	}
	if _, ok := view.Row(tenant.KindIssuer, s.Issuer); !ok {
		return nil, noSuch(field, "names no trusted issuer of this tenant")
	}
	return &identity.Principal{Issuer: s.Issuer, IssuerURL: s.Issuer, Subject: s.Subject, Claims: s.Claims,
		Expiry: expiry}, nil
}

func (h Hypothesis) parent(view *tenant.View, client *clients.Client, now, expiry time.Time) (*parent, error) {
	tool, ok := view.Tools.Named(h.Parent.Tool)
	if !ok {
		return nil, noSuch("parent.tool", "is not a tool of this tenant, by name")
	}
	if _, ok := view.Clients.Get(h.Parent.Client); !ok {
		return nil, noSuch("parent.client", "is not a client of this tenant")
	}
	claims := token.Claims{Issuer: view.Issuer, Subject: token.ClientSubject(h.Parent.Client), Audience: tool.Resource,
		ClientID: h.Parent.Client, Scope: h.Parent.Scope, IssuedAt: now.Unix(), Expiry: expiry.Unix(), ID: "supposed",
		Txn: "supposed", Lineage: new(token.Lineage)}
	if h.Subject.Subject != "" {
		claims.Subject = token.Subject(h.Subject.Issuer, h.Subject.Subject)
	}
	for range h.Parent.Depth {
		claims.Lineage.JTI = append(claims.Lineage.JTI, "supposed")
	}
	p := &parent{Claims: claims, tool: tool, owned: owns(view, client, &claims)}
	p.scope = p.allowed()
	return p, nil
}

func noSuch(field, what string) error {
	e := fault.New(fault.Invalid, "suppose."+field, "The hypothesis is about something that does not exist.")
	e.Problems = []string{field + ": " + what}
	return e
}
