package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

const globexPayments = "https://tools.globex.example/payments"

// withGlobex adds the tenant of testdata/globex.yaml.
func (w *world) withGlobex(t *testing.T) {
	t.Helper()
	w.vars["globex"] = w.Issuer("globex")
	w.vars["shared"] = "https://shared.example"
	w.Apply(t, w.file(t, "globex.yaml"))
}

// refused fails the test unless the request is refused so, and the newest event of the tenant has that reason.
func refused(t *testing.T, c harness.Caller, form map[string][]string, status int, code, reason string) {
	t.Helper()
	before := int64(len(c.Server.Events(t, c.Tenant, 0)))
	a := c.Exchange(t, form)
	if a.Status != status || a.Text("error") != code || a.Token() != "" {
		t.Errorf("status %d %s, want %d %s", a.Status, a.Body, status, code)
	}
	c.Server.Await(t, c.Tenant, before, "a refusal for "+reason, func(log []harness.Event) bool {
		return slices.ContainsFunc(log, func(e harness.Event) bool { return e.Outcome != "allowed" && e.Reason == reason })
	})
}

// TestTwoTenantsThatTrustTheSameIssuer (T-04, T-05, T-06, T-56).
func TestTwoTenantsThatTrustTheSameIssuer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		acme, globex := w.acme(), w.At("globex")
		ours := w.workload(t)
		theirs := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
			"sub": "system:serviceaccount:globex:gx-bot", "aud": []string{w.Issuer("globex")}}})
		token := acme.MustExchange(t, harness.Form(ours, payments, readRefunds))
		globex.MustExchange(t, harness.Form(theirs, globexPayments, readRefunds))

		t.Run("a token for one is no token for the other", func(t *testing.T) {
			refused(t, globex, harness.Form(ours, globexPayments, readRefunds), 400, "invalid_request", "subject.audience")
			refused(t, acme, harness.Form(theirs, payments, readRefunds), 400, "invalid_request", "subject.audience")
		})
		t.Run("a token for both is held to the conditions of each", func(t *testing.T) {
			both := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
				"aud": []string{w.Issuer("acme"), w.Issuer("globex")}}})
			acme.MustExchange(t, harness.Form(both, payments, readRefunds))
			refused(t, globex, harness.Form(both, globexPayments, readRefunds), 400, "invalid_request", "subject.condition")
			acme.MustExchange(t, harness.Form(both, payments, readRefunds))
		})
		t.Run("an audience is that of the tenant which names it", func(t *testing.T) {
			shared := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
				"sub": "system:serviceaccount:globex:gx-bot", "aud": []string{"https://shared.example"}}})
			globex.MustExchange(t, harness.Form(shared, globexPayments, readRefunds))
			refused(t, acme, harness.Form(shared, payments, readRefunds), 400, "invalid_request", "subject.audience")
		})
		t.Run("the tools of one are unknown to the other", func(t *testing.T) {
			refused(t, acme, harness.Form(ours, globexPayments, readRefunds), 400, "invalid_target", "target.unknown")
		})
		t.Run("an access token of one is nothing to the other", func(t *testing.T) {
			refused(t, globex, harness.Form(token, globexPayments, readRefunds),
				400, "invalid_request", "subject.issuer_unknown")
			api := withSecret(t, w.Server, "globex", "payments-api")
			if api.Active(t, token) {
				t.Error("it is active there")
			}
			if a := api.Revoke(t, token); a.Status != http.StatusOK {
				t.Errorf("revocation: status %d %s", a.Status, a.Body)
			}
			if !w.as(t, "payments-api").Active(t, token) {
				t.Error("it was revoked from there")
			}
		})
		t.Run("a client of one is unknown to the other", func(t *testing.T) {
			api := w.as(t, "payments-api")
			api.Tenant = "globex"
			if a := api.Introspect(t, token); a.Status != http.StatusUnauthorized {
				t.Errorf("status %d %s", a.Status, a.Body)
			}
		})
		t.Run("the tenant is the URL's, whatever the form says", func(t *testing.T) {
			form := harness.Form(ours, globexPayments, readRefunds)
			form.Set("tenant", "acme")
			refused(t, globex, form, 400, "invalid_request", "subject.audience")
		})
	})
}

