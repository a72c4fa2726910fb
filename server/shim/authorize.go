package shim

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// Grant is a call that may be made, as one view of the tenant has it. Nothing of it may be sent before Intend.
type Grant struct {
	shim   *Shim
	call   Call
	id     string // decision id
	view   *View
	claims *token.Claims
	tool   *tools.Tool
	match  *tools.Match
	refs   []vault.Ref  // of the secrets to be injected, in the order of the tool's injections
	began  time.Time    // by the process's clock, of the intent
	said   *audit.Event // what its records have in common; nil before the first of them
	spent  bool         // an intent is recorded, and the token taken if it is good for one call
	// fits judges what else was read of the call, such as its body, by the tool as it is by then; nil if nothing was.
	fits func(*Grant) error
}

// Authorize judges a call by the newest view of its tenant that this process has. What it refuses is judged again by
// the newest view that there is, then recorded, and returned as a *fault.Error: Unauthenticated for a token that is not
// good for this tool, whoever's it is and whether or not there is such a tool; the others say what a good token may
// not.
func (s *Shim) Authorize(ctx context.Context, c Call) (*Grant, error) {
	view, err := s.cfg.Tenants.View(ctx, c.Slug)
	if err != nil {
		return nil, strangers(err)
	}
	if err := s.cfg.Limits.Request(limit.Tenant{ID: view.ID, Slug: view.Slug}, c.IP); err != nil {
		return nil, s.deny(ctx, &Grant{shim: s, call: c, view: view}, err)
	}
	g := &Grant{shim: s, call: c, id: ledger.NewID(s.cfg.Tenants.Now())}
	err = g.judge(view)
	if err != nil && c.Token != "" {
		// Somebody may have changed the tenant through another process.
		newest, freshErr := s.cfg.Tenants.Fresh(ctx, c.Slug)
		if freshErr != nil {
			return nil, strangers(freshErr)
		}
		if !newest.same(view) {
			err = g.judge(newest)
		}
	}
	if err == nil {
		err = g.admit()
	}
	if err != nil {
		return nil, s.deny(ctx, g, err)
	}
	return g, nil
}

// strangers makes a tenant that does not exist look like a token that is not good.
func strangers(err error) error {
	if fault.As(err).Kind == fault.NotFound {
		return fault.New(fault.Unauthenticated, "target.unknown", "")
	}
	return err
}

// dropNotFound returns err, unless it says that there is no such thing.
func dropNotFound(err error) error {
	if fault.As(err).Kind == fault.NotFound {
		return nil
	}
	return err
}

// judge decides whether the token covers the call, by one view. It has no effect but on g.
func (g *Grant) judge(v *View) error {
	g.view, g.claims, g.tool, g.match, g.refs, g.said = v, nil, nil, nil, nil, nil
	if g.call.Token == "" {
		return fault.New(fault.Unauthenticated, "token.none", "")
	}
	now := g.shim.cfg.Tenants.Now()
	claims, err := g.shim.verify(v, g.call.Token, now)
	if err != nil {
		return err
	}
	tool, ok := v.Tools.Named(g.call.Tool)
	switch {
	case claims.Issuer != v.Issuer:
		return badToken("issuer")
	case !ok || tool.Upstream == nil || claims.Audience != tool.Resource:
		return badToken("audience")
	case !now.Before(time.Unix(claims.Expiry, 0)):
		return badToken("expired")
	case time.Unix(claims.IssuedAt, 0).After(now.Add(token.MaxAhead)):
		return badToken("future")
	case len(claims.Confirmation) > 0:
		return badToken("bound")
	}
	g.claims, g.tool = claims, tool
	if tool.Disabled {
		return fault.New(fault.Unauthenticated, "target.disabled", "")
	}
	if key, hit := v.Cutoffs.Hits(*claims, tool.Name); hit {
		return fault.New(fault.Unauthenticated, "revoked."+key.Kind, "")
	}
	return g.route()
}

func badToken(reason string) error { return fault.New(fault.Unauthenticated, "token."+reason, "") }

// route finds the rule of the call, and what it needs.
func (g *Grant) route() (err error) {
	if g.match, err = g.tool.Upstream.Route(g.call.Method, g.call.Path, g.call.Query); err != nil {
		return err
	}
	needed := g.match.Scope
	if !has(g.claims.Scope, needed) {
		return fault.Wrap(fault.Forbidden, "scope.insufficient",
			"The call needs the scope "+needed+"; ask for it at the token endpoint.", lacking(needed))
	}
	if len(g.claims.AuthorizationDetails) > 0 {
		if g.match, err = g.match.Narrow(g.claims.AuthorizationDetails); err != nil {
			return err
		}
	}
	for _, i := range g.tool.Upstream.Inject {
		ref, err := g.view.Secrets.Active(i.Secret)
		if err != nil {
			return err
		}
		g.refs = append(g.refs, ref)
	}
	return nil
}

