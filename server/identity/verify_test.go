package identity_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
)

func TestVerifyAcceptsTheUsualTokenOfEachKind(t *testing.T) {
	for kind, sub := range map[identity.Kind]string{
		identity.OIDC:       "alice",
		identity.Kubernetes: "system:serviceaccount:prod:ap-bot",
		identity.SPIFFE:     "spiffe://demo.example/ns/prod/sa/ap-bot",
		identity.GitHub:     "repo:acme/deploy:ref:refs/heads/main",
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, kind)
			p := w.accept(w.mint(demoissuer.Request{}))
			issuer := w.server.URL
			if kind == identity.SPIFFE {
				issuer = "spiffe://demo.example"
			}
			if p.Issuer != "theirs" || p.IssuerURL != issuer || p.Subject != sub || p.Traded.Load() || p.KeyID == "" ||
				p.MayAct != nil || p.Actors != nil || p.Claims["sub"] != sub || len(p.Hash) != 43 ||
				!p.Expiry.Equal(w.clock.Now().Add(time.Hour)) ||
				!slices.Equal(p.Uses, []identity.Use{identity.Workload}) || p.Replay != identity.ReplayAudit {
				t.Errorf("principal %+v", p)
			}
			if (p.JTI == "") != (kind == identity.SPIFFE) || p.ID == "" || (p.ID == p.JTI) == (kind == identity.SPIFFE) {
				t.Errorf("jti %q, id %q", p.JTI, p.ID)
			}
		})
	}
}

// row is one presented token. Tokens are well-formed and good but for what the row changes.
type row struct {
	name   string
	entry  func(*identity.Issuer)
	mint   demoissuer.Request
	mangle func(w *world, compact string) string
	as     identity.TokenType // jwt if empty
	reason string             // accepted if empty
}

type m = map[string]any

func run(t *testing.T, kind identity.Kind, rows []row) {
	w := newWorld(t, kind)
	plain := w.entry
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := *w
			w.T = t
			w.entry = plain
			if r.entry != nil {
				r.entry(&w.entry)
			}
			if r.as == "" {
				r.as = identity.TypeJWT
			}
			w.pool = w.trust("acme", w.entry)
			compact := w.mint(r.mint)
			if r.mangle != nil {
				compact = r.mangle(&w, compact)
			}
			p, err := w.pool.Verify(t.Context(), compact, r.as)
			switch {
			case r.reason != "":
				wantReason(t, err, r.reason)
				if e := fault.As(err); p != nil || strings.Contains(e.Public, w.server.URL) ||
					strings.Contains(e.Public, "alice") {
					t.Errorf("principal %v, sentence %q", p, e.Public)
				}
			case err != nil:
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func claims(pairs ...any) demoissuer.Request { return demoissuer.Request{Claims: object(pairs)} }
func header(pairs ...any) demoissuer.Request { return demoissuer.Request{Header: object(pairs)} }

func object(pairs []any) m {
	o := m{}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i].(string)] = pairs[i+1]
	}
	return o
}

// payload signs changed bytes of the payload, which no JSON encoder would write.
func payload(change func(string) string) func(*world, string) string {
	return func(w *world, s string) string {
		parts := strings.Split(s, ".")
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(change(string(text))))
		return strings.Join(parts, ".")
	}
}

