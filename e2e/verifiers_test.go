package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// verdict is one question to a verifier: whether it accepts a token at some tool at some time.
type verdict struct {
	Name     string    `json:"-"`
	Token    string    `json:"token"`
	Audience string    `json:"audience"`
	Now      time.Time `json:"now"`
	accept   bool
}

// Whoever verifies our tokens without us accepts the good ones and no others. The verifiers know nothing of bursar but
// its published metadata and keys.
func TestIndependentVerifiers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		metadata := harness.Get(t, w.BaseURL+"/.well-known/oauth-authorization-server/t/acme")
		if metadata.Text("issuer") != w.Issuer("acme") {
			t.Fatalf("metadata: status %d %s", metadata.Status, metadata.Body)
		}
		actions := "    actions: [entries.read]\n"
		w.Apply(t, strings.Replace(w.file(t, "acme.yaml"), actions, actions+"    signing_alg: RS256\n", 1))
		cases := w.verdicts(t)
		for name, verify := range map[string]func(*testing.T, *world, string, []verdict) []error{
			"go-oidc": byOIDC, "jwx": byJWX, "jose": byJose, "our own": byOurs,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for i, err := range verify(t, w, metadata.Text("jwks_uri"), cases) {
					if (err == nil) != cases[i].accept {
						t.Errorf("%s: %v", cases[i].Name, err)
					}
				}
			})
		}
	})
}

func (w *world) verdicts(t *testing.T) []verdict {
	t.Helper()
	var cases []verdict
	for _, tool := range []struct{ alg, resource, scope string }{
		{"ES256", payments, readRefunds}, {"RS256", ledger, "ledger:entries.read"}, {"EdDSA", mail, "mail:send"},
	} {
		good := w.acme().MustExchange(t, harness.Form(w.workload(t), tool.resource, tool.scope))
		if alg := harness.Header(t, good)["alg"]; alg != tool.alg {
			t.Errorf("%s is signed with %v", tool.resource, alg)
		}
		now := time.Now()
		add := func(name, token, audience string, at time.Time, accept bool) {
			cases = append(cases, verdict{tool.alg + " " + name, token, audience, at, accept})
		}
		add("good", good, tool.resource, now, true)
		add("in its last second", good, tool.resource, expiry(t, good).Add(-time.Second), true)
		add("expired", good, tool.resource, expiry(t, good).Add(time.Second), false)
		add("at another tool", good, "https://tools.acme.example/other", now, false)
		add("at a tool that begins alike", good, tool.resource+"/", now, false)
		add("with a flipped bit", mutations["flip a bit of the signature"](good), tool.resource, now, false)
		add("without a signature", mutations["empty the signature"](good), tool.resource, now, false)
		add("of another agent", rewritten(good, 1, `"client:ap-bot"`, `"client:xx-bot"`), tool.resource, now, false)
		add("with more scope", rewritten(good, 1, `"scope":"`, `"scope":"all `), tool.resource, now, false)
		add("of another type", rewritten(good, 0, `"at+jwt"`, `"JWT"`), tool.resource, now, false)
		add("of no algorithm", rewritten(good, 0, `"`+tool.alg+`"`, `"none"`), tool.resource, now, false)
		add("of another algorithm", rewritten(good, 0, `"`+tool.alg+`"`, `"HS256"`), tool.resource, now, false)
	}
	other := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{"iss": w.Issuer("acme"), "aud": payments},
		Header: map[string]any{"typ": "at+jwt"}})
	return append(cases, verdict{"forged", other, payments, time.Now(), false},
		verdict{"the workload's own token", w.workload(t), w.Issuer("acme"), time.Now(), false})
}

func expiry(t *testing.T, compact string) time.Time {
	t.Helper()
	exp, _ := harness.Claims(t, compact)["exp"].(float64)
	return time.Unix(int64(exp), 0)
}

// rewritten replaces a text in one part of a token, whose signature then does not fit any more.
func rewritten(compact string, part int, from, to string) string {
	parts := strings.Split(compact, ".")
	decoded, _ := base64.RawURLEncoding.DecodeString(parts[part])
	parts[part] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(decoded), from, to, 1)))
	return strings.Join(parts, ".")
}

