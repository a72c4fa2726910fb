package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// prior is an actor who acted before, as forged subject tokens have it.
const prior = "prior-actor-7f3a"

// onBehalf is the subject token of the exchange with an actor token.
func onBehalf(s *suite) *source {
	if s.delegation == nil {
		return nil
	}
	return s.delegation.subject
}

// pretend exchanges, with an actor token, a subject token with other claims.
func (p *probe) pretend(ctx context.Context, sent string, claims members) *answer {
	return p.refuse(ctx, sent, invalidRequest, set("subject_token", p.delegation.subject.mint(nil, claims)))
}

// wrongActor is how an actor is refused whom the client must not present.
var wrongActor = invalidRequest.or("invalid_client", "unauthorized_client", "invalid_grant").orStatus(401)

// pose presents an actor token of the good actor's issuer that is about somebody else.
func (p *probe) pose(ctx context.Context, sent, sub string) {
	if _, claims := p.delegation.actor.members(); claims["sub"] != sub {
		p.refuse(ctx, sent, wrongActor, set("actor_token", p.delegation.actor.mint(nil, members{"sub": sub})))
	}
}

func delegationChecks() []check {
	return slices.Concat(mayActChecks(), actorChecks(), chainChecks())
}

func mayActChecks() []check {
	needs := []need{delegates, forged(onBehalf)}
	return []check{
		{is("may-act.mismatch", "E1 E2 T-25", findings.Must, findings.High, "may_act keeps everybody else from acting",
			"RFC 8693 §4.4", "Hold the actor, or the client, against may_act by iss and sub; refuse if it is another."),
			delegated, needs, func(ctx context.Context, p *probe) {
				p.pretend(ctx, "may_act of somebody else", members{"may_act": members{"sub": "nobody-7f3a"}})
				sub := any("nobody-7f3a")
				if p.delegation.actor.key != nil {
					_, claims := p.delegation.actor.members()
					sub = claims["sub"]
				}
				p.pretend(ctx, "may_act with the actor's sub and another iss",
					members{"may_act": members{"iss": "https://nobody.example", "sub": sub}})
			}},
		{is("may-act.shape", "E3 T-25", findings.Profile, findings.Medium, "a may_act that names nobody lets nobody act",
			"RFC 8693 §4.4", "Refuse a may_act that is empty or no object: empty never means anyone."),
			delegated, needs, func(ctx context.Context, p *probe) {
				p.pretend(ctx, "may_act as an empty object", members{"may_act": members{}})
				p.pretend(ctx, "may_act as a string", members{"may_act": "anyone"})
				p.pretend(ctx, "may_act as a list", members{"may_act": []string{}})
			}},
		{is("may-act.match", "E1", findings.Must, findings.Medium, "whom may_act names may act",
			"RFC 8693 §4.4", "Accept the actor that may_act names, and do not hand may_act on."),
			delegated, append(needs, hasMayAct), func(ctx context.Context, p *probe) {
				token := p.delegation.subject.mint(nil, members{"may_act": p.profile.Delegation.MayAct})
				a := p.accept(ctx, "may_act of the profile's actor", set("subject_token", token))
				p.seen(ctx, a, func(claims map[string]any) {
					p.noteAs(findings.Low, findings.Profile, claims["may_act"] == nil, "the issued token", "no may_act",
						fmt.Sprintf("may_act is there: %t", claims["may_act"] != nil))
				})
			}},
	}
}

