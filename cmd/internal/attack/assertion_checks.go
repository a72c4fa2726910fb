package attack

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// asserting returns the client with another assertion.
func (c *client) asserting(tamper func(head, claims map[string]any) string) *client {
	next := *c
	next.tamper = tamper
	return &next
}

// stating returns the client with an assertion that is properly signed and states other things; nil leaves one out.
func (c *client) stating(head, claims map[string]any) *client {
	return c.asserting(func(h, cl map[string]any) string {
		return c.key.Sign(forge.Text(forge.With(h, head)), forge.Text(forge.With(cl, claims)))
	})
}

type members = map[string]any

// assertionChecks are about private_key_jwt (RFC 7523 §3).
func assertionChecks() []check {
	assertion := func(ctx context.Context, p *probe, sent string, c *client) {
		p.refuse(ctx, sent, unauthorized, as(c))
	}
	ago := func(p *probe, seconds int64) int64 { return p.now().Unix() - seconds }
	return []check{
		{is("assertion.type", "B8", findings.Must, findings.Medium, "an assertion comes with its type, and the type with it",
			"RFC 7521 §4.2", "Refuse one without the other, and types that are not supported."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "without client_assertion_type", unauthorized.or("invalid_request"), as(nil),
					set("client_assertion", p.client.assertion(p.now())))
				p.refuse(ctx, "client_assertion_type alone", unauthorized.or("invalid_request"), as(nil),
					set("client_assertion_type", jwtBearer))
				p.refuse(ctx, "another client_assertion_type", unauthorized.or("invalid_request"), as(nil),
					set("client_assertion", p.client.assertion(p.now())),
					set("client_assertion_type", strings.Replace(jwtBearer, "jwt", "saml2", 1)))
			}},
		{is("assertion.signature", "B17 B18 B19 T-11", findings.Must, findings.High,
			"an assertion is signed with the client's own key",
			"RFC 7523 §3, RFC 8725 §3.1", "Verify with the registered keys and their algorithms; never with none or HS256."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				for _, alg := range []string{"none", "None", "nOnE"} {
					assertion(ctx, p, "alg "+alg+", no signature", p.client.asserting(func(h, c map[string]any) string {
						return forge.Compact(forge.Text(forge.With(h, members{"alg": alg})), forge.Text(c), nil)
					}))
				}
				for name, secret := range inOrder(p.client.key.Public().Secrets()) {
					assertion(ctx, p, "HS256 with the public key, "+name+", as the secret",
						p.client.asserting(func(h, c map[string]any) string {
							return forge.HS256(forge.Text(forge.With(h, members{"alg": "HS256"})), forge.Text(c), secret)
						}))
				}
				assertion(ctx, p, "signed with another key under the same kid",
					p.client.asserting(func(h, c map[string]any) string {
						other, err := forge.NewKeyFor(p.client.key.Alg, p.client.key.ID)
						if err != nil {
							p.stop("%v", err)
							return ""
						}
						return other.Sign(forge.Text(h), forge.Text(c))
					}))
			}},
		{is("assertion.audience", "B12 T-47", findings.Must, findings.High, "an assertion is meant for this server",
			"RFC 7523 §3", "Refuse an assertion whose aud does not name this server."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "aud of another server", p.client.stating(nil, members{"aud": "https://other.example"}))
				assertion(ctx, p, "no aud", p.client.stating(nil, members{"aud": nil}))
			}},
		{is("assertion.sole-audience", "B13 B14", findings.Profile, findings.Medium,
			"an assertion is meant for this server alone, by its issuer",
			"draft-ietf-oauth-rfc7523bis §4", "Accept the issuer as the sole value of aud: others could replay the assertion."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "aud with another server beside this one",
					p.client.stating(nil, members{"aud": []string{p.client.audience, "https://other.example"}}))
				if p.client.audience != p.server.Token {
					assertion(ctx, p, "aud of the token endpoint", p.client.stating(nil, members{"aud": p.server.Token}))
				}
			}},
		{is("assertion.expired", "B9 B10", findings.Must, findings.High, "an assertion expires",
			"RFC 7523 §3", "Demand exp, and refuse what is past it."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "expired an hour ago",
					p.client.stating(nil, members{"iat": ago(p, 7200), "exp": ago(p, 3600)}))
				assertion(ctx, p, "no exp", p.client.stating(nil, members{"exp": nil}))
			}},
		{is("assertion.lifetime", "B10 T-28", findings.Profile, findings.Medium, "an assertion lives minutes",
			"RFC 7523 §3(4)", "Bound how far ahead exp may be."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "exp in ten years", p.client.stating(nil, members{"exp": ago(p, -10*365*86400)}))
			}},
		{is("assertion.future", "B11", findings.Must, findings.Medium, "an assertion is not used before its time",
			"RFC 7523 §3(5)", "Refuse nbf and iat that lie in the future by more than clocks differ."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "nbf in ten minutes", p.client.stating(nil, members{"nbf": ago(p, -600), "exp": ago(p, -660)}))
			}},
		{is("assertion.issuer", "B15", findings.Must, findings.High, "a client speaks for itself",
			"RFC 7523 §3", "Demand that iss and sub are the client's id."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				assertion(ctx, p, "iss of somebody else", p.client.stating(nil, members{"iss": "no-such-client-7f3a"}))
				assertion(ctx, p, "no sub", p.client.stating(nil, members{"sub": nil}))
				assertion(ctx, p, "no iss", p.client.stating(nil, members{"iss": nil}))
			}},
		{is("assertion.kid", "B20 T-14", findings.Profile, findings.Medium, "an unknown kid is not another key's",
			"RFC 8725 §3.10", "Look kid up exactly, among the client's keys."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				for sent, kid := range inOrder(oddKids) {
					assertion(ctx, p, sent, p.client.stating(members{"kid": kid}, nil))
				}
			}},
		{is("assertion.header-key", "B21 T-13", findings.Must, findings.High,
			"a key that the assertion itself names is not used or fetched",
			"RFC 8725 §3.10", "Ignore or refuse jku, x5u, jwk and x5c."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				p.planted(func(sent string, head members) {
					p.refuse(ctx, sent, unauthorized, as(p.client.asserting(func(h, c map[string]any) string {
						return p.listener.key.Sign(forge.Text(forge.With(h, head)), forge.Text(c))
					})))
				})
			}},
		{is("assertion.replay", "B22", findings.Profile, findings.Medium, "an assertion is good once",
			"RFC 7523 §3(7), OpenID Connect Core §9", "Remember the jti until exp, per client."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				used := p.client.assertion(p.now())
				again := []func(*request){as(nil), set("client_assertion_type", jwtBearer), set("client_assertion", used)}
				if p.accept(ctx, "an assertion", again...) != nil {
					p.refuse(ctx, "the same assertion again", unauthorized, again...)
				}
			}},
		{is("assertion.burnt", "B23 T-47", findings.Profile, findings.Low,
			"a refused assertion does not use up the jti of a good one",
			"RFC 7523 §3(7)", "Remember a jti only when everything else about the assertion is right."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				jti := members{"jti": rand.Text()}
				assertion(ctx, p, "aud of another server", p.client.stating(nil, forge.With(jti,
					members{"aud": "https://x.example"})))
				p.accept(ctx, "a good assertion with the same jti", as(p.client.stating(nil, jti)))
			}},
		{is("assertion.typ", "B25 T-10", findings.Profile, findings.Medium, "a token of another kind is no assertion",
			"RFC 8725 §3.11, §3.12", "Refuse typ values that belong to other kinds of tokens."),
			plain, []need{hasAssertion}, func(ctx context.Context, p *probe) {
				for _, typ := range []string{"at+jwt", "dpop+jwt", "secevent+jwt"} {
					assertion(ctx, p, "typ "+typ, p.client.stating(members{"typ": typ}, nil))
				}
			}},
	}
}

// oddKids are key ids that no key has.
var oddKids = map[string]string{
	"a kid that nobody has":        "no-such-key-7f3a",
	"a kid that looks like a path": "../../../../etc/passwd",
	"a kid that looks like SQL":    "' OR '1'='1",
	"a kid of 4 KiB":               strings.Repeat("k", 4<<10),
}

// planted tries every header by which a token can name a key of its own choice, and then holds the listener against it.
func (p *probe) planted(try func(sent string, head members)) {
	before := p.listener.asked()
	jwk := p.listener.key.Public().JWK()
	id := p.listener.key.ID
	try("jku of a key set of the attacker's", members{"jku": p.listener.url + "/jwks", "kid": id})
	try("x5u of the attacker's", members{"x5u": p.listener.url + "/x5u", "kid": id})
	try("jwk of the attacker's in the header", members{"jwk": jwk})
	try("jwk of the attacker's, with its kid", members{"jwk": jwk, "kid": id})
	asked := p.listener.asked() - before
	p.note(asked == 0, "the address in jku and x5u", "nobody asks for it",
		yes(asked == 0, "nobody asked for it", "the server asked for it"))
}
