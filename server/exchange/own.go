package exchange

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Question is a request about a token that this server may have issued.
type Question struct {
	Credentials clients.Credentials
	Token       string
	IP          netip.Addr
	Trace       string // W3C trace id, hexadecimal; optional
}

// Introspect returns the claims of a token that is active and addressed to one of the caller's tools (RFC 7662), and
// nil for every other token, for whatever reason. The store is asked each time: what was revoked before the call is
// inactive. Errors are *fault.Error: InvalidClient, NotFound, Unavailable. What is odd or refused is recorded.
func (x *Exchanger) Introspect(ctx context.Context, slug string, q Question) (*token.Claims, error) {
	view, client, err := x.ask(ctx, slug, q)
	if err != nil {
		return nil, err
	}
	claims, reason := x.own(view, q.Token)
	if claims == nil {
		return nil, nil
	}
	switch key, hit := view.Cutoffs.Hits(*claims, toolOf(view, claims)); {
	case !owns(view, client, claims):
		reason = "introspect.not_addressed"
	case hit:
		reason = "revoked." + key.Kind
	case reason == "":
		return claims, nil
	}
	e := questionEvent(audit.TokenIntrospect, audit.Denied, reason, q, view, client, claims)
	if _, err := x.Log.Append(ctx, view.Origin(), e); err != nil {
		return nil, fault.As(err)
	}
	return nil, nil
}

// Revoke revokes a token (RFC 7009) for the client that it was issued to, or for a resource server that it is addressed
// to; its descendants go with it. A token that is unknown, expired or revoked already is no error. Errors are
// *fault.Error: InvalidClient, InvalidGrant for somebody else's token, NotFound, Unavailable; after the last nobody
// knows whether the token is revoked.
func (x *Exchanger) Revoke(ctx context.Context, slug string, q Question) error {
	view, client, err := x.ask(ctx, slug, q)
	if err != nil {
		return err
	}
	claims, _ := x.own(view, q.Token)
	if claims == nil {
		return nil
	}
	if claims.ClientID != client.ID && !owns(view, client, claims) {
		e := questionEvent(audit.TokenRevoke, audit.Denied, "revoke.not_owner", q, view, client, claims)
		if _, err := x.Log.Append(ctx, view.Origin(), e); err != nil {
			return fault.As(err)
		}
		return fault.New(fault.InvalidGrant, "revoke.not_owner", "The token was not issued to this client.")
	}
	if _, hit := view.Cutoffs.Hits(*claims, toolOf(view, claims)); hit {
		return nil
	}
	e := questionEvent(audit.TokenRevoke, audit.Allowed, "", q, view, client, claims)
	e.Body.Cutoff = audit.Cutoff{Kind: string(revoke.JTI), Value: claims.ID}
	cut := ledger.Cut{Key: target(revoke.JTI, claims.ID), Keep: revoke.Keep}
	if _, err := x.Log.Change(ctx, view.Origin(), ledger.Change{Cut: []ledger.Cut{cut}}, e); err != nil {
		return fault.As(err)
	}
	return nil
}

// ask reads the newest view and authenticates the client that asks.
func (x *Exchanger) ask(ctx context.Context, slug string, q Question) (*tenant.View, *clients.Client, error) {
	view, err := x.Directory.Fresh(ctx, slug)
	if err != nil {
		return nil, nil, err
	}
	client, proof, err := x.authenticator(view, q.IP).Authenticate(ctx, q.Credentials)
	if limited := x.admitClient(view, client, q.IP); limited != nil {
		return nil, nil, limited
	}
	switch {
	case err != nil:
	case q.Token == "":
		err = bad("request.token", "token is missing.")
	case proof.Principal != nil && proof.Principal.Replay == identity.ReplayOnce:
		var fresh bool
		if fresh, err = x.claim(ctx, view, proof.Principal); err == nil && !fresh {
			err = assertionReplayed()
		}
	}
	if err == nil {
		return view, client, nil
	}
	if !unanswered(err) {
		x.Log.Refuse(view.Origin(), fault.As(err).Reason, q.IP)
	}
	return nil, nil, err
}

// own returns the claims of a token that the tenant signed and that has not expired, and nil for everything else; they
// must not be changed. The reason is empty unless the tool it is for is gone or switched off.
func (x *Exchanger) own(view *tenant.View, raw string) (claims *token.Claims, reason string) {
	now := x.Directory.Now()
	c := x.signed(view, raw, now)
	if c == nil || c.Issuer != view.Issuer || !now.Before(time.Unix(c.Expiry, 0)) {
		return nil, ""
	}
	if tool, ok := view.Tools.At(c.Audience); !ok || tool.Disabled {
		reason = "target.unknown"
	}
	return c, reason
}

// signed returns the claims of a token that the tenant signed, and nil for everything else. One that was verified a
// moment ago is not verified again as long as the tenant's rows, of which its keys are, are the same.
func (x *Exchanger) signed(view *tenant.View, raw string, now time.Time) *token.Claims {
	sum := sha256.Sum256([]byte(raw))
	if known, ok := x.known.Get(view.ID, sum, now); ok && known.revision == view.Revision {
		return known.claims
	}
	payload, err := view.Ring.Verify(raw, now)
	if err != nil {
		return nil
	}
	c, err := token.Parse(payload)
	if err != nil {
		return nil
	}
	x.known.Put(view.ID, sum, known{&c, view.Revision}, len(raw), time.Unix(c.Expiry, 0), now)
	return &c
}

// known is a token of ours that was verified, and the revision of the rows that its key was one of.
type known struct {
	claims   *token.Claims
	revision int64
}

// owns reports whether the client is a resource server of the tool that the token is addressed to.
func owns(view *tenant.View, client *clients.Client, c *token.Claims) bool {
	return client.Kind == clients.ResourceServer && slices.Contains(client.Tools, toolOf(view, c))
}

// toolOf returns the name of the token's tool, "" if it no longer exists.
func toolOf(view *tenant.View, c *token.Claims) string {
	if tool, ok := view.Tools.At(c.Audience); ok {
		return tool.Name
	}
	return ""
}

// questionEvent records a question about a token of ours: of whom and for what it is, and who asked.
func questionEvent(name string, outcome audit.Outcome, reason string, q Question, view *tenant.View,
	client *clients.Client, c *token.Claims) audit.Event {
	agent := token.ClientSubject(c.ClientID)
	return audit.Event{Name: name, Txn: c.Txn, Agent: agent, Body: audit.Body{
		Outcome: outcome, Reason: reason, ClientID: client.ID, Actor: audit.Actor{Chain: chainOf(agent, c)},
		Tool: toolOf(view, c), Resource: c.Audience,
		Token:   audit.Token{JTI: c.ID, Expiry: c.Expiry},
		Request: audit.Request{IP: q.IP, Trace: q.Trace},
	}}
}