func actorChecks() []check {
	return []check{
		{is("actor.named", "E7 T-43", findings.Profile, findings.High, "the issued token names the actor",
			"RFC 8693 §4.1", "Put the actor into act: without it nobody can tell the agent from the person."),
			delegated, []need{delegates}, func(ctx context.Context, p *probe) {
				a := p.accept(ctx, "a good actor token")
				p.seen(ctx, a, func(claims map[string]any) {
					act, _ := claims["act"].(map[string]any)
					sub, _ := act["sub"].(string)
					p.note(sub != "", "act of the issued token", "an object with sub", fmt.Sprintf("sub is there: %t", sub != ""))
					p.noteAs(findings.Low, findings.Must, !slices.ContainsFunc([]string{"exp", "nbf", "aud"}, func(name string) bool {
						return act[name] != nil
					}), "the members of act", "no exp, nbf or aud (RFC 8693 §4.1)", "as they are")
				})
			}},
		{is("actor.other", "T-24 E6", findings.Must, findings.High,
			"somebody else's actor token is not the client's to present",
			"RFC 8693 §2.1, §5", "Bind the actor token to the authenticated client, or authorize the pair explicitly."),
			delegated, []need{delegates, hasOtherActor}, func(ctx context.Context, p *probe) {
				token, err := p.delegation.otherActor.get(ctx)
				if err != nil {
					p.stop("%v", err)
					return
				}
				p.refuse(ctx, "the actor token of the profile's other actor", wrongActor,
					set("actor_token", token), set("actor_token_type", p.delegation.otherActor.kind))
			}},
		{is("actor.unknown", "D-22 E7", findings.Must, findings.High, "an actor whom nobody registered does not act",
			"RFC 8693 §2.1, §5", "Bind the actor's issuer and subject to somebody you know, and to the client that asks."),
			delegated, []need{delegates, forged(actorRole.source)}, func(ctx context.Context, p *probe) {
				p.pose(ctx, "an actor token with another sub", "no-such-actor-7f3a")
			}},
		{is("actor.lookalike", "D-22 T-31 T-33", findings.Must, findings.High,
			"whose name looks like the actor's is somebody else",
			"RFC 7519 §4.1.2, RFC 8725 §3", "Compare sub whole and exactly, or by patterns that are held to both ends."),
			delegated, []need{delegates, forged(actorRole.source)}, func(ctx context.Context, p *probe) {
				_, claims := p.delegation.actor.members()
				sub, _ := claims["sub"].(string)
				for sent, other := range inOrder(map[string]string{"with more behind": sub + "-evil",
					"with more before": "evil-" + sub, "with a path behind": sub + "/evil", "with a part behind": sub + ":evil",
					"with a line break behind": sub + "\n", "with a NUL and more": sub + "\x00evil", "in other case": swapCase(sub),
				}) {
					p.pose(ctx, "the actor's sub "+sent, other)
				}
			}},
		{is("actor.same", "E8", findings.Profile, findings.Low, "nobody acts for itself",
			"RFC 8693 §1.1", "Refuse the same token as subject and actor."),
			delegated, []need{delegates}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "the actor's token as the subject token too", invalidRequest, func(r *request) {
					r.set("subject_token", r.form.Get("actor_token"))
					r.set("subject_token_type", r.form.Get("actor_token_type"))
				})
			}},
		{is("actor.chain", "E5", findings.Profile, findings.Medium, "an actor token brings no actors of its own",
			"RFC 8693 §4.1 leaves it open", "Refuse act in actor tokens: whose chain would it be?"),
			delegated, []need{delegates, forged(actorRole.source)}, func(ctx context.Context, p *probe) {
				p.forge(ctx, actorRole, "an actor token with act", nil, members{"act": members{"sub": prior}})
			}},
	}
}

