package e2e_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// newAcceptance makes the world of the table: the tenants of acceptance-tenants.yaml, and what became of some of them.
func newAcceptance(t *testing.T, s *harness.Server) *acceptance {
	t.Helper()
	audience := s.Issuer("acme")
	x := &acceptance{Server: s, forge: newForge(t), cached: map[string]string{}, answers: map[string]string{},
		expected: map[string]want{}, counted: map[string]map[string]int{}, issued: map[string]string{},
		own: map[string]string{}}
	for _, tenant := range tenants {
		x.counted[tenant] = map[string]int{}
	}
	x.issuers = map[string]*harness.Issuer{
		"cluster": harness.StartIssuer(t, "kubernetes", "-audience", audience),
		"mesh":    harness.StartIssuer(t, "spiffe", "-audience", audience, "-trust-domain", "mesh.example"),
		"corp":    harness.StartIssuer(t, "oidc", "-audience", audience),
		"faulty":  harness.StartIssuer(t, "oidc", "-audience", audience),
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	_ = nobody.Close()
	x.vars = map[string]string{
		"issuer": audience, "globex": s.Issuer("globex"), "frozen": s.Issuer("frozen"), "forge": x.forge.URL,
		"forge_upper": strings.Replace(x.forge.URL, "http://", "HTTP://", 1),
		"client_key":  string(x.forge.keys["client"].jwk), "twin_key": string(x.forge.keys["twin"].jwk),
		"other_key":    string(x.forge.keys["other"].jwk),
		"issuer_upper": strings.Replace(audience, "/t/acme", "/T/ACME", 1),
		"closed":       "http://" + closed, "payments": payments, "ledger": ledger,
		"long": strings.Repeat("a", 10<<10), "thousand": strings.Repeat("a ", 999) + "a",
	}
	for name, issuer := range x.issuers {
		x.vars[name] = issuer.URL
	}
	x.configure(t)
	x.secret = withSecret(t, s, "acme", "secret-bot")
	x.vars["secret"] = x.secret.Secret
	x.issueOwn(t)
	x.age(t)
	return x
}

// tenants are those of acceptance-tenants.yaml.
var tenants = []string{"acme", "globex", "frozen"}

// configure applies the tenants with a client that is gone later, and a tool whose action has another name later.
func (x *acceptance) configure(t *testing.T) {
	t.Helper()
	x.vars["action"] = "dig"
	x.vars["gone"] = "- {id: gone-bot, kind: agent, auth: {method: private_key_jwt, jwks: {keys: [" +
		x.vars["client_key"] + "]}}}"
	x.Apply(t, x.fill(t, read(t, "acceptance-tenants.yaml")))
}

// issueOwn gets the tokens of ours that rows trade in.
func (x *acceptance) issueOwn(t *testing.T) {
	t.Helper()
	self := func(changes ...string) url.Values {
		form := harness.Form(x.bake(t, recipe{}), payments, "payments:refunds.read payments:refunds.create")
		form.Set("client_assertion", x.bake(t, recipe{From: "client"}))
		form.Set("client_assertion_type", harness.JWTBearer)
		for i := 0; i < len(changes); i += 2 {
			form.Set(changes[i], changes[i+1])
		}
		return form
	}
	acme := x.At("acme")
	x.own["own"] = acme.MustExchange(t, self())
	x.own["own-narrow"] = acme.MustExchange(t, self("scope", readRefunds))
	x.own["own-revoked"] = acme.MustExchange(t, self())
	x.own["own-faded"] = acme.MustExchange(t, self("resource", "https://tools.acme.example/shed", "scope", "shed:dig"))
	x.own["own-ended"] = acme.MustExchange(t, self("resource", "https://tools.acme.example/brief", "scope", "brief:look"))
	chain := map[string]any{"sub": "1", "act": map[string]any{"sub": "2", "act": map[string]any{"sub": "3"}}}
	x.own["own-deep"] = acme.MustExchange(t, self("scope", readRefunds, "subject_token",
		x.bake(t, recipe{Claims: map[string]any{"iss": "${forge}/relay", "sub": "alice", "act": chain}})))
	x.own["own-globex"] = x.exchangeAtGlobex(t)
}

func (x *acceptance) exchangeAtGlobex(t *testing.T) string {
	t.Helper()
	theirs := recipe{Key: "client", Claims: map[string]any{
		"iss": "https://mill.globex.example", "aud": "${globex}", "sub": "mill-bot"}}
	return x.At("globex").MustExchange(t, harness.Form(x.bake(t, theirs), globexPayments, readRefunds))
}

// age does what makes some of the world invalid, and lets every tenant see it.
func (x *acceptance) age(t *testing.T) {
	t.Helper()
	x.vars["action"], x.vars["gone"] = "rake", ""
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(path, []byte(x.fill(t, read(t, "acceptance-tenants.yaml"))), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"apply", "-f", path, "--prune"},
		{"revoke", "acme", "--client", "parked-bot"},
		{"revoke", "acme", "--client", "parked-key-bot"},
		{"revoke", "acme", "--subject", "corp:banned"},
		{"revoke", "acme", "--issuer", "dropped"},
		{"revoke", "acme", "--jti", harness.ID(x.own["own-revoked"])},
		{"revoke", "frozen", "--all"},
	} {
		if out, err := x.Bursar(t, command...); err != nil {
			t.Fatalf("bursar %s: %v\n%s", command[0], err, out)
		}
	}
	// The first request after a change may be decided twice, and has two records then.
	x.exchangeAtGlobex(t)
	for tenant, audience := range map[string]string{"acme": "${issuer}", "frozen": "${frozen}"} {
		late := recipe{Claims: map[string]any{"sub": "token-bot", "aud": audience}}
		x.At(tenant).Exchange(t, harness.Form(x.bake(t, late), payments, readRefunds))
	}
}