// has reports whether a list of words holds one.
func has(list, word string) bool {
	for one := range strings.FieldsSeq(list) {
		if one == word {
			return true
		}
	}
	return false
}

// lacking is the scope that a token does not have.
type lacking string

func (l lacking) Error() string { return "the token lacks a scope" }

// admit takes the call from what the tool and the agent are allowed at once and over time.
func (g *Grant) admit() error {
	t := limit.Tenant{ID: g.view.ID, Slug: g.view.Slug}
	bounds := g.tool.Upstream.Limits
	if err := g.shim.guesses.check(agentAt(g)); err != nil {
		return err
	}
	if err := g.shim.cfg.Limits.Part(t, g.tool.Name+"\x00"+g.claims.ClientID, bounds.AgentRate); err != nil {
		return err
	}
	return g.shim.cfg.Limits.Part(t, g.tool.Name, bounds.Rate)
}

// verified is a token of ours that was verified, and the revision of the rows that its key was one of.
type verified struct {
	claims   *token.Claims
	revision int64
}

// verify returns the claims of a token that the tenant signed. One that was verified a moment ago is not verified again
// as long as the tenant's rows, of which its keys are, are the same.
func (s *Shim) verify(v *View, compact string, now time.Time) (*token.Claims, error) {
	var room [2 << 10]byte // on the stack, for most tokens
	sum := sha256.Sum256(append(room[:0], compact...))
	if known, ok := s.known.Get(v.ID, sum, now); ok && known.revision == v.Revision {
		return known.claims, nil
	}
	payload, err := v.Verify(compact, now)
	if err == nil {
		var c token.Claims
		if c, err = token.Parse(payload); err == nil {
			s.known.Put(v.ID, sum, verified{&c, v.Revision}, len(compact), time.Unix(c.Expiry, 0), now)
			return &c, nil
		}
	}
	if bad, ok := errors.AsType[*token.Error](err); ok {
		return nil, badToken(bad.Reason)
	}
	return nil, fault.Wrap(fault.Unavailable, "token.unverifiable", "", err)
}

// maxTurns bounds how often a call is judged again because the tenant changed meanwhile.
const maxTurns = 4

// Intend records that the call is about to be made. When it returns nil the record is durable, and nothing that was
// committed before it refuses the call: the record's position tells what was. Errors are *fault.Error; then nothing may
// be sent, and the record that nothing was follows.
func (g *Grant) Intend(ctx context.Context) error {
	s := g.shim
	for range maxTurns {
		g.began = time.Now()
		p, err := s.cfg.Log.Append(ctx, g.view.Origin(), g.event(audit.Allowed, "", audit.UseIntent), g.claim()...)
		if _, taken := errors.AsType[*ledger.Taken](err); taken {
			return s.deny(ctx, g, badToken("replayed"))
		}
		if err != nil {
			return fault.As(ended(ctx, err))
		}
		g.spent = true
		newest, err := s.cfg.Tenants.At(ctx, g.call.Slug, p)
		if err != nil {
			return g.abandon(ended(ctx, err))
		}
		if newest.same(g.view) {
			if !g.lasts() { // since it was judged its body may have come, and slowly
				return g.abandon(badToken("expired"))
			}
			return nil
		}
		before, next := *g, *g
		err = next.judge(newest)
		if err == nil && next.fits != nil {
			err = next.fits(&next)
		}
		if err != nil {
			return before.abandon(err)
		}
		*g = next
		if slices.Equal(g.refs, before.refs) && g.tool.Upstream.URL == before.tool.Upstream.URL &&
			g.match.Rule.Path == before.match.Rule.Path {
			return nil
		}
		_ = before.abandon(fault.New(fault.Conflict, "superseded", ""))
	}
	return errChanging
}

var errChanging = fault.New(fault.Unavailable, "tenant.changing",
	"The tenant's configuration is being changed; try again shortly.")

// lasts reports whether the token has not expired.
func (g *Grant) lasts() bool { return g.shim.cfg.Tenants.Now().Before(time.Unix(g.claims.Expiry, 0)) }

// claim takes the token of a tool whose tokens are good for one call, together with the intent.
func (g *Grant) claim() []ledger.Claim {
	if !g.tool.Upstream.SingleUse || g.spent {
		return nil
	}
	return []ledger.Claim{{Key: ledger.UseClaim + g.claims.ID, Until: time.Unix(g.claims.Expiry, 0)}}
}

// abandon records that an intended call was not made, and returns why.
func (g *Grant) abandon(err error) error {
	f := *fault.As(err)
	f.DecisionID = g.id
	g.post(g.event(outcomeOf(&f), f.Reason, audit.UseOutcome))
	return &f
}
