package identity_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
)

// FuzzVerify changes real tokens. Whatever comes out is refused with a reason, or says what the issuer signed.
func FuzzVerify(f *testing.F) {
	now := time.Now()
	issuer, err := demoissuer.New(demoissuer.Config{URL: "https://sso.example", Audience: audience,
		Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]bool{}
	for _, r := range []demoissuer.Request{{}, claims("aud", "x"), claims("exp", 1e300),
		claims("may_act", m{"sub": "x"}),
		header("kid", nil), header("crit", []string{"x"}), {Alg: "none"}, {Alg: "HS256"}} {
		compact, err := issuer.Mint(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(compact)
		signed[compact[:strings.LastIndex(compact, ".")]] = true
	}
	jwks, err := issuer.JWKS()
	if err != nil {
		f.Fatal(err)
	}
	sources := identity.NewSources(identity.Config{Now: func() time.Time { return now }})
	entry := identity.Issuer{Name: "sso", Issuer: "https://sso.example", Audiences: []string{audience}, JWKS: jwks}
	pool := sources.Pool("acme", nil, []identity.Issuer{entry}, nil)
	f.Fuzz(func(t *testing.T, compact string) {
		p, err := pool.Verify(t.Context(), compact, identity.TypeJWT)
		switch e := fault.As(err); {
		case err == nil && (!signed[compact[:strings.LastIndex(compact, ".")]] || p.Subject != "alice"):
			t.Errorf("accepted: %+v", p)
		case err != nil && (e.Kind != fault.InvalidRequest || e.Public == "" || !strings.HasPrefix(e.Reason, "token.")):
			t.Errorf("refused with %#v", e)
		}
	})
}

// FuzzJWKS reads key documents. Those without mistakes are used as they are.
func FuzzJWKS(f *testing.F) {
	for _, s := range []string{`{"keys":[{` + ecKey + `,"kid":"1","use":"sig","key_ops":["verify"]}]}`, `{"keys":[{}]}`,
		`{}`,
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}],"spiffe_refresh_hint":1}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`} {
		f.Add(s)
	}
	sources := identity.NewSources(identity.Config{})
	f.Fuzz(func(t *testing.T, jwks string) {
		entry := identity.Issuer{Name: "a", Issuer: "https://a.example", Audiences: []string{"b"},
			JWKS: json.RawMessage(jwks)}
		mistakes := entry.Check()
		sources.Pool("acme", nil, []identity.Issuer{entry}, nil)
		if jwks != "" && len(mistakes) == 0 && !json.Valid([]byte(jwks)) {
			t.Errorf("%q has no mistake", jwks)
		}
	})
}

// FuzzIssuerURL holds the rules for URLs against net/url.
func FuzzIssuerURL(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://127.0.0.1:1", "http://[::1]/a", "https://u@a",
		"https://a?b", "//a", "https:a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, mistake := range (identity.Issuer{Name: "a", Issuer: s, Audiences: []string{"b"}}).Check() {
			if strings.HasPrefix(mistake, "issuer: ") {
				return
			}
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" &&
				!strings.HasPrefix(u.Hostname(), "127.") &&
				!strings.HasPrefix(u.Hostname(), "::")) {
			t.Errorf("%q is accepted", s)
		}
	})
}
