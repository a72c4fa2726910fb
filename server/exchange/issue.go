package exchange

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
)

// minted is a signed token that has not been released.
type minted struct {
	compact string
	claims  token.Claims
	tool    *tools.Tool
	view    *tenant.View // whose ring signed it
}

// Issue mints the token, records it, and returns it. The record's position tells what was committed before it; if that
// is more than the decision knew, the decision is checked against it, and a token that would not have been issued is
// never released: a second record says so.
func (a *Attempt) Issue(ctx context.Context) (*Result, error) {
	result, err := a.issue(ctx)
	a.watched(ctx, err)
	return result, err
}

func (a *Attempt) issue(ctx context.Context) (*Result, error) {
	for range maxTurns {
		a.at(stepMint)
		m, err := a.mint()
		if err != nil {
			return nil, a.refuse(ctx, err)
		}
		a.at(stepRecord)
		p, err := a.record(ctx, func() audit.Event { return a.issuedEvent(m) }, a.trading)
		switch {
		case err != nil && unanswered(err):
			return nil, fault.As(err)
		case err != nil:
			return nil, a.refuse(ctx, err)
		}
		a.x.Directory.Observe(p)
		switch sound, err := a.confirm(ctx, m, p); {
		case err != nil:
			return nil, a.withhold(ctx, m, err)
		case sound:
			return a.result(m), nil
		}
		// Decided anew, and otherwise than before: what was minted is void.
		if err := a.withhold(ctx, m, nil); err != nil {
			return nil, err
		}
	}
	return nil, fault.New(fault.Unavailable, "tenant.changing",
		"The tenant's configuration is being changed; try again shortly.")
}

// confirm reports whether the token may be released given that the tenant had reached p when it was recorded. If it may
// not, either the error says why, or the attempt holds a new decision to mint by.
func (a *Attempt) confirm(ctx context.Context, m *minted, p ledger.Position) (sound bool, err error) {
	if p.Time.Unix() < m.claims.IssuedAt { // dated ahead of the store: a cutoff made now would miss it
		a.x.Directory.Correct(p)
		return false, a.again(ctx)
	}
	if !a.view.Covers(p) {
		newest, err := a.x.Directory.At(ctx, a.view.Slug, p)
		if err != nil {
			return false, err
		}
		a.view = newest
		if err := a.again(ctx); err != nil {
			return false, err
		}
		if !a.gives(m) || !a.spends() {
			return false, nil
		}
	}
	if key, hit := a.view.Cutoffs.Hits(m.claims, a.grant.tool.Name); hit {
		return false, fault.New(fault.InvalidRequest, "revoked."+key.Kind, refusedByPolicy)
	}
	return true, nil
}

// gives reports whether what is granted now would give a token like m that lives at least as long, and m is signed with
// a key that still counts.
func (a *Attempt) gives(m *minted) bool {
	c := a.claims()
	if c.Expiry < m.claims.Expiry || a.grant.tool.Alg() != m.tool.Alg() {
		return false
	}
	if a.view.Ring != m.view.Ring {
		if _, err := a.view.Ring.Verify(m.compact, a.x.Directory.Now()); err != nil {
			return false
		}
	}
	c.ID, c.IssuedAt, c.Expiry = m.claims.ID, m.claims.IssuedAt, m.claims.Expiry
	return bytes.Equal(c.Marshal(), m.claims.Marshal())
}

// withhold records that a recorded token was not released, and why. It does so even if the caller has left: the log
// would say that the token was issued.
func (a *Attempt) withhold(ctx context.Context, m *minted, why error) error {
	reason := audit.NotReleased
	if why != nil && !errors.Is(why, context.Canceled) {
		reason = fault.As(why).Reason
	}
	e := a.event(audit.Failed, reason)
	e.Body.Token = tokenRecord(m)
	if _, err := a.x.Log.Append(context.WithoutCancel(ctx), a.view.Origin(), e); err != nil {
		return fault.As(err)
	}
	if why == nil {
		return nil
	}
	f := *fault.As(why)
	f.DecisionID = a.id
	return &f
}

func (a *Attempt) mint() (*minted, error) {
	m := &minted{claims: a.claims(), tool: a.grant.tool, view: a.view}
	signer, err := m.view.Ring.Signer(m.tool.Alg(), a.x.Directory.Now())
	if err != nil {
		return nil, noKey(err)
	}
	if m.compact, err = signer.Sign(token.Type, m.claims.Marshal()); err != nil {
		return nil, noKey(err)
	}
	if len(m.compact) > maxToken {
		return nil, bad("delegation.size",
			"The token would be longer than 8 KiB: its subject or the chain of actors is too long.")
	}
	return m, nil
}

func noKey(err error) error {
	return fault.Wrap(fault.Unavailable, "key.unavailable",
		"The signing key is not available; try again shortly.", err)
}

// maxToken bounds an issued token, in bytes: headers of HTTP hold no more everywhere.
const maxToken = 8 << 10

// claims are those of the token (RFC 9068 §2.2). An agent as itself is the subject; one that acts for somebody is the
// actor (RFC 8693 §4.1), and never becomes the subject. The subject of a token that is traded in stays.
func (a *Attempt) claims() token.Claims {
	c := token.Claims{
		Issuer: a.view.Issuer, Audience: a.grant.tool.Resource, Act: a.grant.actors, Lineage: a.grant.lineage,
		ClientID: a.caller.client.ID, Scope: a.grant.tool.Scope(a.grant.granted),
		IssuedAt: a.grant.issued.Unix(), Expiry: a.grant.expiry.Unix(), ID: ledger.NewID(a.x.Directory.Now()), Txn: a.txn,
	}
	switch {
	case a.caller.parent != nil:
		c.Subject, c.SubProfile = a.caller.parent.Subject, a.caller.parent.SubProfile
	case a.caller.onBehalf:
		c.Subject = token.Subject(a.caller.subject.Issuer, a.caller.subject.Subject)
	default:
		c.Subject, c.SubProfile = token.ClientSubject(a.caller.client.ID), agentProfile
	}
	return c
}

// rests names what the token rests on and does not name elsewhere: trusted issuers, the identities of the agent, and a
// client that it acts for. So cutting one of them off reaches the token.
func (c *caller) rests() (l token.Lineage) {
	for _, p := range c.principals() {
		l.Issuers = union(l.Issuers, []string{p.Issuer})
		if !c.onBehalf || p != c.subject {
			l.Subjects = union(l.Subjects, []string{token.Subject(p.Issuer, p.Subject)})
		}
	}
	if c.other != nil {
		l.Clients = []string{c.other.ID}
	}
	return l
}

func (a *Attempt) result(m *minted) *Result {
	return &Result{Token: m.compact, Scope: m.claims.Scope, Txn: a.txn,
		ExpiresIn: time.Duration(m.claims.Expiry-m.claims.IssuedAt) * time.Second}
}
