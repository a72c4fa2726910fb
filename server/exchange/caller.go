package exchange

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// caller is who asks, and for whom.
type caller struct {
	client *clients.Client
	proof  clients.Proof[*identity.Principal] // its zero value if the client proved itself by subject or actor token

	subject  *identity.Principal // who the token will be about, by somebody else's token; nil until verified
	parent   *parent             // who it will be about, by a token of ours; nil until verified
	other    *clients.Client     // the client that the subject is, if it is one of ours and not the one that asks
	actor    *identity.Principal // the verified actor token; nil without one
	onBehalf bool                // the client acts for somebody, not as itself
}

// identify finds the agent. A workload's token can come in three places: as client_assertion, as actor_token when it
// acts for somebody, or alone, as subject_token. Whatever else proves a client must name the same one.
func (a *Attempt) identify(ctx context.Context) error {
	a.at(stepClient)
	a.caller = caller{}
	authenticator := a.x.authenticator(a.view, a.req.IP)
	authenticator.Claims = &a.jti
	client, proof, err := authenticator.Authenticate(ctx, a.req.Credentials)
	switch {
	case err == nil:
		a.caller.client, a.caller.proof = client, proof
		return a.mayAsk()
	case !errors.Is(err, clients.ErrNone):
		return err
	case a.req.AsItself, a.req.ActorToken == "" && a.req.SubjectToken == "":
		return err
	case a.req.ActorToken == "" && a.req.SubjectTokenType == TypeAccessToken:
		return bad("subject.alone", "An access token says whom it was issued to, and not who holds it; "+
			"send a client's credentials or an actor_token too.")
	}
	if err := a.req.check(); err != nil {
		return err
	}
	if err := a.identifyByToken(ctx); err != nil {
		return err
	}
	return a.mayAsk()
}

// mayAsk refuses a resource server everything but to trade in a token of ours.
func (a *Attempt) mayAsk() error {
	if a.caller.client.Kind == clients.Agent || !a.req.AsItself && a.req.SubjectTokenType == TypeAccessToken {
		return nil
	}
	return fault.New(fault.UnauthorizedClient, "client.grant",
		"A resource server may only exchange tokens that this server issued (subject_token_type access_token).")
}

// identifyByToken finds the agent by the identity token that its platform gave it, and nothing else.
func (a *Attempt) identifyByToken(ctx context.Context) error {
	role, raw, kind := "subject", a.req.SubjectToken, a.req.SubjectTokenType
	if a.req.ActorToken != "" {
		role, raw, kind = "actor", a.req.ActorToken, a.req.ActorTokenType
	}
	p, err := a.verify(ctx, role, raw, kind)
	if err != nil {
		return err
	}
	client, err := a.bound(ctx, role, p)
	if err != nil {
		return err
	}
	if client.Auth.Method != clients.MethodWorkload {
		return fault.New(fault.InvalidClient, "client.method",
			"The client is registered for another authentication method; use that one.")
	}
	if id := a.req.Credentials.ClientID; id != "" && id != client.ID {
		return otherClient()
	}
	a.caller.client = client
	return nil
}

// resolve verifies what was presented and finds for whom the client asks.
func (a *Attempt) resolve(ctx context.Context) error {
	a.caller = caller{client: a.caller.client, proof: a.caller.proof}
	a.txn = a.run
	if p := a.caller.proof.Principal; p != nil && len(p.Actors) > 0 {
		return delegated("client.assertion")
	}
	switch {
	case a.req.AsItself:
		return nil
	case a.req.SubjectTokenType == TypeAccessToken:
		if err := a.resolveParent(); err != nil {
			return err
		}
		a.caller.onBehalf = a.caller.parent.behalf()
		if err := a.resolveActor(ctx); err != nil {
			return err
		}
		return a.oneRun()
	}
	if err := a.resolveSubject(ctx); err != nil {
		return err
	}
	return a.oneRun()
}

func (a *Attempt) oneRun() error {
	if a.caller.contradicts() {
		return bad("subject.run", "The tokens belong to different runs (txn).")
	}
	return nil
}

// resolveSubject verifies a subject token of a trusted issuer: the agent's own, or that of somebody it acts for.
func (a *Attempt) resolveSubject(ctx context.Context) error {
	subject, err := a.verify(ctx, "subject", a.req.SubjectToken, a.req.SubjectTokenType)
	if err != nil {
		return err
	}
	a.caller.subject = subject
	if err := a.resolveActor(ctx); err != nil {
		return err
	}
	bound, err := a.bound(ctx, "subject", subject)
	switch {
	case err == nil && bound.ID == a.caller.client.ID && a.caller.actor != nil:
		return bad("subject.is_actor",
			"subject_token and actor_token are of the same agent; to act as itself, leave actor_token out.")
	case a.caller.actor != nil:
		a.caller.other = bound
		return a.actFor(subject)
	case err == nil && bound.ID == a.caller.client.ID && len(subject.Actors) > 0:
		return delegated("subject")
	case err == nil && bound.ID == a.caller.client.ID:
		return nil // the agent as itself
	case err == nil:
		return otherClient()
	case !errors.Is(err, clients.ErrUnbound) || a.caller.proof.Method == "":
		return err
	}
	return a.actFor(subject)
}