func byOIDC(t *testing.T, w *world, _ string, cases []verdict) []error {
	provider, err := oidc.NewProvider(t.Context(), w.Issuer("acme"))
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(cases))
	for i, c := range cases {
		_, errs[i] = provider.Verifier(&oidc.Config{ClientID: c.Audience, Now: func() time.Time { return c.Now }}).
			Verify(t.Context(), c.Token)
	}
	return errs
}

func byJWX(t *testing.T, w *world, jwksURI string, cases []verdict) []error {
	keys, err := jwk.Fetch(t.Context(), jwksURI)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(cases))
	for i, c := range cases {
		message, err := jws.Parse([]byte(c.Token))
		if err != nil {
			errs[i] = err
			continue
		}
		if typ, _ := message.Signatures()[0].ProtectedHeaders().Type(); typ != "at+jwt" {
			errs[i] = errors.New("typ")
			continue
		}
		_, errs[i] = jwt.ParseString(c.Token, jwt.WithKeySet(keys), jwt.WithIssuer(w.Issuer("acme")),
			jwt.WithAudience(c.Audience), jwt.WithClock(jwt.ClockFunc(func() time.Time { return c.Now })))
	}
	return errs
}

// byJose runs jose in one process of node for all cases.
func byJose(t *testing.T, w *world, jwksURI string, cases []verdict) []error {
	_, noNode := exec.LookPath("node")
	_, noJose := os.Stat("node_modules/jose")
	switch missing := errors.Join(noNode, noJose); {
	case missing != nil && storagetest.Full():
		t.Fatal(missing)
	case missing != nil:
		t.Skip("node or jose is not installed; make test installs both, and so does npm --prefix e2e ci")
	}
	input, err := json.Marshal(map[string]any{"issuer": w.Issuer("acme"), "jwks_uri": jwksURI, "cases": cases})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "verify.mjs")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var results []string
	if err := json.Unmarshal(out, &results); err != nil || len(results) != len(cases) {
		t.Fatalf("%v\n%s", err, out)
	}
	errs := make([]error, len(cases))
	for i, code := range results {
		if code != "" {
			errs[i] = errors.New(code)
		}
	}
	return errs
}

func byOurs(t *testing.T, w *world, jwksURI string, cases []verdict) []error {
	keys, err := token.KeySet([]byte(harness.Get(t, jwksURI).Body))
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(cases))
	for i, c := range cases {
		v := token.Verifier{Issuer: w.Issuer("acme"), Audience: c.Audience, Keys: keys,
			Now: func() time.Time { return c.Now }}
		_, errs[i] = v.Verify(t.Context(), c.Token)
	}
	return errs
}

// Keys are rotated, and ended at once, while tokens are issued; a verifier that has fetched the keys only once, before
// all of that, knows them all.
func TestKeysChangeUnderLoad(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		keys, err := token.KeySet([]byte(harness.Get(t, w.BaseURL+"/t/acme/jwks.json").Body))
		if err != nil {
			t.Fatal(err)
		}
		verifier := token.Verifier{Issuer: w.Issuer("acme"), Audience: payments, Keys: keys}
		api, before := w.as(t, "payments-api"), w.token(t)
		signed, _ := harness.Header(t, before)["kid"].(string)

		l := new(load)
		l.start(t, w, 8)
		l.await(t, "tokens", &l.tokens, 50)
		w.run(t, "keys", "rotate", "acme")
		l.await(t, "tokens after the rotation", &l.tokens, 50)
		w.run(t, "keys", "revoke", "--now", "acme", signed)
		after := w.token(t)
		l.await(t, "tokens after the revocation", &l.tokens, 50)
		l.stop()
		if n := l.refusals.Load(); n > l.tokens.Load()/10 { // a disk may stall for a moment
			t.Errorf("%d requests were refused meanwhile", n)
		}
		for _, compact := range append(l.received, before, after) {
			if _, err := verifier.Verify(t.Context(), compact); err != nil {
				t.Fatal(err)
			}
		}
		if kid := harness.Header(t, after)["kid"]; kid == signed {
			t.Error("the key that was ended signs on")
		}
		if api.Active(t, before) || !api.Active(t, after) {
			t.Error("the token of the ended key is active, or that of its successor is not")
		}
		if published := harness.Get(t, w.BaseURL+"/t/acme/jwks.json").Body; strings.Contains(published, signed) {
			t.Error("the ended key is still published")
		}
	})
}