func chainChecks() []check {
	return []check{
		{is("chain.strip", "T-22", findings.Must, findings.High, "who acted before is not forgotten",
			"RFC 8693 §4.1", "Keep the act of the subject token, with or without an actor token, or refuse the token."),
			plain, []need{forged(subjectRole.source)}, func(ctx context.Context, p *probe) {
				claims := members{"act": members{"sub": prior}}
				p.keeps(ctx, "a subject token with act, no actor token", p.ask(ctx, set("subject_token", p.subject.mint(nil,
					claims))))
				if p.delegation == nil || !p.delegation.works || p.delegation.subject.key == nil {
					return
				}
				r, err := p.good(ctx, delegated)
				if err != nil {
					p.stop("%v", err)
					return
				}
				r.set("subject_token", p.delegation.subject.mint(nil, claims))
				p.keeps(ctx, "a subject token with act, and an actor token", p.send(ctx, r))
			}},
		{is("chain.forged", "T-27", findings.Must, findings.High,
			"a trusted issuer cannot speak of actors in the server's name",
			"RFC 8693 §4.1", "Do not sign another issuer's act as if you had recorded it; refuse your own iss in it."),
			plain, []need{forged(subjectRole.source), hasIssuer}, func(ctx context.Context, p *probe) {
				sent := "act with the server's own iss"
				act := members{"iss": p.server.Issuer, "sub": prior}
				a := p.ask(ctx, set("subject_token", p.subject.mint(nil, members{"act": act})))
				if a == nil || !a.issued() {
					p.judged(sent, a)
					return
				}
				p.seen(ctx, a, func(claims map[string]any) {
					p.note(!vouches(claims, p.server.Issuer), sent, "400 invalid_request, or no such actor in the server's name",
						"200, and the server vouches for the actor")
				})
			}},
		{is("chain.shape", "E3", findings.Must, findings.Low, "act is an object",
			"RFC 8693 §4.1", "Refuse an act that is no object; do not drop it."),
			plain, []need{forged(subjectRole.source)}, func(ctx context.Context, p *probe) {
				for sent, act := range inOrder(map[string]any{"a string": "x", "a list": []string{"x"}, "a number": 1}) {
					p.forge(ctx, subjectRole, "act as "+sent, nil, members{"act": act})
				}
			}},
		{is("chain.splice", "T-23", findings.Profile, findings.Medium, "two runs are not joined",
			"draft-ietf-oauth-transaction-tokens §2", "Refuse subject and actor tokens whose txn differ."),
			delegated, []need{delegates, forged(onBehalf), forged(actorRole.source)},
			func(ctx context.Context, p *probe) { p.splice(ctx) }},
		{is("chain.prior-actor", "T-29", findings.Must, findings.High, "who acted before lends nobody a right to act now",
			"RFC 8693 §4.1", "Decide by the current actor alone; the act within a token is history."),
			delegated, []need{delegates, forged(onBehalf), forged(actorRole.source), hasOtherActor},
			func(ctx context.Context, p *probe) {
				_, claims := p.delegation.actor.members()
				other, err := p.delegation.otherActor.get(ctx)
				if err != nil {
					p.stop("%v", err)
					return
				}
				act := members{"iss": claims["iss"], "sub": claims["sub"]}
				p.refuse(ctx, "the other actor's token, for a subject token with the act of the good one", wrongActor,
					set("subject_token", p.delegation.subject.mint(nil, members{"act": act})),
					set("actor_token", other), set("actor_token_type", p.delegation.otherActor.kind))
			}},
		{is("chain.depth", "E4 T-26", findings.Profile, findings.Medium, "a chain of actors does not grow for ever",
			"bounded tokens; RFC 8693 §4.1", "Bound the depth, and refuse a longer chain; never cut it."),
			plain, []need{forged(subjectRole.source)}, func(ctx context.Context, p *probe) {
				deep := members{"sub": prior}
				for range 99 {
					deep = members{"sub": "hop", "act": deep}
				}
				p.keeps(ctx, "100 actors", p.refuse(ctx, "100 actors", invalidRequest,
					set("subject_token", p.subject.mint(nil, members{"act": deep}))))
			}},
	}
}

// splice joins a subject token of one run and an actor token of another: the issuer's, and the server's own.
func (p *probe) splice(ctx context.Context) {
	p.joined(ctx, "a subject token", "run-7f3a", p.delegation.subject.kind, func() string {
		return p.delegation.subject.mint(nil, members{"txn": "run-7f3a"})
	})
	own := p.obtain(ctx)
	if claims, err := p.claims(ctx, own); err == nil && p.suite.again.works {
		if run, says := claims["txn"].(string); says {
			p.joined(ctx, "the server's own token", run, typePrefix+"access_token", func() string { return own })
		}
	}
	if len(p.tries) == 0 {
		p.absent = "the server takes no tokens with a txn, not even of one run"
	}
}

// joined presents a token of a run with an actor token of another, if it may be had with one of the same.
func (p *probe) joined(ctx context.Context, what, run, kind string, token func() string) {
	with := func(actors string) []func(*request) {
		return []func(*request){set("subject_token", token()), set("subject_token_type", kind),
			set("actor_token", p.delegation.actor.mint(nil, members{"txn": actors}))}
	}
	if a := p.ask(ctx, with(run)...); a != nil && a.issued() {
		p.refuse(ctx, what+" of one run (txn), an actor token of another", invalidRequest, with("run-9c1e")...)
	}
}

// judged judges a refusal that may come.
func (p *probe) judged(sent string, a *answer) {
	if a != nil {
		p.judge(sent, invalidRequest, a)
	}
}

// keeps expects a refusal, or a token in which the prior actor is still there.
func (p *probe) keeps(ctx context.Context, sent string, a *answer) {
	if a == nil || !a.issued() {
		p.judged(sent, a)
		return
	}
	p.seen(ctx, a, func(claims map[string]any) {
		kept := slices.ContainsFunc(chain(claims), func(sub string) bool { return strings.Contains(sub, prior) })
		got := "200, the actor is still there"
		if !kept {
			got, p.granted = "200, the actor is gone", true
		}
		p.noteAs(findings.High, findings.Must, kept, sent, "400 invalid_request, or a token that still names the actor", got)
	})
}

// vouches reports whether a token has the prior actor in the name of an issuer.
func vouches(claims map[string]any, issuer string) bool {
	for act, ok := claims["act"].(map[string]any); ok; act, ok = act["act"].(map[string]any) {
		if sub, _ := act["sub"].(string); sub == prior && act["iss"] == issuer {
			return true
		}
	}
	return false
}
