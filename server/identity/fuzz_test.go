package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
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

// FuzzClaims has issuers of two kinds sign anything at all. What is accepted is meant for this tenant, is valid now,
// says its claims once, and names a subject that the kind allows.
func FuzzClaims(f *testing.F) {
	now := time.Now().Truncate(time.Second)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256,
		Key: jose.JSONWebKey{Key: private, KeyID: "1"}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "1"}}})
	if err != nil {
		f.Fatal(err)
	}
	sources := identity.NewSources(identity.Config{Now: func() time.Time { return now }})
	pool := sources.Pool("acme", nil, []identity.Issuer{
		{Name: "sso", Issuer: "https://sso.example", Audiences: []string{audience}, JWKS: jwks, Replay: identity.ReplayOnce},
		{Name: "mesh", Kind: identity.SPIFFE, TrustDomain: "mesh.example", Audiences: []string{audience}, JWKS: jwks},
	}, nil)
	usual := fmt.Sprintf(`"aud":%q,"iat":%d,"exp":%d`, audience, now.Unix(), now.Unix()+60)
	for _, seed := range []string{
		`{"iss":"https://sso.example","sub":"alice","jti":"1",` + usual + `}`,
		`{"sub":"spiffe://mesh.example/ns/prod/sa/a",` + usual + `}`,
		`{"sub":"spiffe://mesh.example/../x",` + usual + `}`,
		`{"sub":"spiffe://mesh.example:1/a",` + usual + `}`,
		`{"sub":"spiffe://mesh.example/%61",` + usual + `}`,
		`{"iss":"https://sso.example","sub":"a","sub":"b","jti":"1",` + usual + `}`,
		`{"iss":"https://sso.example","sub":"alice","jti":"1","aud":["x",` + fmt.Sprintf("%q", audience) + `],"exp":1e300}`,
		`{"iss":"https://sso.example","sub":"alice","jti":"1","may_act":{"sub":"x"},` + usual + `}`,
		`{"iss":"https://sso.example","sub":"alice","jti":"1","nbf":1.5e9,"n":[{"a":1e400}],` + usual + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed, err := signer.Sign(payload)
		if err != nil {
			return
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			return
		}
		p, err := pool.Verify(t.Context(), compact, identity.TypeJWT)
		if err != nil {
			if e := fault.As(err); p != nil || e.Kind != fault.InvalidRequest || !strings.HasPrefix(e.Reason, "token.") {
				t.Errorf("refused with %#v", e)
			}
			return
		}
		var said struct {
			Iss, Sub, JTI string
			Exp           float64
		}
		if err := json.Unmarshal(payload, &said); err != nil || token.CheckJSON(payload) != nil {
			t.Fatalf("%s is accepted: %v", payload, err)
		}
		until := time.Duration(said.Exp-float64(now.Unix())) * time.Second
		if p.Claims["sub"] != p.Subject || !now.Before(p.Expiry) || until > 366*24*time.Hour || p.ID == "" ||
			!bytes.Contains(payload, []byte(`"aud"`)) && !bytes.Contains(payload, []byte(`\u`)) {
			t.Errorf("%s is %+v", payload, p)
		}
		switch p.Issuer {
		case "sso":
			if p.IssuerURL != "https://sso.example" || p.JTI == "" || p.Claims["iss"] != p.IssuerURL {
				t.Errorf("%s is %+v", payload, p)
			}
		case "mesh":
			u, err := url.Parse(p.Subject)
			if err != nil || u.Scheme != "spiffe" || u.Host != "mesh.example" || u.User != nil || u.RawQuery != "" ||
				u.Fragment != "" || u.RawPath != "" || path.Clean(u.Path) != u.Path || len(u.Path) < 2 ||
				u.String() != p.Subject {
				t.Errorf("the SPIFFE ID %q", p.Subject)
			}
		default:
			t.Errorf("%s is %+v", payload, p)
		}
	})
}

// FuzzReadMetadata reads discovery documents. Keys come from nowhere but where the right issuer's own document says.
func FuzzReadMetadata(f *testing.F) {
	const issuer = "https://sso.example"
	for _, seed := range []string{`{"issuer":"https://sso.example","jwks_uri":"https://sso.example/jwks"}`,
		`{"issuer":"https://sso.example","jwks_uri":"http://127.0.0.1/jwks"}`,
		`{"issuer":"https://sso.example/","jwks_uri":"https://sso.example/jwks"}`,
		`{"issuer":"https://sso.example","jwks_uri":"file:///etc/passwd"}`,
		`{"issuer":"x","ISSUER":"https://sso.example","jwks_uri":"https://a"}`, `{}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		uri, err := identity.ReadMetadata(data, issuer)
		if err != nil {
			if uri != "" {
				t.Errorf("refused, and read as %q", uri)
			}
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			t.Errorf("the keys are at %q", uri)
		}
		var exact map[string]any
		if err := json.Unmarshal(data, &exact); err != nil || exact["issuer"] != issuer || exact["jwks_uri"] != uri {
			t.Errorf("%s is read as %q", data, uri)
		}
	})
}
