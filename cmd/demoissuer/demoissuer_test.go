package demoissuer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
)

// start serves an issuer below a path, as one of several on a host.
func start(t *testing.T, kind demoissuer.Kind) (base string) {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	base = server.URL + "/theirs"
	issuer, err := demoissuer.New(demoissuer.Config{Kind: kind, URL: base})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/theirs/", http.StripPrefix("/theirs", issuer))
	return base
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, read(t, resp)
}

func get(t *testing.T, url string, target any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if text := read(t, resp); json.Unmarshal([]byte(text), target) != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("get %s: %s: %s", url, resp.Status, text)
	}
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

var every = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.PS256, jose.EdDSA}

// verify checks a token against the published keys and returns its claims.
func verify(t *testing.T, base, compact string) (map[string]any, error) {
	t.Helper()
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	get(t, base+"/.well-known/openid-configuration", &metadata)
	if metadata.Issuer != base {
		t.Errorf("issuer %s, want %s", metadata.Issuer, base)
	}
	var keys jose.JSONWebKeySet
	get(t, metadata.JWKSURI, &keys)
	token, err := jwt.ParseSigned(compact, every)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	return claims, token.Claims(keys, &claims)
}

func TestTokensVerifyWithThePublishedKeys(t *testing.T) {
	for _, kind := range []demoissuer.Kind{demoissuer.OIDC, demoissuer.Kubernetes, demoissuer.SPIFFE, demoissuer.GitHub} {
		base := start(t, kind)
		for _, body := range []string{"", `{"alg":"ES384"}`, `{"alg":"PS256","claims":{"aud":["a"]}}`, `{"alg":"EdDSA"}`} {
			status, compact := post(t, base+"/mint", body)
			if status != http.StatusOK {
				t.Fatalf("%s %s: %d %s", kind, body, status, compact)
			}
			claims, err := verify(t, base, compact)
			if err != nil {
				t.Errorf("%s %s: %v", kind, body, err)
			}
			if _, has := claims["iss"]; has == (kind == demoissuer.SPIFFE) {
				t.Errorf("%s: claims %v", kind, claims)
			}
		}
	}
}

func TestMintDoesWhatItIsAsked(t *testing.T) {
	base := start(t, demoissuer.Kubernetes)
	_, compact := post(t, base+"/mint", `{"claims":{"sub":"system:serviceaccount:dev:bot","jti":null,"extra":1},
		"header":{"typ":"at+jwt","kid":null},"lifetime":"-5m"}`)
	token, err := jwt.ParseSigned(compact, every)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		jwt.Claims
		Extra int `json:"extra"`
		Bound struct {
			Namespace string `json:"namespace"`
		} `json:"kubernetes.io"`
	}
	if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil {
		t.Fatal(err)
	}
	if claims.ID != "" || claims.Extra != 1 || claims.Bound.Namespace != "dev" ||
		claims.Expiry.Time().Sub(claims.IssuedAt.Time()).String() != "-5m0s" {
		t.Errorf("claims %+v", claims)
	}
	if h := token.Headers[0]; h.KeyID != "" || h.ExtraHeaders["typ"] != "at+jwt" {
		t.Errorf("header %+v", h)
	}
	for _, body := range []string{`{"alg":"XS1"}`, `{"lifetime":"soon"}`, `{"claim":{}}`, `[`} {
		if status, text := post(t, base+"/mint", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestRotation(t *testing.T) {
	base := start(t, demoissuer.OIDC)
	_, old := post(t, base+"/mint", "")
	post(t, base+"/rotate", "")
	_, fresh := post(t, base+"/mint", "")
	for _, compact := range []string{old, fresh} {
		if _, err := verify(t, base, compact); err != nil {
			t.Errorf("after rotation: %v", err)
		}
	}
	post(t, base+"/drop", "")
	if _, err := verify(t, base, old); err == nil {
		t.Error("a dropped key still verifies")
	}
	if _, err := verify(t, base, fresh); err != nil {
		t.Errorf("after drop: %v", err)
	}
	var stats struct{ Fetches, Discoveries int }
	if get(t, base+"/stats", &stats); stats.Fetches != 4 || stats.Discoveries != 4 {
		t.Errorf("stats %+v", stats)
	}
}

func TestModes(t *testing.T) {
	base := start(t, demoissuer.OIDC)
	for mode, want := range map[string]int{"500": 500, "html": 200, "redirect:http://127.0.0.1:1/": 302, "ok": 200} {
		if status, text := post(t, base+"/mode", `{"jwks":"`+mode+`"}`); status != http.StatusNoContent {
			t.Fatalf("mode %s: %d %s", mode, status, text)
		}
		resp, err := http.DefaultTransport.RoundTrip(httptest.NewRequest(http.MethodGet, base+"/jwks", nil))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("mode %s: %d, want %d", mode, resp.StatusCode, want)
		}
	}
	if status, _ := post(t, base+"/mode", `{"jwks":"tired"}`); status != http.StatusBadRequest {
		t.Errorf("an unknown mode: %d", status)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []demoissuer.Config{{}, {URL: "http://x", Kind: "saml"}} {
		if _, err := demoissuer.New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