// resolveActor verifies the actor token, if there is one: it is of the client that asks.
func (a *Attempt) resolveActor(ctx context.Context) error {
	if a.req.ActorToken == "" {
		return nil
	}
	actor, err := a.verify(ctx, "actor", a.req.ActorToken, a.req.ActorTokenType)
	if err != nil {
		return err
	}
	if err := a.mustBe(ctx, "actor", actor); err != nil {
		return err
	}
	if len(actor.Actors) > 0 {
		return delegated("actor")
	}
	a.caller.actor = actor
	return nil
}

// actFor marks that the client acts for somebody, whose issuer must be trusted for that.
func (a *Attempt) actFor(subject *identity.Principal) error {
	if !slices.Contains(subject.Uses, identity.Subject) {
		return bad("subject.use", "The subject token's issuer is not trusted for subjects that an agent may act for.")
	}
	a.caller.onBehalf = true
	switch {
	case !a.mayAct():
		return bad("subject.may_act",
			"The subject token names somebody else as the one who may act for its subject (may_act).")
	case a.forged():
		return bad("subject.act_ours", "The subject token names an actor of this server, which only this server may.")
	}
	return nil
}

// verify checks a token that was presented in the given role.
func (a *Attempt) verify(ctx context.Context, role, raw, kind string) (*identity.Principal, error) {
	p, err := a.view.Issuers.Verify(ctx, raw, identity.TokenType(kind))
	if err == nil {
		return p, nil
	}
	f := *fault.As(err)
	if rest, ok := strings.CutPrefix(f.Reason, "token."); ok {
		f.Reason = role + "." + rest
	}
	return nil, &f
}

// bound returns the one client whose identity the token proves. Errors wrap clients.ErrUnbound where there is none.
func (a *Attempt) bound(ctx context.Context, role string, p *identity.Principal) (*clients.Client, error) {
	if !slices.Contains(p.Uses, identity.Workload) {
		return nil, fault.Wrap(fault.InvalidRequest, role+".unbound", unboundSentence, clients.ErrUnbound)
	}
	client, err := a.view.Clients.Match(ctx, p.Issuer, p.Subject, p.Claims)
	switch {
	case errors.Is(err, clients.ErrAmbiguous):
		return nil, fault.Wrap(fault.InvalidRequest, role+".ambiguous",
			"More than one client is registered for this identity; an operator must remove it from all but one.", err)
	case err != nil:
		return nil, fault.Wrap(fault.InvalidRequest, role+".unbound", unboundSentence, err)
	}
	return client, nil
}

const unboundSentence = "No client is registered for the identity in this token; " +
	"an operator must add it to a client's identities."

// mustBe refuses a workload's token that is not of the client found already.
func (a *Attempt) mustBe(ctx context.Context, role string, p *identity.Principal) error {
	client, err := a.bound(ctx, role, p)
	if err != nil {
		return err
	}
	if client.ID != a.caller.client.ID {
		return otherClient()
	}
	return nil
}

func otherClient() error {
	return fault.New(fault.InvalidClient, "client.contradiction",
		"The credentials and tokens of the request name different clients.")
}

// authenticator authenticates the clients of the view's tenant, for who is at that address.
func (x *Exchanger) authenticator(v *tenant.View, from netip.Addr) clients.Authenticator[*identity.Principal] {
	return clients.Authenticator[*identity.Principal]{
		Issuer: v.Issuer, Tenant: v.ID, Registry: v.Clients, Keys: v.ClientKeys, Workload: workload{v}, Claims: x.Claims,
		Guard: x.Limits.Guard(budgets(v), from),
		Disabled: func(id string) bool {
			_, hit := v.Cutoffs.Disabled(target(revoke.Client, id), target(revoke.Tenant, ""))
			return hit
		},
		Now: x.Directory.Now,
	}
}

// workload verifies workload tokens that come as client assertions.
type workload struct{ view *tenant.View }

func (w workload) Verify(ctx context.Context, raw string, spiffe bool) (clients.Identity, *identity.Principal, error) {
	p, err := w.view.Issuers.Verify(ctx, raw, identity.TypeJWT)
	if err != nil {
		return clients.Identity{}, nil, err
	}
	if !slices.Contains(p.Uses, identity.Workload) || spiffe && p.Kind != identity.SPIFFE {
		return clients.Identity{}, nil, fault.New(fault.InvalidClient, "client.assertion.issuer",
			"The assertion's issuer is not trusted for this type of assertion.")
	}
	if err := disabled(w.view.Cutoffs, fault.InvalidClient, vouching(p)...); err != nil {
		return clients.Identity{}, nil, err
	}
	return clients.Identity{Issuer: p.Issuer, Subject: p.Subject, Claims: p.Claims}, p, nil
}
