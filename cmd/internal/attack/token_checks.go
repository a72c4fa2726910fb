package attack

import (
	"context"
	"errors"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// role is a place in which a token is presented; its tokens go through the same checks in each.
type role struct {
	name   string // begins the ids
	what   string
	base   base
	param  string
	source func(*suite) *source // nil for the server's own tokens
	need   need                 // of the base; nil if it always works
}

var (
	subjectRole = role{"subject", "a subject token", plain, "subject_token",
		func(s *suite) *source { return s.subject }, nil}
	actorRole = role{"actor", "an actor token", delegated, "actor_token", func(s *suite) *source {
		if s.delegation == nil {
			return nil
		}
		return s.delegation.actor
	}, delegates}
	ownRole = role{"own", "a token of the server's own", again, "subject_token", nil, exchangesAgain}
)

func (r role) needs(more ...need) []need {
	if r.need != nil {
		more = append([]need{r.need}, more...)
	}
	return more
}

// isJWT is the need of tokens that can be taken apart.
func (r role) isJWT(ctx context.Context, s *suite) (findings.Verdict, string) {
	_, _, err := r.sample(ctx, s)
	switch {
	case errors.Is(err, errOpaque):
		return findings.NotApplicable, err.Error()
	case err != nil:
		return findings.Error, err.Error()
	}
	return "", ""
}

// sample is a good token, taken apart.
func (r role) sample(ctx context.Context, s *suite) (*forge.Token, string, error) {
	if r.source != nil {
		return r.source(s).sample(ctx)
	}
	compact, err := s.own(ctx)
	if err != nil {
		return nil, "", err
	}
	t, err := forge.Parse(compact)
	if err != nil {
		return nil, "", errOpaque
	}
	return t, compact, nil
}

func (r role) keys(ctx context.Context, s *suite) []*forge.Public {
	if r.source != nil {
		return r.source(s).keys(ctx)
	}
	return s.published(ctx)
}

// hasKeys is the need of the public keys with which such tokens are verified.
func (r role) hasKeys(ctx context.Context, s *suite) (findings.Verdict, string) {
	switch {
	case len(r.keys(ctx, s)) > 0:
		return "", ""
	case r.source == nil && s.server.Keys == "":
		return findings.NotApplicable, "the server names no jwks_uri"
	case r.source != nil && r.source(s).keysAt() == "":
		return findings.Skip, "the profile does not say where the issuer's public keys are: jwks_uri beside the command"
	}
	return findings.Error, "the public keys cannot be read"
}

// sampled runs part of a check with a good token.
func (p *probe) sampled(ctx context.Context, r role, run func(t *forge.Token, compact string)) {
	t, compact, err := r.sample(ctx, p.suite)
	if err != nil {
		p.stop("%v", err)
		return
	}
	run(t, compact)
}

// spoil presents a spoilt token.
func (p *probe) spoil(ctx context.Context, r role, sent, token string) {
	if token != "" {
		p.refuse(ctx, sent, invalidRequest, set(r.param, token))
	}
}

// tokenChecks are those of a token in a role: first what anybody can do to a good token, then what only somebody with
// the issuer's key can make.
func tokenChecks(r role) []check {
	jwt := r.needs(r.isJWT)
	about := func(id, refs string, c findings.Class, s findings.Severity, title, basis, advice string) findings.Check {
		return is(r.name+"."+id, refs, c, s, r.what+" "+title, basis, advice)
	}
	checks := []check{
		{about("malformed", "D-1", findings.Must, findings.High, "is whole and in its one form",
			"RFC 8693 §2.2.2, RFC 7519 §7.2", "Accept the compact form with three parts and nothing else."),
			r.base, r.needs(), func(ctx context.Context, p *probe) {
				p.spoil(ctx, r, "a word", "hello")
				p.spoil(ctx, r, "two dots", "..")
				p.sampledIfJWT(ctx, r, func(t *forge.Token, compact string) {
					p.spoil(ctx, r, "without its signature part", forge.Bare(t))
					p.spoil(ctx, r, "half of it", compact[:len(compact)/2])
					p.spoil(ctx, r, "with two more parts", compact+".e30.e30")
					p.spoil(ctx, r, "in JSON serialization", forge.JSON(compact))
				})
			}},
		{about("signature", "D-8 T-11", findings.Must, findings.High, "is verified",
			"RFC 7519 §7.2, RFC 8725 §3.3", "Verify every signature before believing anything."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(t *forge.Token, _ string) {
					p.spoil(ctx, r, "one bit of the signature changed", forge.Flipped(t))
					p.spoil(ctx, r, "an empty signature", forge.Compact(t.Header, t.Payload, nil))
					payload := forge.Text(forge.With(t.Claims(), members{"x_note": 1}))
					p.spoil(ctx, r, "a claim added under the old signature", forge.Compact(t.Header, payload, t.Signature))
					alg, _ := t.Head()["alg"].(string)
					kid, _ := t.Head()["kid"].(string)
					if other, err := forge.NewKeyFor(alg, kid); err == nil {
						p.spoil(ctx, r, "signed with another key under the same kid", other.Sign(t.Header, t.Payload))
					}
				})
			}},
		{about("alg-none", "D-4 T-11 T-12", findings.Must, findings.High, "is not accepted unsigned",
			"RFC 8725 §3.1", "Allow the algorithms of the issuer's keys; none is not one."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(t *forge.Token, compact string) {
					for _, alg := range []string{"none", "None", "nOnE"} {
						head := forge.Text(forge.With(t.Head(), members{"alg": alg}))
						p.spoil(ctx, r, "alg "+alg+", no signature", forge.Compact(head, t.Payload, nil))
						p.spoil(ctx, r, "alg "+alg+", the old signature", forge.Compact(head, t.Payload, t.Signature))
					}
					wrapped := `{"alg":"none","cty":"JWT"}`
					p.spoil(ctx, r, "wrapped in an unsigned token", forge.Compact(wrapped, compact, nil))
				})
			}},
		{about("hs256", "D-5 T-11", findings.Must, findings.High, "is not verified with a public key as a secret",
			"RFC 8725 §2.1, §3.1", "Bind each key to its algorithm; never take a public key for a shared secret."),
			r.base, r.needs(r.isJWT, r.hasKeys), func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(t *forge.Token, _ string) {
					keys := r.keys(ctx, p.suite)
					head := forge.Text(forge.With(t.Head(), members{"alg": "HS256"}))
					for name, secret := range inOrder(keyOf(t, keys)) {
						p.spoil(ctx, r, "HS256 with the public key, "+name+", as the secret", forge.HS256(head, t.Payload, secret))
					}
				})
			}},
		{about("header-key", "D-9 T-13", findings.Must, findings.High, "does not choose its key, and makes nobody fetch one",
			"RFC 8725 §3.10", "Ignore or refuse jku, x5u, jwk and x5c; take keys from the issuer's configuration alone."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(t *forge.Token, _ string) {
					p.planted(func(sent string, head members) {
						head = forge.With(t.Head(), forge.With(head, members{"alg": "ES256"}))
						p.spoil(ctx, r, sent, p.listener.key.Sign(forge.Text(head), t.Payload))
					})
				})
			}},
		{about("spelling", "D-3 T-19", findings.Must, findings.Low, "has no padding and no line breaks",
			"RFC 7515 §2", "Refuse what is not base64url as RFC 7515 has it: replay and deny lists see another token."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(_ *forge.Token, compact string) {
					p.spoil(ctx, r, "the signature padded", forge.Padded(compact))
					p.spoil(ctx, r, "a line break in the signature", forge.Broken(compact))
				})
			}},
		{about("unused-bits", "D-3 T-19", findings.Profile, findings.Medium, "has one spelling of its last character",
			"RFC 4648 §3.5", "Decode strictly, so that one token has one text; key replay lists by (iss, jti)."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(_ *forge.Token, compact string) {
					other := forge.UnusedBits(compact)
					if other == "" {
						p.absent = "the length of its signatures leaves no unused bits"
					}
					p.spoil(ctx, r, "unused bits of the last character set", other)
				})
			}},
		{about("decorated", "D-32", findings.Profile, findings.Low, "comes without decoration",
			"RFC 8693 §2.1", "Compare the whole value; do not strip schemes, spaces or byte order marks."),
			r.base, jwt, func(ctx context.Context, p *probe) {
				p.sampled(ctx, r, func(_ *forge.Token, compact string) {
					p.spoil(ctx, r, "behind the word Bearer", "Bearer "+compact)
					p.spoil(ctx, r, "behind a byte order mark", "\ufeff"+compact)
					p.spoil(ctx, r, "with a space behind", compact+" ")
				})
			}},
	}
	if r.source == nil {
		return checks
	}
	return append(checks, append(headerChecks(r, about), claimChecks(r, about)...)...)
}

// sampledIfJWT is sampled where the tokens may as well be opaque.
func (p *probe) sampledIfJWT(ctx context.Context, r role, run func(t *forge.Token, compact string)) {
	if t, compact, err := r.sample(ctx, p.suite); err == nil {
		run(t, compact)
	}
}

// keyOf returns the texts of the key that signed a token, each by its name. There is at least one key.
func keyOf(t *forge.Token, keys []*forge.Public) map[string][]byte {
	kid, _ := t.Head()["kid"].(string)
	for _, k := range keys {
		if k.ID == kid {
			return k.Secrets()
		}
	}
	return keys[0].Secrets()
}