// TestTwoUsersWithTheSameSubject (T-06): the same name at two issuers is two people.
func TestTwoUsersWithTheSameSubject(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		partner := harness.StartIssuer(t, "oidc", "-audience", w.Issuer("acme"))
		file := strings.Replace(w.file(t, "acme.yaml"), "clients:\n", `  - name: partner
    issuer: `+partner.URL+`
    audiences: ["`+w.Issuer("acme")+`"]
    use: [subject]
    network: {allow_private: true}
clients:
`, 1)
		w.Apply(t, strings.Replace(file, `on_behalf_of: [{issuer: corp, subject_glob: "*"}]`,
			`on_behalf_of: [{issuer: corp, subject: alice}]`, 1))
		bot := w.workload(t)
		mine := w.corp.Mint(t, harness.Mint{})
		other := partner.Mint(t, harness.Mint{})
		if harness.Claims(t, mine)["sub"] != harness.Claims(t, other)["sub"] {
			t.Fatal("they are not called the same")
		}
		token := w.acme().MustExchange(t, harness.For(mine, bot, payments, readRefunds))
		claims := harness.Claims(t, token)
		if claims["sub"] != "corp:alice" {
			t.Errorf("sub %v", claims["sub"])
		}
		act, _ := claims["act"].(map[string]any)
		if act["sub"] != "client:ap-bot" || act["iss"] != w.Issuer("acme") {
			t.Errorf("act %v", act)
		}
		refused(t, w.acme(), harness.For(other, bot, payments, readRefunds), 400, "invalid_request", "policy.on_behalf_of")
	})
}

func TestAPolicyWithoutOnBehalfOfIsForTheAgentAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		bot, alice := w.workload(t), w.corp.Mint(t, harness.Mint{})
		w.acme().MustExchange(t, harness.Form(bot, ledger, "ledger:entries.read"))
		refused(t, w.acme(), harness.For(alice, bot, ledger, "ledger:entries.read"),
			400, "invalid_request", "policy.on_behalf_of")
	})
}

func TestAnIssuerWithoutUseSubjectVouchesForNobodyElse(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		bot := w.workload(t)
		other := w.mesh.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spiffe://mesh.example/ns/dev/sa/other"}})
		refused(t, w.acme(), harness.For(other, bot, payments, readRefunds), 400, "invalid_request", "subject.use")
		// Without use there is workload alone. No policy may count on more, and no request gets more.
		file := strings.Replace(w.file(t, "acme.yaml"), "    use: [workload, subject]\n", "", 1)
		if out, err := w.TryApply(t, file); err == nil || !strings.Contains(out, "policies[1].on_behalf_of[0].issuer") {
			t.Errorf("%v\n%s", err, out)
		}
		w.Apply(t, strings.Replace(file, "    on_behalf_of: [{issuer: corp, subject_glob: \"*\"}]\n", "", 1))
		refused(t, w.acme(), harness.For(w.corp.Mint(t, harness.Mint{}), bot, payments, readRefunds),
			400, "invalid_request", "subject.use")
	})
}

// A tenant file is data of the tenant: it reaches nothing of the server, of other tenants or of the network around.
func TestATenantFileThatReachesTooFar(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		before := w.file(t, "acme.yaml")
		for _, row := range []struct{ name, from, to, says string }{
			{"another tenant's path as a resource", payments, w.BaseURL + "/t/globex/payments", "tools[0].resource"},
			{"the path of all tenants as a resource", payments, w.BaseURL + "/t", "tools[0].resource"},
			{"the server itself as a resource", payments, w.BaseURL, "tools[0].resource"},
			{"the admin API as a resource", payments, w.BaseURL + "/admin/v1", "tools[0].resource"},
			{"a tenant that begins alike as a resource", payments, w.BaseURL + "/t/acme2/x", "tools[0].resource"},
			{"dots in a resource", payments, w.BaseURL + "/t/acme/../globex", "tools[0].resource"},
			{"escaped dots in a resource", payments, w.BaseURL + "/t/acme/%2e%2e/globex", "tools[0].resource"},
			{"a file of the server as keys", w.mesh.URL + "/jwks", "file:///etc/passwd", "issuers[1].jwks_uri"},
			{"a path of the server as keys", w.mesh.URL + "/jwks", "/etc/passwd", "issuers[1].jwks_uri"},
			{"a field with a path", "trust_domain:", "jwks_file: /etc/passwd\n    trust_domain:", "issuers[1].jwks_file"},
			{"a CA of the server's disk", "trust_domain:", "ca_file: /etc/passwd\n    trust_domain:", "issuers[1].ca_file"},
			{"a secret of the server's disk", "client_secret_basic}", "client_secret_basic, secret_file: x}", "secret_file"},
			{"a tag that includes a file", "apiVersion: bursar/v1", "apiVersion: !include /etc/passwd", "apiVersion"},
			{"its own ceiling", "tenant: acme\n", "tenant: acme\nprivate_cidrs: [10.0.0.0/8]\n", "private_cidrs"},
			{"a plain http issuer elsewhere", "issuer: " + w.corp.URL, "issuer: http://10.0.0.1", "issuers[3].issuer"},
		} {
			t.Run(row.name, func(t *testing.T) {
				file := strings.Replace(before, row.from, row.to, 1)
				if file == before {
					t.Fatal("the row changes nothing")
				}
				out, err := w.TryApply(t, file)
				if err == nil || !strings.Contains(out, row.says) {
					t.Errorf("%v\n%s", err, out)
				}
				if strings.Contains(out, "root:") {
					t.Error("a file of the server shows")
				}
			})
		}
		if out, err := w.TryApply(t, before); err != nil || !strings.Contains(out, "is already so") {
			t.Errorf("a refused file changed something: %v\n%s", err, out)
		}
	})
}