// TestVerifyRefusesSpellings (T-19): of all spellings of a token but the one that nobody can tell from the first; see
// TestTheOtherSpellingOfAnECDSASignature.
func TestVerifyRefusesSpellings(t *testing.T) {
	const canonical = "token.not_canonical"
	part := func(n int, change func(string) string) func(*world, string) string {
		return func(_ *world, s string) string {
			parts := strings.Split(s, ".")
			parts[n] = change(parts[n])
			return strings.Join(parts, ".")
		}
	}
	constant := func(s string) func(*world, string) string { return func(*world, string) string { return s } }
	run(t, identity.OIDC, []row{
		{name: "an untouched token is accepted"},
		{name: "nothing", mangle: constant(""), reason: canonical},
		{name: "no JWT", mangle: constant("hello"), reason: canonical},
		{name: "two parts", mangle: func(_ *world, s string) string { return s[:strings.LastIndex(s, ".")] },
			reason: canonical},
		{name: "five parts, as a JWE", mangle: func(_ *world, s string) string { return s + ".AAAA.AAAA" },
			reason: canonical},
		{name: "JSON serialization", reason: canonical, mangle: func(_ *world, s string) string {
			p := strings.Split(s, ".")
			return `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`
		}},
		{name: "padding", mangle: func(_ *world, s string) string { return s + "==" }, reason: canonical},
		{name: "a line break inside the payload",
			mangle: part(1, func(s string) string { return s[:9] + "\n" + s[9:] }), reason: canonical},
		{name: "a line break at the end", mangle: func(_ *world, s string) string { return s + "\n" },
			reason: canonical},
		{name: "a leading space", mangle: func(_ *world, s string) string { return " " + s }, reason: canonical},
		{name: "a byte order mark", mangle: func(_ *world, s string) string { return "\ufeff" + s }, reason: canonical},
		{name: "an authorization scheme", mangle: func(_ *world, s string) string { return "Bearer " + s },
			reason: canonical},
		{name: "unused bits that are set", reason: canonical, mangle: part(2, func(s string) string {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			return s[:len(s)-1] + alphabet[strings.IndexByte(alphabet, s[len(s)-1])|1:][:1]
		})},
		{name: "a token over 16 KiB", mint: claims("pad", strings.Repeat("x", 16<<10)), reason: canonical},
		{name: "a claim that is there twice",
			mangle: payload(func(s string) string { return `{"sub":"alice",` + s[1:] }), reason: canonical},
		{name: "a claim that is there twice further down", reason: canonical,
			mangle: payload(func(s string) string { return `{"x":{"a":1,"\u0061":2},` + s[1:] })},
		{name: "a header member that is there twice", reason: canonical, mangle: part(0, func(s string) string {
			text, _ := base64.RawURLEncoding.DecodeString(s)
			return base64.RawURLEncoding.EncodeToString(append([]byte(`{"alg":"ES256",`), text[1:]...))
		})},
		{name: "a payload that is no object", mangle: payload(func(string) string { return `["sub"]` }),
			reason: canonical},
		{name: "a payload that is no UTF-8", reason: canonical,
			mangle: payload(func(s string) string { return strings.Replace(s, "alice", "al\xffce", 1) })},
		{name: "claims nested too deeply", reason: canonical, mangle: payload(func(s string) string {
			return `{"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + "," + s[1:]
		})},
		{name: "a number that overflows", mangle: payload(func(s string) string { return `{"x":1e999,` + s[1:] }),
			reason: "token.malformed"},
	})
}

// TestVerifyRefusesHeaders (T-10, T-11, T-13): types that are for something else, algorithms, and keys by the sender's
// own choice.
func TestVerifyRefusesHeaders(t *testing.T) {
	rows := []row{
		{name: "no typ is accepted", mint: header("typ", nil)},
		{name: "typ is compared without case", mint: header("typ", "jwt")},
		{name: "typ may be a full media type", mint: header("typ", "application/JWT")},
		{name: "an access token of another server is a JWT", mint: header("typ", "at+jwt")},
		{name: "an access token is no ID token", mint: header("typ", "at+jwt"), as: identity.TypeIDToken,
			reason: "token.type"},
		{name: "an ID token is an ID token", as: identity.TypeIDToken},
		{name: "typ JOSE is for SVIDs", mint: header("typ", "JOSE"), reason: "token.type"},
		{name: "an unknown token type", as: "urn:ietf:params:oauth:token-type:saml2", reason: "token.type_identifier"},
		{name: "crit", mint: header("crit", []string{"exp"}), reason: "token.critical"},
		{name: "empty crit", mint: header("crit", []string{}), reason: "token.critical"},
		{name: "unencoded payload", mint: header("b64", false, "crit", []string{"b64"}), reason: "token.critical"},
		{name: "b64 without crit", mint: header("b64", true), reason: "token.critical"},
		{name: "alg none", mint: demoissuer.Request{Alg: "none"},
			mangle: func(_ *world, s string) string { return s + "AA" },
			reason: "token.algorithm"},
		{name: "alg none without signature", mint: demoissuer.Request{Alg: "none"}, reason: "token.not_canonical"},
		{name: "alg nOnE", mint: header("alg", "nOnE"), reason: "token.algorithm"},
		{name: "alg in lower case", mint: header("alg", "es256"), reason: "token.algorithm"},
		{name: "no alg", mint: header("alg", nil), reason: "token.algorithm"},
		{name: "alg that is no string", mint: header("alg", 256), reason: "token.malformed"},
		{name: "HS256 with the public key as secret", mint: demoissuer.Request{Alg: "HS256"},
			reason: "token.algorithm"},
		{name: "PS256 where ES256 and RS256 are allowed", mint: demoissuer.Request{Alg: "PS256"},
			reason: "token.algorithm"},
		{name: "an allowed algorithm with a key of another curve", mint: header("alg", "ES384"),
			reason: "token.key_unfit",
			entry:  func(i *identity.Issuer) { i.Algorithms = []string{"ES256", "ES384"} }},
		{name: "an allowed algorithm with a key of another type", mint: header("alg", "RS256"),
			reason: "token.key_unfit"},
		{name: "an empty signature", mangle: func(_ *world, s string) string { return s[:strings.LastIndex(s, ".")+1] },
			reason: "token.not_canonical"},
		{name: "one flipped bit", mangle: payload(func(s string) string {
			return strings.Replace(s, "alice", "alicd",
				1)
		}),
			reason: "token.signature"},
		{name: "an unknown kid", mint: header("kid", "other"), reason: "token.key_unknown"},
		{name: "a kid that looks like a path", mint: header("kid", "../../etc/passwd"), reason: "token.key_unknown"},
		{name: "a kid that looks like SQL", mint: header("kid", "'; DROP TABLE keys; --"), reason: "token.key_unknown"},
		{name: "a kid of 10 KB", mint: header("kid", strings.Repeat("k", 10<<10)), reason: "token.key_unknown"},
		{name: "a kid that is no string", mint: header("kid", 7), reason: "token.malformed"},
		{name: "no kid, and one key", mint: header("kid", nil)},
		{name: "key material in the header is not looked at",
			mint: header("jku", "http://169.254.169.254/keys", "x5u", "http://169.254.169.254/cert")},
	}
	for _, typ := range []string{"secevent+jwt", "token-introspection+jwt", "statuslist+jwt", "txntoken+jwt",
		"logout+jwt",
		"client-authentication+jwt", "dpop+jwt", "wit+jwt", "wpt+jwt", "oauth-id-jag+jwt", "vc+sd-jwt", "whatever"} {
		rows = append(rows, row{name: "typ " + typ, mint: header("typ", typ), reason: "token.type"})
	}
	run(t, identity.OIDC, rows)
}

// TestVerifyRefusesClaims (T-01, T-02, T-03, T-15): audiences character by character, as a string or a list; dates and
// subjects of every wrong kind. The one odd date that is accepted is a fraction, which RFC 7519 §2 allows; it is
// dropped.
func TestVerifyRefusesClaims(t *testing.T) {
	now := time.Now()
	unix := func(d time.Duration) int64 { return now.Add(d).Unix() }
	once := func(i *identity.Issuer) { i.Replay = identity.ReplayOnce }
	rows := []row{
		{name: "no iss", mint: claims("iss", nil), reason: "token.issuer_missing"},
		{name: "an unknown iss", mint: claims("iss", "https://evil.example"), reason: "token.issuer_unknown"},
		{name: "iss with a slash more", reason: "token.issuer_unknown", mangle: payload(func(s string) string {
			return strings.Replace(s, `","jti"`, `/","jti"`, 1)
		})},
		{name: "iss that is no string", mint: claims("iss", 1), reason: "token.malformed"},
		{name: "ISS does not count as iss", mint: claims("iss", nil, "ISS", "x"), reason: "token.issuer_missing"},
		{name: "ISS beside iss is a claim of its own", mint: claims("ISS", "https://evil.example")},
		{name: "no aud", mint: claims("aud", nil), reason: "token.audience"},
		{name: "another aud", mint: claims("aud", "https://other.example"), reason: "token.audience"},
		{name: "aud with a suffix", mint: claims("aud", audience+".evil"), reason: "token.audience"},
		{name: "aud with a slash more", mint: claims("aud", audience+"/"), reason: "token.audience"},
		{name: "aud in upper case", mint: claims("aud", "https://STS.example/t/acme"), reason: "token.audience"},
		{name: "aud percent-encoded", mint: claims("aud", "https://sts.example/t%2facme"), reason: "token.audience"},
		{name: "aud of another tenant", mint: claims("aud", "https://sts.example/t/other"), reason: "token.audience"},
		{name: "aud of the token endpoint", mint: claims("aud", audience+"/token"), reason: "token.audience"},
		{name: "aud as a list of one", mint: claims("aud", []string{audience})},
		{name: "aud as a list with others", mint: claims("aud", []string{"https://other.example", audience})},
		{name: "aud as a list of others", mint: claims("aud", []string{"https://other.example"}),
			reason: "token.audience"},
		{name: "aud as an empty list", mint: claims("aud", []string{}), reason: "token.audience"},
		{name: "aud as a mixed list", mint: claims("aud", []any{audience, 1}), reason: "token.audience"},
		{name: "aud as an object", mint: claims("aud", m{audience: true}), reason: "token.audience"},
		{name: "no sub", mint: claims("sub", nil), reason: "token.subject"},
		{name: "sub of 2048 bytes", mint: claims("sub", strings.Repeat("s", 2048))},
		{name: "sub of 2049 bytes", mint: claims("sub", strings.Repeat("s", 2049)), reason: "token.subject"},
		{name: "sub with a line break", mint: claims("sub", "ali\nce"), reason: "token.subject"},
		{name: "sub with a NUL", mint: claims("sub", "alice\x00"), reason: "token.subject"},
		{name: "empty sub", mangle: payload(func(s string) string { return strings.Replace(s, `"alice"}`, `""}`, 1) }),
			mint: claims("preferred_username", nil), reason: "token.subject"},
		{name: "sub null", mangle: payload(func(s string) string {
			return strings.Replace(s, `"sub":"alice"`,
				`"sub":null`, 1)
		}),
			reason: "token.subject"},
		{name: "sub that is a number", mint: claims("sub", 1), reason: "token.subject"},
		{name: "no jti", mint: claims("jti", nil)},
		{name: "no jti where tokens count once", mint: claims("jti", nil), entry: once, reason: "token.jti"},
		{name: "jti that is a number", mint: claims("jti", 7), reason: "token.jti"},
		{name: "jti of 2 KB", mint: claims("jti", strings.Repeat("j", 2048)), reason: "token.jti"},
		{name: "no exp", mint: claims("exp", nil), reason: "token.date"},
		{name: "no iat", mint: claims("iat", nil), reason: "token.date"},
		{name: "expired beyond skew", mint: demoissuer.Request{Lifetime: "-31s"}, reason: "token.expired"},
		{name: "expired a second ago", mint: demoissuer.Request{Lifetime: "-1s"}, reason: "token.expired"},
		{name: "exactly at exp", mint: demoissuer.Request{Lifetime: "0s"}, reason: "token.expired"},
		{name: "a second before exp", mint: demoissuer.Request{Lifetime: "1s"}},
		{name: "a fraction is dropped", mint: claims("exp", float64(unix(time.Hour))+0.5)},
		{name: "iat half a minute ahead", mint: claims("iat", unix(30*time.Second))},
		{name: "iat more than a minute ahead", mint: claims("iat", unix(90*time.Second)),
			reason: "token.not_yet_valid"},
		{name: "nbf more than a minute ahead", mint: claims("nbf", unix(90*time.Second)),
			reason: "token.not_yet_valid"},
		{name: "nbf in the past", mint: claims("nbf", unix(-time.Hour))},
		{name: "a life of exactly the bound", mint: demoissuer.Request{Lifetime: "24h"}},
		{name: "a life beyond the bound", mint: demoissuer.Request{Lifetime: "24h0m1s"}, reason: "token.lifetime"},
		{name: "a life of ten years", mint: demoissuer.Request{Lifetime: "87600h"}, reason: "token.lifetime"},
		{name: "iat long ago", mint: claims("iat", unix(-48*time.Hour)), reason: "token.lifetime"},
		{name: "an event", mint: claims("events", m{"urn:x": m{}}), reason: "token.event"},
		{name: "a bound token", mint: claims("cnf", m{"jkt": "x"}), reason: "token.bound"},
		{name: "a delegated token", mint: claims("act", m{"sub": "bot"}), reason: "token.act"},
		{name: "a delegated token with an empty actor", mint: claims("act", m{}), reason: "token.act"},
		{name: "a condition that holds", entry: func(i *identity.Issuer) { i.Condition = "always" }},
		{name: "a condition that fails", entry: func(i *identity.Issuer) { i.Condition = "never" },
			reason: "token.condition"},
		{name: "may_act that names somebody", mint: claims("may_act", m{"sub": "bot", "iss": "https://x.example"})},
		{name: "distributed claims that lead nowhere", mint: claims("_claim_names", m{"a": "b"}),
			reason: "token.malformed"},
	}
	for _, bad := range []any{m{}, "bot", m{"iss": "https://x.example"}, m{"sub": ""}, m{"sub": 1},
		[]any{m{"sub": "bot"}},
		m{"sub": "bot", "email": "b@x.example"}, true} {
		text, _ := json.Marshal(bad)
		rows = append(rows, row{name: "may_act " + string(text), mint: claims("may_act", bad), reason: "token.may_act"})
	}
	for _, name := range []string{"exp", "iat", "nbf"} {
		for _, bad := range []any{"1790000000", -1, 1e300, 1e18, true, m{}, []int{1},
			float64(unix(101 * 365 * 24 * time.Hour))} {
			text, _ := json.Marshal(bad)
			rows = append(rows, row{name: name + " " + string(text), mint: claims(name, bad), reason: "token.date"})
		}
		rows = append(rows, row{name: name + " null", reason: "token.date",
			mint: claims(name, json.RawMessage("null"))})
	}
	run(t, identity.OIDC, rows)
}

// TestTheOtherSpellingOfAnECDSASignature is why state is keyed by issuer and jti: nobody can tell which came first.
func TestTheOtherSpellingOfAnECDSASignature(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	compact := w.mint(demoissuer.Request{})
	first := w.accept(compact)
	at := strings.LastIndex(compact, ".") + 1
	signature, _ := base64.RawURLEncoding.DecodeString(compact[at:])
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	second := w.accept(compact[:at] + base64.RawURLEncoding.EncodeToString(signature))
	if second.IssuerURL != first.IssuerURL || second.ID != first.ID || w.again(second) {
		t.Errorf("first %+v, second %+v", first, second)
	}
}
