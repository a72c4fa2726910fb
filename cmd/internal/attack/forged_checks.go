package attack

import (
	"context"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// describe makes a description of a role's check.
type describe func(id, refs string, c findings.Class, s findings.Severity, title, basis, advice string) findings.Check

// forge presents a token that the issuer's key signed, with other members in its header or its claims.
func (p *probe) forge(ctx context.Context, r role, sent string, head, claims members) {
	p.spoil(ctx, r, sent, r.source(p.suite).mint(head, claims))
}

// forgeText presents a token whose parts are given as text, signed with the issuer's key.
func (p *probe) forgeText(ctx context.Context, r role, sent, head, payload string) {
	p.spoil(ctx, r, sent, r.source(p.suite).key.Sign(head, payload))
}

// headerChecks are about the header of a token that is signed properly.
func headerChecks(r role, about describe) []check {
	keyed := r.needs(forged(r.source))
	return []check{
		{about("crit", "D-10", findings.Must, findings.High, "is refused if it demands what nobody understands",
			"RFC 7515 §4.1.11", "Refuse every crit that names an extension you do not implement, and an empty one."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "crit with an unknown name", members{"crit": []string{"urn:example:x"}, "urn:example:x": true}, nil)
				p.forge(ctx, r, "an empty crit", members{"crit": []string{}}, nil)
			}},
		{about("b64", "D-11", findings.Must, findings.Medium, "has an encoded payload",
			"RFC 7797 §7", "Refuse b64: a JWT must not use it."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				o := r.source(p.suite)
				head, claims := o.members()
				head = forge.With(head, members{"b64": false, "crit": []string{"b64"}})
				p.spoil(ctx, r, "b64 false, the payload as it is", o.key.SignRaw(forge.Text(head), forge.Text(claims)))
				p.forge(ctx, r, "b64 false, the payload encoded", members{"b64": false, "crit": []string{"b64"}}, nil)
			}},
		{about("algorithm", "D-6 T-11", findings.Must, findings.High, "is signed by an algorithm of its issuer's key",
			"RFC 8725 §3.1", "Take the algorithm from the key that you know, and refuse a header that names another."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				key := r.source(p.suite).key
				for _, alg := range []string{"ES256", "ES384", "RS256", "EdDSA"} {
					if alg != key.Alg {
						p.forge(ctx, r, "signed by "+key.Alg+", with "+alg+" in the header", members{"alg": alg}, nil)
					}
				}
				if other := key.Twin(); other != nil {
					head, claims := r.source(p.suite).members()
					p.spoil(ctx, r, "signed by "+other.Alg+" with the issuer's key of "+key.Alg,
						other.Sign(forge.Text(forge.With(head, members{"alg": other.Alg})), forge.Text(claims)))
				}
			}},
		{about("kid", "D-9 T-14", findings.Profile, findings.Medium, "names a key of its issuer, or none",
			"RFC 8725 §3.10", "Look kid up exactly; do not try all keys, and do not look anything else up by it."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				for sent, kid := range inOrder(oddKids) {
					p.forge(ctx, r, sent, members{"kid": kid}, nil)
				}
			}},
		{about("typ", "D-26 T-10", findings.Profile, findings.Medium, "is of a kind that was made for this",
			"RFC 8725 §3.11, §3.12", "Refuse typ values that belong to other kinds of tokens."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				for _, typ := range []string{"secevent+jwt", "dpop+jwt", "logout+jwt", "token-introspection+jwt",
					"statuslist+jwt", "txntoken+jwt", "client-authentication+jwt"} {
					p.forge(ctx, r, "typ "+typ, members{"typ": typ}, nil)
				}
			}},
		{about("duplicate", "D-12 T-15", findings.Profile, findings.Medium, "names no member twice",
			"RFC 7519 §4, RFC 7515 §4", "Parse strictly: of two members with one name, two readers take different ones."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				head, claims := r.source(p.suite).members()
				p.forgeText(ctx, r, "sub twice", forge.Text(head), forge.Twice(claims, "sub", "nobody"))
				p.forgeText(ctx, r, "alg twice", forge.Twice(head, "alg", "none"), forge.Text(claims))
			}},
		{about("large", "D-2 T-59", findings.Profile, findings.Low, "is not very large",
			"bounded work before anybody is known", "Bound the length of tokens before parsing them."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				w := invalidRequest.orStatus(413)
				token := r.source(p.suite).mint(nil, members{"pad": strings.Repeat("a", 24<<10)})
				p.refuse(ctx, "a claim of 24 KiB", w, set(r.param, token))
			}},
		{about("nesting", "T-59", findings.Profile, findings.Low, "is not nested very deep",
			"bounded work before anybody is known", "Bound the depth of JSON."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				head, claims := r.source(p.suite).members()
				deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
				payload := strings.TrimSuffix(forge.Text(claims), "}") + `,"deep":` + deep + "}"
				p.forgeText(ctx, r, "a claim of 2000 nested lists", forge.Text(head), payload)
			}},
	}
}

