package attack

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// revoker is who may revoke tokens of the good request.
func (s *suite) revoker() *client {
	if s.client.confidential() {
		return s.client
	}
	return s.reader
}

var canRevoke = offers(func(s *suite) bool { return s.revoker() != nil },
	"nobody in the profile has credentials to revoke with")

// revoked revokes a token, and reports whether the server says so.
func (p *probe) revoked(ctx context.Context, token string) bool {
	a := p.revoke(ctx, p.revoker(), token)
	if a.status != http.StatusOK {
		p.stop("the token cannot be revoked: %s", a.got())
	}
	return a.status == http.StatusOK
}

// told notes whether introspection calls a token active.
func (p *probe) told(ctx context.Context, sent, token string, want bool) {
	a := p.introspect(ctx, p.reader, token)
	is, stated := a.object["active"].(bool)
	got := a.got()
	if stated {
		got = fmt.Sprintf("%d, active: %t", a.status, is)
	}
	p.note(stated && is == want && a.status == http.StatusOK, sent, fmt.Sprintf("200, active: %t", want), got)
	if stated && !is {
		p.noteAs(findings.Low, findings.Must, len(a.object) == 1, sent, "nothing but active: false",
			fmt.Sprintf("%d members", len(a.object)))
	}
}

func introspectionChecks() []check {
	needs := []need{hasIntrospection, hasReader}
	return []check{
		{is("introspect.unauthenticated", "I1 T-56", findings.Must, findings.High, "introspection tells nothing to strangers",
			"RFC 7662 §2.1", "Authenticate the caller."),
			nothing, []need{hasIntrospection}, func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own == "" {
					return
				}
				for sent, c := range inOrder(map[string]*client{"no credentials": nil,
					"an unknown client": {id: "no-such-client-7f3a", auth: authBasic, secret: "wrong-secret-7f3a"}}) {
					a := p.introspect(ctx, c, own)
					p.note(!active(a) && a.failed == "", sent, "400 or 401 invalid_client", a.got())
				}
			}},
		{is("introspect.active", "T-57", findings.Must, findings.Medium, "a good token is active, and described as it is",
			"RFC 7662 §2.2", "Answer with the claims of the token."),
			nothing, needs, func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own == "" {
					return
				}
				a := p.introspect(ctx, p.reader, own)
				if !active(a) {
					p.blind(a)
					return
				}
				p.note(true, "a good token", "200, active: true", "200, active: true")
				if t, err := forge.Parse(own); err == nil {
					p.agree(a.object, t.Claims())
				}
			}},
		{is("introspect.actor", "T-57 TE-29", findings.Profile, findings.Medium, "introspection names the actor",
			"RFC 8693 §4.1", "Return act as it is in the token."),
			nothing, append([]need{delegates}, needs...), func(ctx context.Context, p *probe) {
				r, err := p.good(ctx, delegated)
				if err != nil {
					p.stop("%v", err)
					return
				}
				a := p.send(ctx, r)
				t, err := forge.Parse(a.token())
				if err != nil || len(chain(t.Claims())) == 0 {
					p.absent = "issued tokens name no actor that could be compared"
					return
				}
				told := p.introspect(ctx, p.reader, a.token())
				if !active(told) {
					p.blind(told)
					return
				}
				same := slices.Equal(chain(told.object), chain(t.Claims()))
				p.note(same, "a token with act", "the same act", yes(same, "the same", "another, or none"))
			}},
		{is("introspect.inactive", "I3 T-57", findings.Must, findings.High,
			"what is no good token is not active, and nothing more is said",
			"RFC 7662 §2.2", "Answer {\"active\":false} and nothing else, with status 200."),
			nothing, needs, func(ctx context.Context, p *probe) {
				p.told(ctx, "a word", "hello", false)
				p.told(ctx, "an unsigned JWT", forge.Compact(`{"alg":"none"}`, `{"sub":"x"}`, nil), false)
				own := p.obtain(ctx)
				t, err := forge.Parse(own)
				if own == "" || err != nil {
					return
				}
				p.told(ctx, "a token with one bit of its signature changed", forge.Flipped(t), false)
				p.told(ctx, "a token without its signature", forge.Compact(t.Header, t.Payload, nil), false)
				payload := forge.Text(forge.With(t.Claims(), members{"x_note": 1}))
				p.told(ctx, "a token with a claim added", forge.Compact(t.Header, payload, t.Signature), false)
			}},
		{is("introspect.request", "I2 I4", findings.Must, findings.Low, "an introspection request is a POST with a token",
			"RFC 7662 §2.1", "Answer invalid_request without token, and 405 to other methods."),
			nothing, needs, func(ctx context.Context, p *probe) {
				a := p.send(ctx, p.post(p.server.Introspection, p.reader))
				p.note(a.status == 400, "no token", "400 invalid_request", a.got())
				own := p.obtain(ctx)
				if own == "" {
					return
				}
				r := p.post(p.server.Introspection, p.reader)
				r.set("token", own)
				get := p.send(ctx, r.with(p.written(func(r *request) { inQuery()(r); r.method, r.media = http.MethodGet, "" })))
				p.noteAs(findings.Low, findings.Profile, !active(get), "GET, the token in the URL", "405", get.got())
			}},
		{is("introspect.other", "I5 T-56", findings.Profile, findings.Medium,
			"a client learns nothing of tokens that are not for it",
			"RFC 7662 §2.2, §4", "Answer {\"active\":false} to callers whom the token is not addressed to."),
			nothing, append([]need{hasOther}, needs...), func(ctx context.Context, p *probe) {
				if own := p.obtain(ctx); own != "" {
					a := p.introspect(ctx, p.other, own)
					p.note(!active(a), "the profile's other client", "active: false, or a refusal", yes(!active(a), a.got(),
						"active: true"))
				}
			}},
	}
}

