package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	admin "github.com/bursar-sts/bursar/clients/operator"
)

const token = "brs_op_test"

// serve returns a client of a server that answers every request with h.
func serve(t *testing.T, h http.HandlerFunc) *admin.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &admin.Client{BaseURL: srv.URL, Token: token, HTTP: srv.Client()}
}

func answer(w http.ResponseWriter, media string, status int, body string) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// The answers are complete: what a call returns, written as JSON again, is what the server sent.
func TestCallsSendAndReadWhatTheirCommentsSay(t *testing.T) {
	const (
		entry   = `"tenant":"acme","issuer":"https://sts.example/t/acme","created":"2026-01-02T03:04:05Z"`
		summary = `{` + entry + `,"revision":7,"disabled":true,
			"counts":{"issuers":1,"clients":2,"tools":3,"policies":4,"cutoffs":5,"events":6}}`
		applied = `{"tenant":"acme","created":true,"dry_run":true,"revision":8,
			"changes":[{"kind":"tool","id":"pay","action":"update","fields":["actions"]}],
			"unmanaged":[{"kind":"policy","id":"old"}]}`
		secret = `"id":"s_1","created":"2026-01-02T03:04:05.678Z"`
		keys   = `{"items":[{"kid":"k_1","alg":"ES256","state":"retired","created":"2026-01-02T03:04:05Z",
			"since":"2026-01-03T03:04:05Z","until":"2026-01-03T03:20:05Z"}]}`
		logKeys = `{"items":[{"kid":"k_1","alg":"EdDSA","state":"retired","created":"2026-01-02T03:04:05Z",
			"since":"2026-01-03T03:04:05Z","until":"2026-01-03T03:20:05Z","use":"checkpoint"}]}`
		revoked  = `{"kind":"client","value":"bot","at":"2026-01-02T03:04:05.678Z","seq":9,"index":41}`
		operator = `"id":"o_1","role":"editor","created":"2026-01-02T03:04:05Z","expires":"2026-01-03T03:04:05Z"`
		events   = `{"events":[{"index":4,"claims":{"a":1}}],"next":5}`
		lost     = `{"reason":"it was rolled back","last":{"origin":"sts.example/t/acme/log","epoch":1,"size":9,
			"checkpoint":"a"},"kept":7,"recorded":7,
			"now":{"origin":"sts.example/t/acme/log/e2","epoch":2,"size":8,"checkpoint":"b"}}`
		decision = `{"decision_id":"d_1","outcome":"denied","reason":"policy.action","step":"policy","steps":[
			{"step":"policy","by":"r","had":["a"],"left":[],"refused":"action"}],"records":[{"index":4,"claims":{"a":1}}]}`
		version = `{"version":2,"state":"staged","created":"2026-01-02T03:04:05Z","since":"2026-01-02T03:04:05Z",
			"by":"o_1","fingerprint":"9f86d081884c7d65","fields":["value"],"size":"16-31","host":"https://api.example",
			"ca":"ab","token_url":"https://as.example","inject":["header"],"decision_mode":false,"unscrubbable":true,
			"backend":"openbao"}`
		stored = `{"name":"crm","state":"active","active":1,"disabled":"2026-01-02T03:04:05Z","data_key":3,
			"tools":["crm"],"unbound":[],"versions":[` + version + `]}`
		changed = `{"secret":` + stored + `,"version":2,"changed":true,"warnings":["x"]}`
		dataKey = `{"version":3,"secrets":7,"left":2,"old":1}`
	)
	rows := []struct {
		name, request, body, answer string
		call                        func(context.Context, *admin.Client) (any, error)
	}{
		{"tenants", "GET /admin/v1/tenants", "", `{"items":[{` + entry + `}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Tenants(ctx) }},
		{"tenant", "GET /admin/v1/t/acme", "", summary,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Tenant(ctx, "acme") }},
		{"apply", "PUT /admin/v1/t/acme", "tenant: acme", applied,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Apply(ctx, "acme", []byte("tenant: acme"), admin.ApplyOptions{})
			}},
		{"apply with every option", "PUT /admin/v1/t/acme?dry_run=true&prune=true&revision=4", "x", applied,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Apply(ctx, "acme", []byte("x"), admin.ApplyOptions{DryRun: true, Prune: true, Revision: 4})
			}},
		{"objects", "GET /admin/v1/t/acme/policies", "", `{"items":[{"id":"a"},{"id":"b"}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Objects(ctx, "acme", admin.KindPolicy)
			}},
		{"object", "GET /admin/v1/t/acme/issuers/corp", "", `{"name":"corp"}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Object(ctx, "acme", admin.Ref{Kind: admin.KindIssuer, ID: "corp"})
			}},
		{"create a secret", "POST /admin/v1/t/acme/clients/api/secrets", "",
			`{"client_id":"api","client_secret":"brs_x",` + secret + `}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.CreateSecret(ctx, "acme", "api") }},
		{"secrets", "GET /admin/v1/t/acme/clients/api/secrets", "", `{"items":[{` + secret + `}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Secrets(ctx, "acme", "api") }},
		{"delete a secret", "DELETE /admin/v1/t/acme/clients/api/secrets/s_1", "", ``,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return nil, c.DeleteSecret(ctx, "acme", "api", "s_1")
			}},
		{"keys", "GET /admin/v1/t/acme/keys", "", keys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Keys(ctx, "acme") }},
		{"rotate keys", "POST /admin/v1/t/acme/keys/rotate", `{"alg":"ES256"}`, keys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RotateKeys(ctx, "acme", "ES256") }},
		{"revoke a key", "POST /admin/v1/t/acme/keys/k_1/revoke", "", keys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RevokeKey(ctx, "acme", "k_1") }},
		{"revoke", "POST /admin/v1/t/acme/revoke", `{"kind":"client","value":"bot"}`, revoked,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Revoke(ctx, "acme", admin.Target{Kind: admin.CutoffClient, Value: "bot"})
			}},
		{"enable", "POST /admin/v1/t/acme/enable", `{"kind":"tenant"}`, revoked,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Enable(ctx, "acme", admin.Target{Kind: admin.CutoffTenant})
			}},
		{"cutoffs", "GET /admin/v1/t/acme/cutoffs", "", `{"items":[{"kind":"jti","value":"x","seq":9,
			"at":"2026-01-02T03:04:05.678Z","until":"2026-01-02T03:20:05.678Z","disabled":true}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Cutoffs(ctx, "acme") }},
		{"create an operator", "POST /admin/v1/t/acme/operators", `{"role":"editor","ttl":"1h0m0s"}`,
			`{` + operator + `,"token":"brs_op_x"}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.CreateOperator(ctx, "acme", admin.OperatorRequest{Role: admin.RoleEditor, TTL: "1h0m0s"})
			}},
		{"operators", "GET /admin/v1/t/acme/operators", "", `{"items":[{` + operator + `}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Operators(ctx, "acme") }},
		{"delete an operator", "DELETE /admin/v1/t/acme/operators/o_1", "", ``,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return nil, c.DeleteOperator(ctx, "acme", "o_1")
			}},
		{"create a platform operator", "POST /admin/v1/platform/operators", `{"role":"auditor","ttl":"1m"}`,
			`{` + operator + `,"token":"brs_op_x"}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.CreatePlatformOperator(ctx, admin.OperatorRequest{Role: admin.RoleAuditor, TTL: "1m"})
			}},
		{"platform operators", "GET /admin/v1/platform/operators", "", `{"items":[]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.PlatformOperators(ctx) }},
		{"delete a platform operator", "DELETE /admin/v1/platform/operators/o_1", "", ``,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return nil, c.DeletePlatformOperator(ctx, "o_1")
			}},
		{"accept a loss", "POST /admin/v1/t/acme/log/accept-loss", "", lost,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.AcceptLoss(ctx, "acme") }},
		{"accept a loss of the platform's log", "POST /admin/v1/platform/log/accept-loss", "", lost,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.AcceptPlatformLoss(ctx) }},
		{"prune a log", "POST /admin/v1/t/acme/log/prune", `{"index":512}`, `{"first":512}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.PruneLog(ctx, "acme", admin.PruneRequest{Index: 512})
			}},
		{"prune the platform's log", "POST /admin/v1/platform/log/prune", `{"before":"2026-01-02T03:04:05Z"}`, `{"first":0}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.PrunePlatformLog(ctx, admin.PruneRequest{Before: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
			}},
		{"keys of a log", "GET /admin/v1/t/acme/log/keys", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.LogKeys(ctx, "acme") }},
		{"rotate the keys of a log", "POST /admin/v1/t/acme/log/keys/rotate", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RotateLogKeys(ctx, "acme") }},
		{"revoke a key of a log", "POST /admin/v1/t/acme/log/keys/k_1/revoke", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RevokeLogKey(ctx, "acme", "k_1") }},
		{"keys of the platform's log", "GET /admin/v1/platform/log/keys", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.PlatformLogKeys(ctx) }},
		{"rotate the keys of the platform's log", "POST /admin/v1/platform/log/keys/rotate", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RotatePlatformLogKeys(ctx) }},
		{"revoke a key of the platform's log", "POST /admin/v1/platform/log/keys/k_1/revoke", "", logKeys,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RevokePlatformLogKey(ctx, "k_1") }},
		{"shims", "GET /admin/v1/t/acme/shims", "", `{"items":[{"id":"s","name":"edge","state":"trusted",` +
			`"created":"2026-01-02T03:04:05Z"}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Shims(ctx, "acme") }},
		{"trust a shim", "POST /admin/v1/t/acme/shims", `{"name":"edge","event_key":"e","recipient_key":"r"}`,
			`{"id":"s","state":"trusted","created":"2026-01-02T03:04:05Z","tenant_id":"t","grantor":"g"}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.TrustShim(ctx, "acme", admin.ShimRequest{Name: "edge", EventKey: "e", RecipientKey: "r"})
			}},
		{"revoke a shim", "POST /admin/v1/t/acme/shims/s/revoke", "", `{"rotated":true,"secrets":3}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RevokeShim(ctx, "acme", "s") }},
		{"rewrap", "POST /admin/v1/platform/keys/rewrap", `{"after":"acme","all":true}`,
			`{"master":"m","looked":1,"changed":1,"failed":[{"tenant":"globex","why":"x"}],"next":"globex"}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Rewrap(ctx, admin.RewrapRequest{After: "acme", All: true})
			}},
		{"events", "GET /admin/v1/t/acme/events?after=-10&limit=5&wait=2", "", events,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Events(ctx, "acme", admin.EventQuery{After: -10, Limit: 5, Wait: 2 * time.Second})
			}},
		{"platform events", "GET /admin/v1/platform/events?after=0", "", events,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.PlatformEvents(ctx, admin.EventQuery{})
			}},
		{"decision", "GET /admin/v1/t/acme/decisions/d_1", "", decision,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Decision(ctx, "acme", "d_1") }},
		{"explain", "POST /admin/v1/t/acme/explain", `{"client":"bot","agent":{"issuer":"k8s","subject":"b",` +
			`"claims":{"env":"prod"}},"parent":{"client":"a","tool":"t","scope":"t:x","depth":1},"tool":"t",` +
			`"at":"2026-01-02T03:04:05Z","ip":"192.0.2.1"}`, decision,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Explain(ctx, "acme", admin.Hypothesis{Client: "bot", Tool: "t",
					Agent:  &admin.Identity{Issuer: "k8s", Subject: "b", Claims: json.RawMessage(`{"env":"prod"}`)},
					Parent: &admin.Parent{Client: "a", Tool: "t", Scope: "t:x", Depth: 1},
					At:     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), IP: netip.MustParseAddr("192.0.2.1")})
			}},
		{"route", "POST /admin/v1/t/acme/tools/legacy/route", `{"method":"POST","path":"/v1/a?b=c","body_type":"text/plain"}`,
			`{"resource":"https://sts.example/shim/t/acme/legacy","allowed":false,"reason":"body.type","detail":"No.",
			"rule":{"index":1,"action":"a.b","methods":["POST"],"path":"/v1/{x}","max_body":1048576,"body_json":true},
			"scope":"legacy:a.b","secrets":[{"secret":"k","in":"header","name":"X-Key","missing":"secret.unknown"}],
			"access":[{"policy":"p","clients":["c"],"delegates":["d"],"disabled":["c"],"on_behalf":true,"default":true,
			"from":["x:y"],"condition":"depth == 0"}]}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Route(ctx, "acme", "legacy", admin.Call{Method: "POST", Path: "/v1/a?b=c", BodyType: "text/plain"})
			}},
		{"a secret of the vault", "GET /admin/v1/t/acme/secrets/crm", "", stored,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.VaultSecret(ctx, "acme", "crm") }},
		{"put a secret", "POST /admin/v1/t/acme/secrets/crm/versions", `{"host":"https://api.example",` +
			`"fields":{"value":"x"},"activate":true,"expect":-1}`, changed,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.PutSecret(ctx, "acme", "crm", admin.SecretRequest{Host: "https://api.example",
					Fields: map[string]string{"value": "x"}, Activate: true, Expect: -1})
			}},
		{"activate a secret", "POST /admin/v1/t/acme/secrets/crm/activate", `{"version":2}`, changed,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.ActivateSecret(ctx, "acme", "crm", admin.SecretChoice{Version: 2})
			}},
		{"roll a secret back", "POST /admin/v1/t/acme/secrets/crm/rollback", "", changed,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RollbackSecret(ctx, "acme", "crm") }},
		{"disable a secret", "POST /admin/v1/t/acme/secrets/crm/disable", "", changed,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.DisableSecret(ctx, "acme", "crm") }},
		{"enable a secret", "POST /admin/v1/t/acme/secrets/crm/enable", "", changed,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.EnableSecret(ctx, "acme", "crm") }},
		{"destroy a secret", "POST /admin/v1/t/acme/secrets/crm/destroy", `{"force":true}`, changed,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.DestroySecret(ctx, "acme", "crm", admin.SecretEnd{Force: true})
			}},
		{"test a secret", "POST /admin/v1/t/acme/secrets/crm/test", `{"tool":"crm"}`,
			`{"tool":"crm","version":` + version + `,"status":401,"passed":false}`,
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.TestSecret(ctx, "acme", "crm", admin.SecretTrial{Tool: "crm"})
			}},
		{"rotate the vault's key", "POST /admin/v1/t/acme/vault/rotate", "", dataKey,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RotateVaultKey(ctx, "acme") }},
		{"shred", "POST /admin/v1/t/acme/vault/shred", `{"confirm":"acme"}`, `{"secrets":7}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.ShredSecrets(ctx, "acme", "acme") }},
		{"version", "GET /admin/v1/version", "", `{"version":"v1.2.3","go":"go1.26.8"}`,
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Version(ctx) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if got := r.Method + " " + r.URL.String(); got != row.request || string(body) != row.body {
					t.Errorf("sent %q with %q, want %q with %q", got, body, row.request, row.body)
				}
				if got := r.Header.Get("Authorization"); got != "Bearer "+token {
					t.Errorf("Authorization %q", got)
				}
				if row.answer == "" {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				answer(w, "application/json", http.StatusOK, row.answer)
			})
			got, err := row.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if want := content(t, row.answer); !reflect.DeepEqual(plain(t, got), want) {
				t.Errorf("got %v, want %v", plain(t, got), want)
			}
		})
	}
}