// claimChecks are about the claims of a token that is signed properly.
func claimChecks(r role, about describe) []check {
	keyed := r.needs(forged(r.source))
	at := func(p *probe, seconds int64) int64 { return p.now().Unix() + seconds }
	return []check{
		{about("expired", "D-13", findings.Must, findings.High, "that has expired is refused",
			"RFC 7519 §4.1.4", "Check exp."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "expired an hour ago", nil, members{"iat": at(p, -7200), "exp": at(p, -3600)})
			}},
		{about("leeway", "D-13 T-18", findings.Profile, findings.Low, "that has just expired is refused as well",
			"RFC 7519 §4.1.4 allows a small leeway", "Leave no leeway behind exp where you are the one who grants new time."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "expired 20 seconds ago", nil, members{"iat": at(p, -300), "exp": at(p, -20)})
			}},
		{about("not-before", "D-14", findings.Must, findings.High, "is not used before its time",
			"RFC 7519 §4.1.5", "Check nbf."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "nbf in ten minutes", nil, members{"nbf": at(p, 600), "exp": at(p, 660)})
			}},
		{about("issued-later", "D-14 T-15", findings.Profile, findings.Medium, "is not issued in the future",
			"RFC 7519 §4.1.6", "Refuse an iat that lies ahead by more than clocks differ: revocation by time depends on it."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "iat in ten minutes", nil, members{"iat": at(p, 600), "exp": at(p, 660)})
			}},
		{about("no-exp", "D-15 T-15", findings.Must, findings.Medium, "says until when it is good",
			"RFC 8725 §3.8, RFC 9068 §2.2, OpenID Connect Core §2", "Demand exp: a token that never expires is a password."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "no exp", nil, members{"exp": nil})
				head, claims := r.source(p.suite).members()
				null := forge.Twice(forge.With(claims, members{"exp": nil}), "exp", nil)
				p.forgeText(ctx, r, "exp null", forge.Text(head), null)
			}},
		{about("odd-dates", "D-15 T-15", findings.Must, findings.Medium, "has dates that are numbers",
			"RFC 7519 §2, §4.1.4", "Refuse dates of other types; do not read them as absent."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "exp as a string", nil, members{"exp": "9999999999"})
				p.forge(ctx, r, "exp negative", nil, members{"exp": -1})
				p.forge(ctx, r, "exp as a list", nil, members{"exp": []int{1}})
				p.forge(ctx, r, "nbf as a string", nil, members{"nbf": "9999999999"})
			}},
		{about("far-exp", "D-16 T-15 T-28", findings.Profile, findings.Medium, "does not live for years",
			"RFC 8725 §3, RFC 9700", "Bound the lifetime that you accept from an issuer."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "exp in ten years", nil, members{"exp": at(p, 10*365*86400)})
				p.forge(ctx, r, "exp 1e300", nil, members{"exp": 1e300})
			}},
		{about("issuer", "D-17 D-18", findings.Must, findings.High, "is of an issuer that is trusted, in one spelling",
			"RFC 7519 §4.1.1", "Compare iss exactly, and demand it."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				iss := r.source(p.suite).config.Issuer.ISS
				p.forge(ctx, r, "an unknown iss", nil, members{"iss": "https://nobody.example"})
				p.forge(ctx, r, "iss with a path behind", nil, members{"iss": strings.TrimSuffix(iss, "/") + "/x"})
				p.forge(ctx, r, "iss in upper case", nil, members{"iss": strings.ToUpper(iss)})
				p.forge(ctx, r, "no iss", nil, members{"iss": nil})
				if p.server.named && p.server.Issuer != iss {
					p.forge(ctx, r, "the server's own iss", nil, members{"iss": p.server.Issuer})
				}
			}},
		{about("audience", "D-19 T-01 T-03", findings.Must, findings.High, "is meant for this server",
			"RFC 7519 §4.1.3, RFC 8725 §3.9",
			"Compare aud exactly with the values that you expect; an empty list means nobody."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				aud := r.source(p.suite).config.Issuer.Audience
				for sent, value := range inOrder(map[string]any{
					"another service": "https://other.example", "other services": []string{"https://a.example", "https://b.example"},
					"ours and more behind": aud + ".evil.example", "ours and %2f behind": aud + "%2f",
					"ours in other case": swapCase(aud), "an empty list": []string{}, "an object": members{"aud": aud},
				}) {
					p.forge(ctx, r, "aud: "+sent, nil, members{"aud": value})
				}
			}},
		{about("no-audience", "D-19 T-02", findings.Must, findings.Medium, "says for whom it is meant",
			"RFC 8725 §3.9", "Demand aud: a token for nobody in particular was made for something else."),
			r.base, keyed, func(ctx context.Context, p *probe) { p.forge(ctx, r, "no aud", nil, members{"aud": nil}) }},
		{about("sub", "D-21 T-15", findings.Must, findings.Medium, "says whom it is about",
			"RFC 7519 §4.1.2", "Demand sub, as a string that is not empty."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "no sub", nil, members{"sub": nil})
				p.forge(ctx, r, "an empty sub", nil, members{"sub": ""})
				p.forge(ctx, r, "sub as a number", nil, members{"sub": 1})
			}},
		{about("bound", "D-25 T-49", findings.Profile, findings.Medium,
			"that is bound to a key is not accepted without its proof",
			"RFC 7800 §3, RFC 9449 §7", "Refuse tokens with cnf unless you check the proof: binding must not get lost."),
			r.base, keyed, func(ctx context.Context, p *probe) {
				p.forge(ctx, r, "cnf of a key that is not proved", nil,
					members{"cnf": members{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}})
			}},
	}
}

// swapCase changes the case of a URL where that makes another of it: behind the scheme, if there are letters.
func swapCase(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if upper := strings.ToUpper(rest); found && upper != rest {
		return scheme + "://" + upper
	}
	return strings.ToUpper(s)
}
