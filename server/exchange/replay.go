package exchange

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// use is something of which there is one use, and which is claimed in the ledger by the commit that records the use.
// So nothing is used up without a record, and of all processes one uses it.
type use struct {
	claim  ledger.Claim
	of     *identity.Principal // nil for the jti of a private_key_jwt assertion
	replay error               // the refusal if somebody else has it; nil if that is only noted
}

// record appends an event, and takes what the attempt uses by it. Errors: those of the log, or the refusal of what was
// used before; nothing is recorded then. event is asked again after what is only noted was found to be used before.
func (a *Attempt) record(ctx context.Context, event func() audit.Event, uses func() []use) (ledger.Position, error) {
	for {
		taking := uses()
		claims := make([]ledger.Claim, len(taking))
		for i, u := range taking {
			claims[i] = u.claim
		}
		p, err := a.x.Log.Append(ctx, a.view.Origin(), event(), claims...)
		taken, lost := errors.AsType[*ledger.Taken](err)
		if !lost {
			if err == nil {
				a.took(taking)
			}
			return p, err
		}
		for _, i := range taken.Claims {
			u := taking[i]
			switch {
			case u.of == nil:
				a.caller = caller{} // a replayed assertion authenticates nobody
				return ledger.Position{}, u.replay
			case u.replay != nil:
				return ledger.Position{}, u.replay
			}
			a.known[u.claim.Key] = true
			u.of.Traded.Store(true)
		}
	}
}

func (a *Attempt) took(uses []use) {
	for _, u := range uses {
		a.held[u.claim.Key] = true
		if u.of != nil {
			u.of.Traded.Store(true)
		}
	}
}

// reused reports whether an earlier exchange of the token is known.
func (a *Attempt) reused(p *identity.Principal) bool { return p != nil && a.known[onceKey(p)] }

// trading is what an issuance uses: the tokens that it rests on, and what authenticated the client.
func (a *Attempt) trading() []use {
	uses := a.authenticating()
	met := map[string]bool{} // a token may be presented twice in a request
	for _, p := range a.caller.principals() {
		key := onceKey(p)
		if p.Replay == identity.ReplayOff || met[key] || a.held[key] {
			continue
		}
		u := use{claim: onceClaim(p), of: p}
		switch {
		case p.Replay == identity.ReplayOnce && p == a.caller.proof.Principal:
			u.replay = assertionReplayed()
		case p.Replay == identity.ReplayOnce:
			u.replay = bad("subject.replayed",
				"A presented token was used before, and its issuer's tokens may be used once; get a new one.")
		case a.known[key] || p.Traded.Load(): // an earlier record has it: there is no need to ask the store
			a.known[key] = true
			continue
		}
		met[key] = true
		uses = append(uses, u)
	}
	return uses
}

// spends reports whether the attempt's record has taken every single use that an issuance needs now. It has not if a
// trusted issuer's tokens may be used once since.
func (a *Attempt) spends() bool {
	return !slices.ContainsFunc(a.trading(), func(u use) bool { return u.replay != nil })
}

// authenticating is what every record uses: the jti of the client's own assertion, whatever came of the request.
func (a *Attempt) authenticating() []use {
	if a.jti.Key == "" || a.held[a.jti.Key] {
		return nil
	}
	return []use{{claim: ledger.Claim(a.jti), replay: clients.Replayed()}}
}

// later notes what an assertion claims, for the attempt's first record to take. A request that is judged again finds it
// taken by itself.
type later ledger.Claim

func (l *later) Claim(_ context.Context, _ ledger.Tenant, key string, until time.Time) (bool, error) {
	*l = later{Key: key, Until: until}
	return true, nil
}

// claim takes the single use of a token for what is not recorded. It reports false if somebody else has it.
func (x *Exchanger) claim(ctx context.Context, v *tenant.View, p *identity.Principal) (fresh bool, err error) {
	c := onceClaim(p)
	if fresh, err = x.Claims.Claim(ctx, v.ID, c.Key, c.Until); err != nil {
		return false, fault.As(err)
	}
	return fresh, nil
}

func assertionReplayed() error {
	return fault.New(fault.InvalidClient, clients.ReasonAssertionReplayed,
		"The client assertion was used before, and its issuer's tokens may be used once; get a new one.")
}

func onceClaim(p *identity.Principal) ledger.Claim {
	return ledger.Claim{Key: onceKey(p), Until: p.Expiry.Add(clients.ReplayMargin)}
}

// onceKey names a token by its issuer and id, never by its bytes: one signed token has many spellings.
func onceKey(p *identity.Principal) string { return "subject\x00" + p.IssuerURL + "\x00" + p.ID }