// A file is of the tenant that the URL names, whoever writes what into it.
func TestATenantFileForAnotherTenant(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		for _, c := range []*operator.Client{w.Operator, w.operatorOf(t, "acme", operator.RoleAdmin)} {
			if _, err := c.Apply(t.Context(), "acme", []byte(w.file(t, "globex.yaml")), operator.ApplyOptions{}); err == nil {
				t.Error("globex's file was applied to acme")
			}
			if _, err := c.Object(t.Context(), "acme", operator.Ref{Kind: operator.KindClient, ID: "gx-bot"}); err == nil {
				t.Error("acme has a client of globex")
			}
		}
	})
}

// Which private addresses a tenant may reach is the platform's decision: without it allow_private is a mistake, and
// without allow_private nothing private is dialled.
func TestAPrivateAddressBeyondTheCeiling(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		inner := harness.StartIssuer(t, "oidc")
		file := func(network string) string {
			return `
apiVersion: bursar/v1
tenant: initech
issuers:
  - {name: inner, issuer: "` + inner.URL + `", audiences: ["` + w.Issuer("initech") + `"], network: ` + network + `}
clients: [{id: bot, kind: agent, identities: [{issuer: inner, subject: bot}]}]
tools: [{name: payments, resource: "https://tools.initech.example", actions: [refunds.read]}]
policies: [{id: bots, clients: [bot], tool: payments, actions: [refunds.read]}]
`
		}
		out, err := w.TryApply(t, file("{allow_private: true}"))
		if err == nil || !strings.Contains(out, "issuers[0].network.allow_private") {
			t.Errorf("%v\n%s", err, out)
		}
		w.Apply(t, file("{}"))
		token := inner.Mint(t, harness.Mint{Claims: map[string]any{"sub": "bot", "aud": w.Issuer("initech")}})
		a := w.At("initech").Exchange(t, harness.Form(token, "https://tools.initech.example", readRefunds))
		if a.Status != http.StatusServiceUnavailable || a.Token() != "" || strings.Contains(a.Body, "127.0.0.1") {
			t.Errorf("status %d %s", a.Status, a.Body)
		}
		if n := inner.Fetches(t); n != 0 {
			t.Errorf("the private address was asked %d times", n)
		}
	})
}

// What a tenant's ceiling opens is never the server's own: not its listeners, and not its store.
func TestTheServersOwnAddressesAreNeverDialled(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		file := func(name, target string) string {
			issuer := fmt.Sprintf("  - {name: %s, issuer: %q, jwks_uri: %q, audiences: [%q], network: {allow_private: true}}\n",
				name, w.corp.URL+"/"+name, target, w.Issuer("acme"))
			return strings.Replace(w.file(t, "acme.yaml"), "clients:\n", issuer+"clients:\n", 1)
		}
		for _, target := range []string{w.URL + "/t/acme/jwks.json", "http://169.254.169.254/latest"} {
			if out, err := w.TryApply(t, file("inward", target)); err == nil || !strings.Contains(out, "issuers[4].jwks_uri") {
				t.Errorf("%s: %v\n%s", target, err, out)
			}
		}
		own := map[string]string{"metrics": w.Metrics}
		if w.Redis != nil {
			own["redis"] = "http://" + w.Redis.Addr
		}
		for name, target := range own {
			w.Apply(t, file(name, target))
			token := w.corp.Mint(t, harness.Mint{Claims: map[string]any{"iss": w.corp.URL + "/" + name, "sub": "x"}})
			a := w.acme().Exchange(t, harness.Form(token, payments, readRefunds))
			if a.Status != http.StatusServiceUnavailable || a.Token() != "" {
				t.Errorf("%s: status %d %s", target, a.Status, a.Body)
			}
		}
		log, err := os.ReadFile(w.Output())
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(log), "address not allowed"); n != len(own) {
			t.Errorf("the guard refused %d of %d", n, len(own))
		}
	})
}

// operatorOf returns a client of the admin API with a new token of one tenant.
func (w *world) operatorOf(t *testing.T, tenant string, role operator.Role) *operator.Client {
	t.Helper()
	out := w.run(t, "operator", "token", "--tenant", tenant, "--role", string(role), "--ttl", "1h")
	return &operator.Client{BaseURL: w.URL, Token: strings.TrimSpace(out)}
}