// agree holds an introspection response against the token.
func (p *probe) agree(told, claims map[string]any) {
	for _, name := range []string{"iss", "sub", "scope", "client_id"} {
		if told[name] != nil && claims[name] != nil {
			p.note(told[name] == claims[name], name, "as in the token", yes(told[name] == claims[name], "the same", "another"))
		}
	}
	if told["exp"] != nil {
		same := number(told["exp"]) == number(claims["exp"])
		p.note(same, "exp", "as in the token", yes(same, "the same", "another"))
	}
	if told["aud"] != nil {
		same := slices.Equal(audiences(told), audiences(claims))
		p.note(same, "aud", "as in the token", yes(same, "the same", "another"))
	}
}

func revocationChecks() []check {
	needs := []need{hasRevocation, canRevoke}
	return []check{
		{is("revoke.unauthenticated", "T-56", findings.Must, findings.High, "a stranger cannot revoke",
			"RFC 7009 §2.1", "Authenticate the caller."),
			nothing, append([]need{hasIntrospection, hasReader, hasCredentials}, needs...), func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own == "" || !p.isActive(ctx, own) {
					return
				}
				a := p.revoke(ctx, nil, own)
				p.note(a.status == 400 || a.status == 401, "no credentials", "400 or 401 invalid_client", a.got())
				p.told(ctx, "the token afterwards", own, true)
			}},
		{is("revoke.token", "T-08 I3", findings.Must, findings.High, "a revoked token is not active any more",
			"RFC 7009 §2, RFC 7662 §2.2", "Let introspection ask the revocation state each time."),
			nothing, append([]need{hasIntrospection, hasReader}, needs...), func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own != "" && p.isActive(ctx, own) && p.revoked(ctx, own) {
					p.told(ctx, "a token that was revoked", own, false)
					a := p.revoke(ctx, p.revoker(), own)
					p.noteAs(findings.Low, findings.Must, a.status == 200, "revoked again", "200", a.got())
				}
			}},
		{is("revoke.hint", "I10", findings.Must, findings.Medium, "a wrong token_type_hint does not keep a token alive",
			"RFC 7009 §2.1", "Take the hint for a hint, and look everywhere."),
			nothing, append([]need{hasIntrospection, hasReader}, needs...), func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own == "" || !p.isActive(ctx, own) {
					return
				}
				r := p.post(p.server.Revocation, p.revoker())
				r.set("token", own)
				r.set("token_type_hint", "refresh_token")
				a := p.send(ctx, r)
				p.note(a.status == 200, "token_type_hint=refresh_token for an access token", "200", a.got())
				p.told(ctx, "the token afterwards", own, false)
			}},
		{is("revoke.garbage", "I6 I8", findings.Must, findings.Low, "what is no token is revoked already",
			"RFC 7009 §2.2", "Answer 200 to tokens that you do not know, and invalid_request without one."),
			nothing, needs, func(ctx context.Context, p *probe) {
				a := p.revoke(ctx, p.revoker(), "hello")
				p.note(a.status == 200, "a word", "200", a.got())
				a = p.send(ctx, p.post(p.server.Revocation, p.revoker()))
				p.note(a.status == 400, "no token", "400 invalid_request", a.got())
			}},
		{is("revoke.other", "I7 T-56", findings.Must, findings.High, "a client cannot revoke another's token",
			"RFC 7009 §2.1", "Refuse, and leave the token as it is."),
			nothing, append([]need{hasIntrospection, hasReader, hasOther}, needs...), func(ctx context.Context, p *probe) {
				own := p.obtain(ctx)
				if own == "" || !p.isActive(ctx, own) {
					return
				}
				a := p.revoke(ctx, p.other, own)
				p.noteAs(findings.Low, findings.Profile, a.status == 400 || a.status == 401, "the profile's other client",
					"400 invalid_grant", a.got())
				p.told(ctx, "the token afterwards", own, true)
			}},
	}
}

// isActive makes sure that the reader can see the token at all.
func (p *probe) isActive(ctx context.Context, token string) bool {
	a := p.introspect(ctx, p.reader, token)
	if !active(a) {
		p.blind(a)
	}
	return active(a)
}

// blind ends a check whose reader is not told of good tokens.
func (p *probe) blind(a *answer) {
	if p.profile.Others.ResourceServer == nil {
		p.missing = "the server does not tell the profile's client about its tokens; name others.resource_server"
		return
	}
	p.stop("a good token is not active for the profile's resource server: %s", a.got())
}