// content returns an answer as plain values, a list as its items.
func content(t *testing.T, answer string) any {
	if answer == "" {
		return nil
	}
	v := plain(t, json.RawMessage(answer))
	if items, ok := v.(map[string]any)["items"]; ok {
		return items
	}
	return v
}

func plain(t *testing.T, v any) (plain any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestPublicCallsCarryNoToken(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s carries the operator token", r.URL.Path)
		}
		answer(w, "application/json", http.StatusOK, `{"openapi":"3.1.0"}`)
	})
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	raw, err := c.OpenAPI(t.Context())
	if err != nil || string(raw) != `{"openapi":"3.1.0"}` {
		t.Errorf("OpenAPI = %s, %v", raw, err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed the redirect; Authorization %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	c.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	_, err := c.Tenants(t.Context())
	p, ok := errors.AsType[*admin.Problem](err)
	if !ok || p.Status != http.StatusTemporaryRedirect || p.Code() != "" || !strings.Contains(p.Detail, "redirect") {
		t.Errorf("err = %v", err)
	}
}

func TestNothingIsSentToABadServer(t *testing.T) {
	sent := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent a request to %s", r.URL)
		return nil, io.EOF
	})}
	rows := []struct{ name, url, token string }{
		{"no server", "", token},
		{"no token", "https://sts.example", ""},
		{"plain http to a name", "http://sts.example", token},
		{"plain http to a private address", "http://10.0.0.1:8080", token},
		{"plain http to a name that looks like loopback", "http://127.0.0.1.example", token},
		{"a path", "https://sts.example/admin", token},
		{"a query", "https://sts.example?x=y", token},
		{"a user", "https://user:pw@sts.example", token},
		{"a query that is empty", "https://sts.example?", token},
		{"a host in upper case", "https://STS.example", token},
		{"another scheme", "ftp://sts.example", token},
		{"not a URL", "https://sts example", token},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := admin.Client{BaseURL: row.url, Token: row.token, HTTP: sent}
			if _, err := c.Tenants(t.Context()); err == nil || errors.Is(err, admin.ErrNoAnswer) {
				t.Errorf("err = %v", err)
			}
		})
	}
	c := admin.Client{BaseURL: "https://sts.example", Token: token, HTTP: sent}
	for name, call := range map[string]func() error{
		"a tenant that climbs":  func() error { _, err := c.Tenant(t.Context(), ".."); return err },
		"a tenant with a slash": func() error { _, err := c.Keys(t.Context(), "acme/keys"); return err },
		"an empty tenant":       func() error { _, err := c.Tenant(t.Context(), ""); return err },
		"a client that climbs":  func() error { _, err := c.CreateSecret(t.Context(), "acme", "../.."); return err },
		"a secret that climbs":  func() error { _, err := c.VaultSecret(t.Context(), "acme", ".."); return err },
		"an empty secret":       func() error { return c.DeleteSecret(t.Context(), "acme", "api", "") },
		"a key that climbs":     func() error { _, err := c.RevokeKey(t.Context(), "acme", ".."); return err },
		"an unknown kind":       func() error { _, err := c.Objects(t.Context(), "acme", "secret"); return err },
		"a file over the limit": func() error {
			_, err := c.Apply(t.Context(), "acme", make([]byte, admin.MaxFile+1), admin.ApplyOptions{})
			return err
		},
	} {
		if err := call(); err == nil || errors.Is(err, admin.ErrNoAnswer) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

func TestAnIDWithASlashStaysOneSegment(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/admin/v1/t/acme/keys/a%2F..%2F..%2Fb%3Fc/revoke" {
			t.Errorf("path %q", r.URL.EscapedPath())
		}
		answer(w, "application/json", http.StatusOK, `{"items":[]}`)
	})
	if _, err := c.RevokeKey(t.Context(), "acme", "a/../../b?c"); err != nil {
		t.Error(err)
	}
}

