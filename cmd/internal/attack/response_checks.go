package attack

import (
	"context"
	"crypto/rand"
	"fmt"
	"mime"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// yes tells what was found, for notes.
func yes(ok bool, good, bad string) string {
	if ok {
		return good
	}
	return bad
}

// controlChecks show what the others rest on.
func controlChecks() []check {
	return []check{
		{is("control.exchange", "", findings.Must, findings.High, "the good exchange is granted, and again",
			"RFC 8693 §2.2.1", "Nothing else in this report means anything without it."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.accept(ctx, "the good request")
				p.accept(ctx, "the good request again")
			}},
		{is("control.delegation", "", findings.Must, findings.High, "the good exchange with an actor token is granted",
			"RFC 8693 §2.1", "The checks about actors rest on it."),
			delegated, []need{delegates}, func(ctx context.Context, p *probe) {
				p.accept(ctx,
					"the good request with an actor token")
			}},
		{is("control.again", "", findings.Must, findings.High, "the good exchange of the server's own token is granted",
			"RFC 8693 §3", "The checks about the server's own tokens rest on it."),
			again, []need{exchangesAgain}, func(ctx context.Context, p *probe) {
				p.accept(ctx, "the server's own token as the subject token")
			}},
	}
}

func responseChecks() []check {
	return []check{
		{is("response.members", "T-38", findings.Must, findings.Medium, "a grant says what was issued",
			"RFC 8693 §2.2.1", "Return access_token, issued_token_type and token_type, as application/json."),
			plain, nil, func(ctx context.Context, p *probe) {
				a := p.accept(ctx, "the good request")
				if a == nil {
					return
				}
				issued, kind := a.text("issued_token_type"), a.text("token_type")
				p.note(strings.Contains(issued, ":"), "issued_token_type", "a URI", yes(issued != "", shown(issued), "absent"))
				p.note(kind != "", "token_type", "Bearer, DPoP or N_A", yes(kind != "", shown(kind), "absent"))
				usable := issued != typePrefix+"access_token" || !strings.EqualFold(kind, "N_A")
				p.noteAs(findings.Low, findings.Must, usable, "token_type of an access token", "not N_A", shown(kind))
				media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
				p.noteAs(findings.Low, findings.Must, media == "application/json", "Content-Type", "application/json", shown(media))
			}},
		{is("response.expires", "D-16", findings.Profile, findings.Low, "a grant says for how long, and that is short",
			"RFC 8693 §2.2.1, RFC 9700 §2.2", "Return expires_in; let exchanged tokens live minutes."),
			plain, nil, func(ctx context.Context, p *probe) {
				a := p.accept(ctx, "the good request")
				if a == nil {
					return
				}
				seconds := number(a.object["expires_in"])
				p.note(seconds > 0, "expires_in", "a positive number", yes(seconds > 0, "one", "none"))
				p.note(seconds <= 3600, "expires_in", "at most an hour", fmt.Sprintf("%d seconds", seconds))
			}},
		{is("response.scope", "T-38 TE-16", findings.Must, findings.Low,
			"a grant states a scope that differs from the request",
			"RFC 8693 §2.2.1", "Return scope; always is simplest."),
			plain, []need{hasScope}, func(ctx context.Context, p *probe) {
				a := p.accept(ctx, "the good request")
				if a == nil {
					return
				}
				_, stated := a.object["scope"].(string)
				claims, err := p.claims(ctx, a.token())
				differs := err == nil && claims["scope"] != nil &&
					!sameSet(words(claims["scope"]), words(p.profile.Request.Scope))
				p.note(stated || !differs, "scope", "stated, unless it is what was asked for", yes(stated, "stated", "not stated"))
			}},
		{is("response.refresh", "T-44", findings.Profile, findings.Medium, "no refresh token comes out",
			"RFC 8693 §2.2.1", "Do not issue refresh tokens: the subject token is there to be exchanged again."),
			plain, nil, func(ctx context.Context, p *probe) {
				if a := p.accept(ctx, "the good request"); a != nil {
					has := a.object["refresh_token"] != nil
					p.note(!has, "refresh_token", "absent", yes(!has, "absent", "there"))
				}
			}},
		{is("token.signature", "T-11", findings.Must, findings.High, "an issued JWT verifies with the published keys",
			"RFC 9068 §4, RFC 7517", "Sign with a key of jwks_uri, named by kid; never with none or a shared secret."),
			plain, []need{hasKeys}, func(ctx context.Context, p *probe) {
				p.issuedJWT(ctx, func(compact string, t *forge.Token) {
					alg, _ := t.Head()["alg"].(string)
					kid, _ := t.Head()["kid"].(string)
					keys := p.published(ctx)
					p.note(!strings.HasPrefix(alg, "HS") && !strings.EqualFold(alg, "none"), "alg", "a signature", shown(alg))
					known := slices.ContainsFunc(keys, func(k *forge.Public) bool { return k.ID == kid })
					p.noteAs(findings.Medium, findings.Must, known, "kid", "one of the published keys", yes(known, "one of them",
						"none of them"))
					good := slices.ContainsFunc(keys, func(k *forge.Public) bool { return k.Verify(compact) })
					p.note(good, "the signature", "verifies with a published key", yes(good, "verifies", "does not verify"))
				})
			}},
		{is("token.claims", "", findings.Must, findings.Medium, "an issued JWT says by whom, for whom and until when",
			"RFC 9068 §2.2", "Set iss, aud, exp, iat, jti, client_id and sub."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.issuedJWT(ctx, func(_ string, t *forge.Token) { p.checkClaims(t) })
			}},
		{is("token.copied", "T-36", findings.Must, findings.High, "a subject token does not write the server's own claims",
			"RFC 9068 §2.2", "Set client_id, jti and the tenant yourself; copy no claim that you have not chosen."),
			plain, []need{forged(subjectRole.source)}, func(ctx context.Context, p *probe) {
				planted := members{"client_id": "planted-7f3a", "tenant": "planted-7f3a", "jti": "planted-" + rand.Text()}
				a := p.ask(ctx, set("subject_token", p.subject.mint(nil, planted)))
				if a != nil && !a.issued() {
					p.judged("a subject token with client_id and tenant", a)
					return
				}
				p.seen(ctx, a, func(claims map[string]any) {
					for name, value := range inOrder(planted) {
						p.note(claims[name] != value, name, "the server's own", yes(claims[name] != value, "the server's own, or none",
							"that of the subject token"))
					}
				})
			}},
		{is("token.expiry", "T-40", findings.Profile, findings.High, "an issued token does not outlive its subject token",
			"least privilege; RFC 8693 §2.2.1 leaves it open", "Let exp be the least of the policy's and the inputs'."),
			plain, []need{forged(subjectRole.source)}, func(ctx context.Context, p *probe) {
				exp := p.now().Unix() + 45
				a := p.accept(ctx, "a subject token that lives 45 seconds", set("subject_token", p.subject.mint(nil,
					members{"exp": exp})))
				if a == nil {
					return
				}
				until := p.now().Unix() + number(a.object["expires_in"])
				if claims, err := p.claims(ctx, a.token()); err == nil && number(claims["exp"]) > 0 {
					until = number(claims["exp"])
				}
				p.note(until <= exp+2, "exp of the issued token", "not later than that of the subject token",
					fmt.Sprintf("%d seconds later", max(0, until-exp)))
			}},
	}
}

// issuedJWT runs part of a check with a token that was just issued, if it is a JWT.
func (p *probe) issuedJWT(ctx context.Context, run func(compact string, t *forge.Token)) {
	a := p.accept(ctx, "the good request")
	if a == nil {
		return
	}
	t, err := forge.Parse(a.token())
	if err != nil {
		p.absent = "issued tokens are not JWTs"
		return
	}
	run(a.token(), t)
}

func (p *probe) checkClaims(t *forge.Token) {
	claims, now := t.Claims(), p.now().Unix()
	text := func(name string) string { s, _ := claims[name].(string); return s }
	if p.server.named {
		p.note(text("iss") == p.server.Issuer, "iss", "the server's issuer", yes(text("iss") == p.server.Issuer, "it",
			"another"))
	} else {
		p.note(text("iss") != "", "iss", "there (what it should be is not known)", yes(text("iss") != "", "there", "absent"))
	}
	p.note(text("sub") != "", "sub", "there", yes(text("sub") != "", "there", "absent"))
	exp, iat := number(claims["exp"]), number(claims["iat"])
	p.note(exp > now-60, "exp", "there, and in the future", yes(exp > 0, "there", "absent"))
	p.noteAs(findings.Low, findings.Must, iat > 0 && iat <= now+60, "iat", "there, and not in the future", yes(iat > 0,
		"there", "absent"))
	list := audiences(claims)
	p.note(len(list) > 0, "aud", "there", fmt.Sprintf("%d values", len(list)))
	if target := p.profile.Request.Resource; target != "" {
		p.note(slices.Contains(list, target), "aud", "names the resource that was asked for",
			yes(slices.Contains(list, target), "names it", "does not name it"))
	}
	p.noteAs(findings.Medium, findings.Profile, len(list) == 1, "aud", "one target", fmt.Sprintf("%d", len(list)))
	for _, name := range []string{"jti", "client_id"} {
		p.noteAs(findings.Low, findings.Profile, text(name) != "", name, "there", yes(text(name) != "", "there", "absent"))
	}
	typ, _ := t.Head()["typ"].(string)
	short := strings.TrimPrefix(strings.ToLower(typ), "application/")
	p.noteAs(findings.Low, findings.Profile, short == "at+jwt", "typ", "at+jwt", shown(typ))
	p.noteAs(findings.Low, findings.Profile, claims["may_act"] == nil, "may_act", "absent", yes(claims["may_act"] == nil,
		"absent", "there"))
}

func sameSet(a, b []string) bool { return len(beyond(a, b)) == 0 && len(beyond(b, a)) == 0 }
