package attack

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// turn exchanges one of the server's own tokens as the profile says.
func (p *probe) turn(ctx context.Context, own string, q Request) *answer {
	r := p.exchange(p.suite.again.client, q)
	r.set("subject_token", own)
	r.set("subject_token_type", typePrefix+"access_token")
	return p.send(ctx, r)
}

// obtain returns a token of the plain exchange with changes, "" if the check cannot go on.
func (p *probe) obtain(ctx context.Context, edits ...func(*request)) string {
	r, err := p.good(ctx, plain)
	if err != nil {
		p.stop("%v", err)
		return ""
	}
	a := p.send(ctx, r.with(edits...))
	if !a.issued() {
		p.stop("no token to begin with: %s", a.got())
		return ""
	}
	return a.token()
}

// againChecks are about tokens of the server's own as subject tokens.
func againChecks() []check {
	return slices.Concat(reuseChecks(), []check{
		{is("again.type", "C9 T-10", findings.Must, findings.Medium, "an access token is no ID token and no refresh token",
			"RFC 8693 §3", "Hold a token against its declared type."),
			plain, nil, func(ctx context.Context, p *probe) {
				for _, kind := range []string{"id_token", "refresh_token"} {
					if own := p.obtain(ctx); own != "" {
						p.refuse(ctx, "the server's access token as "+kind, invalidRequest,
							set("subject_token", own), set("subject_token_type", typePrefix+kind))
					}
				}
			}},
		{is("again.widened", "T-37 T-42 T-16", findings.Must, findings.High, "a second exchange does not widen the scope",
			"RFC 8693 §2.1, RFC 8707 §2.2", "Let a token's own scope be the ceiling of what it is exchanged for."),
			again, []need{exchangesAgain, hasScope, hasNarrower}, func(ctx context.Context, p *probe) {
				if own := p.obtain(ctx, set("scope", p.profile.Try.NarrowerScope)); own != "" {
					a := p.turn(ctx, own, p.profile.Request)
					p.scoped(ctx, "the good scope, of a token with the narrower one", p.profile.Request.Scope,
						words(p.profile.Try.NarrowerScope), a)
				}
			}},
		{is("again.retargeted", "T-42 T-45 F5", findings.Must, findings.High,
			"a second exchange does not reach a denied target",
			"RFC 8693 §2.2.2, RFC 8707 §2.2", "Decide on the target as for the first exchange."),
			again, []need{exchangesAgain, hasDeniedTarget}, func(ctx context.Context, p *probe) {
				if bad := p.profile.Try.DeniedResource; bad != "" {
					p.aim(ctx, "the denied resource", bad, drop("audience", "scope"), set("resource", bad))
				}
				if bad := p.profile.Try.DeniedAudience; bad != "" {
					p.aim(ctx, "the denied audience", bad, drop("resource", "scope"), set("audience", bad))
				}
			}},
		{is("again.expiry", "T-40", findings.Profile, findings.High, "exchanging again and again buys no time",
			"least privilege; RFC 8693 §2.2.1 leaves it open", "Let exp be the least of the policy's and the parent's."),
			again, []need{exchangesAgain}, func(ctx context.Context, p *probe) { p.buyTime(ctx) }},
		{is("again.chain", "T-22", findings.Must, findings.High, "a second exchange does not forget the actor",
			"RFC 8693 §4.1", "Keep the act of your own token, with or without an actor token, or refuse it."),
			again, []need{exchangesAgain, delegates}, func(ctx context.Context, p *probe) { p.keepActor(ctx) }},
		{is("again.other-client", "T-24", findings.Profile, findings.Medium,
			"another client cannot exchange a token that it found",
			"RFC 8693 §5, RFC 9700 §2.2", "Let a token be exchanged by its own client, its audience, or whom a policy names."),
			again, []need{exchangesAgain, hasOther}, func(ctx context.Context, p *probe) {
				w := invalidRequest.or("invalid_client", "unauthorized_client", "invalid_grant", "invalid_target", "invalid_scope")
				p.refuse(ctx, "the token, by the profile's other client", w.orStatus(401), as(p.other))
			}},
		{is("again.revoked", "T-08 D-24", findings.Must, findings.High, "a revoked token cannot be exchanged",
			"RFC 7009 §2, RFC 8693 §2.1", "Ask the revocation state of the subject token before every exchange."),
			again, []need{exchangesAgain, hasRevocation, canRevoke}, func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own != "" && p.revoked(ctx, own) {
					p.refuse(ctx, "a token that was revoked", invalidRequest, set("subject_token", own))
				}
			}},
		{is("again.revoked-parent", "T-53", findings.Profile, findings.High, "what was made of a revoked token goes with it",
			"RFC 8693 §2.1 allows it, RFC 7009 §2.1",
			"Record which token was made of which, and revoke the children with the parent."),
			again, []need{exchangesAgain, hasRevocation, canRevoke}, func(ctx context.Context, p *probe) { p.orphan(ctx) }},
	})
}