func TestAnUnusableAnswerIsNoAnswer(t *testing.T) {
	rows := []struct {
		name string
		h    http.HandlerFunc
	}{
		{"a page of somebody else", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "text/html", http.StatusOK, "<h1>log in</h1>")
		}},
		{"JSON of another shape", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "application/json", http.StatusOK, `{"items":{}}`)
		}},
		{"a connection that breaks", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			answer(w, "application/json", http.StatusOK, `{"items":[`)
		}},
		{"an answer without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for block := []byte(strings.Repeat(" ", 1<<20)); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := serve(t, row.h).Tenants(t.Context()); !errors.Is(err, admin.ErrNoAnswer) {
				t.Errorf("err = %v", err)
			}
		})
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := admin.Client{BaseURL: gone.URL, Token: token}
	if _, err := c.Tenants(t.Context()); !errors.Is(err, admin.ErrNoAnswer) || strings.Contains(err.Error(), token) {
		t.Errorf("err = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Tenants(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestProblems(t *testing.T) {
	const unavailable = `{"type":"urn:bursar:problem:unavailable","title":"unavailable","status":200,
		"detail":"Try again."}`
	rows := []struct {
		name, media, body string
		status            int
		want              admin.Problem
	}{
		{"the status is that of the response", "application/problem+json", unavailable, 503, admin.Problem{
			Type: "urn:bursar:problem:unavailable", Title: "unavailable", Status: 503, Detail: "Try again.",
			RetryAfter: 2 * time.Second}},
		{"every mistake is told", "application/problem+json; charset=utf-8",
			`{"type":"urn:bursar:problem:invalid","problems":["a: b","c: d"]}`, 422, admin.Problem{
				Type: "urn:bursar:problem:invalid", Status: 422, Problems: []string{"a: b", "c: d"},
				RetryAfter: 2 * time.Second}},
		{"a page of a proxy is not repeated", "text/html", "<h1>secret</h1>", 502, admin.Problem{
			Title: "bad gateway", Status: 502, RetryAfter: 2 * time.Second}},
		{"broken JSON is not repeated", "application/problem+json", `{"title":"x"`, 500, admin.Problem{
			Title: "internal server error", Status: 500, RetryAfter: 2 * time.Second}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "2")
				answer(w, row.media, row.status, row.body)
			})
			_, err := c.Tenants(t.Context())
			p, ok := errors.AsType[*admin.Problem](err)
			if !ok {
				t.Fatalf("err = %v", err)
			}
			got, _ := json.Marshal(p)
			want, _ := json.Marshal(row.want)
			if string(got) != string(want) || p.RetryAfter != row.want.RetryAfter || p.Error() == "" {
				t.Errorf("got %s (%s), want %s", got, p.RetryAfter, want)
			}
		})
	}
}