// buyTime exchanges a token, and what comes out, five times.
func (p *probe) buyTime(ctx context.Context) {
	own := p.obtain(ctx)
	first, err := p.claims(ctx, own)
	if own == "" || err != nil {
		p.absent = yes(own != "", errUnseen.Error(), "")
		return
	}
	latest := number(first["exp"])
	for hop := 1; hop <= 5; hop++ {
		a := p.turn(ctx, own, p.suite.again.request)
		if !a.issued() {
			p.note(true, fmt.Sprintf("exchange %d", hop), "no later exp, or a refusal", a.got())
			return
		}
		claims, err := p.claims(ctx, a.token())
		if err != nil {
			p.absent = err.Error()
			return
		}
		exp := number(claims["exp"])
		p.note(exp <= latest && exp > 0, fmt.Sprintf("exchange %d", hop), "exp not later than that of the first token",
			fmt.Sprintf("%d seconds later", max(0, exp-latest)))
		own = a.token()
	}
}

// keepActor exchanges a token that names an actor, without an actor token.
func (p *probe) keepActor(ctx context.Context) {
	r, err := p.good(ctx, delegated)
	if err != nil {
		p.stop("%v", err)
		return
	}
	parent := p.send(ctx, r)
	p.seen(ctx, parent, func(claims map[string]any) {
		before := chain(claims)
		if len(before) == 0 {
			p.absent = "its tokens name no actor in the first place"
			return
		}
		a := p.turn(ctx, parent.token(), p.delegation.request)
		if !a.issued() {
			p.note(true, "a token with act, no actor token", "refused, or a token that still names the actor", a.got())
			return
		}
		p.seen(ctx, a, func(claims map[string]any) {
			kept := slices.Contains(chain(claims), before[0])
			p.granted = p.granted || !kept
			p.note(kept, "a token with act, no actor token", "refused, or a token that still names the actor",
				yes(kept, "200, the actor is still there", "200, the actor is gone"))
		})
	})
}

// orphan revokes a token of which another was made.
func (p *probe) orphan(ctx context.Context) {
	parent := p.obtain(ctx)
	if parent == "" {
		return
	}
	child := p.turn(ctx, parent, p.suite.again.request)
	if !child.issued() {
		p.stop("no child: %s", child.got())
		return
	}
	if !p.revoked(ctx, parent) {
		return
	}
	p.refuse(ctx, "the child of a revoked token, exchanged", invalidRequest, set("subject_token", child.token()))
	if p.reader != nil && p.server.Introspection != "" {
		is := active(p.introspect(ctx, p.reader, child.token()))
		p.note(!is, "the child of a revoked token, introspected", "not active", yes(!is, "not active", "active"))
	}
}

// reuseChecks are about subject tokens that are good once.
func reuseChecks() []check {
	return []check{{is("subject.once", "D-28 T-17", findings.Must, findings.High,
		"a subject token that is good once is used once",
		"the profile says once; RFC 7523 §3(7)", "Claim (iss, jti) atomically, in a store that all processes share."),
		plain, []need{isOnce}, func(ctx context.Context, p *probe) {
			token, err := p.subject.get(ctx)
			if err != nil {
				p.stop("%v", err)
				return
			}
			p.accept(ctx, "a fresh subject token", set("subject_token", token))
			p.refuse(ctx, "the same again", invalidRequest, set("subject_token", token))
			p.race(ctx)
		}}}
}

// race presents one token many times at once.
func (p *probe) race(ctx context.Context) {
	const rivals = 20
	r, err := p.good(ctx, plain)
	if err != nil {
		p.stop("%v", err)
		return
	}
	req := make([]*request, rivals)
	for i := range req {
		req[i] = r.with() // the suite is not made for rivals, so all is ready before they start
	}
	var wins, lost int
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, one := range req {
		all.Go(func() {
			a := p.alone(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			if a.issued() {
				wins++
			} else if a.failed != "" || a.status == 429 {
				lost++
			}
		})
	}
	all.Wait()
	p.requests += rivals
	if lost == rivals {
		p.stop("none of %d requests at once was answered", rivals)
		return
	}
	p.granted = p.granted || wins > 1
	p.note(wins <= 1, fmt.Sprintf("a fresh one, %d times at once", rivals), "at most one token", fmt.Sprintf("%d tokens",
		wins))
}