func TestAProblemKeepsItsCode(t *testing.T) {
	p := admin.NewProblem(admin.CodeNotFound, http.StatusNotFound, "")
	if p.Code() != "not_found" || p.Title != "not found" || p.Error() != "not found" {
		t.Errorf("%+v", p)
	}
	if code := (&admin.Problem{Type: "about:blank"}).Code(); code != "" {
		t.Errorf("a foreign problem has the code %q", code)
	}
}

// A refusal is an error whatever it consists of, and only problem documents speak.
func FuzzRefusal(f *testing.F) {
	f.Add(403, "application/problem+json", `{"type":"urn:bursar:problem:forbidden","detail":"no"}`)
	f.Add(503, "text/plain", "canary")
	f.Add(301, "application/problem+json", `{"problems":[1]}`)
	f.Add(500, "application/problem+json;;", `null`)
	f.Fuzz(func(t *testing.T, status int, media, body string) {
		if status < 100 || status > 999 || status/100 == 2 {
			t.Skip()
		}
		c := admin.Client{BaseURL: "https://sts.example", Token: token, HTTP: &http.Client{
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}},
					Body: io.NopCloser(strings.NewReader(body))}, nil
			})}}
		_, err := c.Tenant(t.Context(), "acme")
		p, ok := errors.AsType[*admin.Problem](err)
		if !ok || p.Status != status || p.Error() == "" {
			t.Fatalf("status %d answered as %v", status, err)
		}
		if !strings.HasPrefix(media, "application/problem+json") && p.Type != "" &&
			!strings.HasPrefix(strings.ToLower(strings.TrimSpace(media)), "application/problem+json") {
			t.Fatalf("%q was believed as %+v", media, p)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestABackupIsCopiedOrAnError(t *testing.T) {
	rows := map[string]struct {
		handle http.HandlerFunc
		copied string
		err    error
		code   string
	}{
		"whole": {handle: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "application/octet-stream", http.StatusOK, "all of it")
		}, copied: "all of it"},
		"cut": {handle: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "application/octet-stream", http.StatusOK, "all")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, copied: "all", err: admin.ErrNoAnswer},
		"refused": {handle: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "application/problem+json", http.StatusForbidden,
				`{"type":"urn:bursar:problem:forbidden","title":"x","status":403,"detail":"No."}`)
		}, code: admin.CodeForbidden},
		"something else": {handle: func(w http.ResponseWriter, _ *http.Request) {
			answer(w, "text/html", http.StatusOK, "<p>welcome")
		}, err: admin.ErrNoAnswer},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			for path, call := range map[string]func(*admin.Client, io.Writer) error{
				"/admin/v1/t/acme/backup":   func(c *admin.Client, w io.Writer) error { return c.Backup(t.Context(), "acme", w) },
				"/admin/v1/platform/backup": func(c *admin.Client, w io.Writer) error { return c.PlatformBackup(t.Context(), w) },
			} {
				c := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodGet || r.URL.Path != path {
						t.Errorf("sent %s %s", r.Method, r.URL)
					}
					row.handle(w, r)
				})
				var b strings.Builder
				err := call(c, &b)
				problem, _ := errors.AsType[*admin.Problem](err)
				switch {
				case b.String() != row.copied:
					t.Errorf("copied %q", b.String())
				case row.code != "" && (problem == nil || problem.Code() != row.code), row.err != nil && !errors.Is(err, row.err),
					row.code == "" && row.err == nil && err != nil:
					t.Errorf("%v", err)
				}
			}
		})
	}
}
