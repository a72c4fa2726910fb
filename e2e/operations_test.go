package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

func TestIntrospectionIsForTheAddressedResourceServer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		token := w.token(t)
		a := w.as(t, "payments-api").Introspect(t, token)
		if a.Status != http.StatusOK || a.JSON["active"] != true || a.JSON["client_id"] != "ap-bot" ||
			a.JSON["aud"] != payments || a.JSON["scope"] != readRefunds || a.JSON["iss"] != w.Issuer("acme") {
			t.Errorf("status %d %s", a.Status, a.Body)
		}
		other := w.as(t, "mail-api")
		for name, foreign := range map[string]string{"somebody else's": token, "garbage": "x", "of no issuer": w.workload(t),
			"respelled": token + "=", "tampered": mutations["flip a bit of the signature"](token)} {
			if a := other.Introspect(t, foreign); a.Status != http.StatusOK || strings.TrimSpace(a.Body) != `{"active":false}` {
				t.Errorf("%s: status %d %s", name, a.Status, a.Body)
			}
		}
		if a := w.acme().Introspect(t, token); a.Status != http.StatusBadRequest || a.Text("error") != "invalid_client" {
			t.Errorf("without credentials: status %d %s", a.Status, a.Body)
		}
		other.Secret += "x"
		if a := other.Introspect(t, token); a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("with a wrong secret: status %d %s", a.Status, a.Body)
		}
	})
}

// RFC 7009 §2.1: a token is revoked by the client it was issued to, here also by the resource server it is for.
func TestAClientRevokesWhatIsItsOwn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, mailAPI := w.as(t, "payments-api"), w.as(t, "mail-api")
		by := func(workload, token string, more url.Values) *harness.Answer {
			form := url.Values{"token": {token}, "client_assertion_type": {harness.JWTBearer}, "client_assertion": {workload}}
			for name, values := range more {
				form[name] = values
			}
			a, err := w.acme().Send(t.Context(), "revoke", form)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		bot, spare := w.workload(t), w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}})
		token := w.token(t)
		for name, a := range map[string]*harness.Answer{
			"another agent": by(spare, token, nil), "another resource server": mailAPI.Revoke(t, token)} {
			if a.Status != http.StatusBadRequest || a.Text("error") != "invalid_grant" {
				t.Errorf("%s: status %d %s", name, a.Status, a.Body)
			}
		}
		if a := w.acme().Revoke(t, token); a.Status != http.StatusUnauthorized {
			t.Errorf("without credentials: status %d %s", a.Status, a.Body)
		}
		if !api.Active(t, token) {
			t.Fatal("somebody else revoked the token")
		}
		for range 2 { // revoking again is no error
			if a := by(bot, token, url.Values{"token_type_hint": {"refresh_token"}}); a.Status != http.StatusOK || a.Body != "" {
				t.Errorf("its own agent: status %d %s", a.Status, a.Body)
			}
			if api.Active(t, token) {
				t.Error("the token is active")
			}
		}
		token = w.token(t)
		if a := api.Revoke(t, token); a.Status != http.StatusOK || api.Active(t, token) {
			t.Errorf("its resource server: status %d %s", a.Status, a.Body)
		}
		if a := by(bot, "garbage", nil); a.Status != http.StatusOK {
			t.Errorf("garbage: status %d %s", a.Status, a.Body)
		}
		if a := by(bot, "", nil); a.Status != http.StatusBadRequest || a.Text("error") != "invalid_request" {
			t.Errorf("no token: status %d %s", a.Status, a.Body)
		}
		if !api.Active(t, w.token(t)) {
			t.Error("a new token is not active")
		}
	})
}

func TestARevokedTokenIsInactiveByItsIdAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, token, other := w.as(t, "payments-api"), w.token(t), w.token(t)
		w.run(t, "revoke", "acme", "--jti", harness.ID(token))
		if api.Active(t, token) || !api.Active(t, other) {
			t.Error("not that token, or not that alone, was revoked")
		}
		w.Kill()
		w.Restart(t)
		if api.Active(t, token) || !api.Active(t, other) {
			t.Error("the revocation did not survive a crash")
		}
	})
}

func TestADisabledClientGetsNothingUntilItIsEnabled(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, token := w.as(t, "payments-api"), w.token(t)
		spare := harness.Form(w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}}), payments, readRefunds)
		form := harness.Form(w.workload(t), payments, readRefunds)
		person := harness.For(w.corp.Mint(t, harness.Mint{}), w.workload(t), payments, readRefunds)
		w.run(t, "revoke", "acme", "--client", "ap-bot")
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.client")
		refused(t, w.acme(), person, 400, "invalid_request", "revoked.client")
		if api.Active(t, token) {
			t.Error("its token is active")
		}
		w.acme().MustExchange(t, spare)
		w.Apply(t, w.file(t, "acme.yaml")) // apply enables nothing
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.client")
		w.run(t, "enable", "acme", "--client", "ap-bot")
		if fresh := w.acme().MustExchange(t, form); !api.Active(t, fresh) || api.Active(t, token) {
			t.Error("the new token is not active, or the old one is")
		}
	})
}

func TestTheKillSwitchOfATenant(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		api, token := w.as(t, "payments-api"), w.token(t)
		form := harness.Form(w.workload(t), payments, readRefunds)
		elsewhere := harness.Form(w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
			"sub": "system:serviceaccount:globex:gx-bot", "aud": []string{w.Issuer("globex")}}}), globexPayments, readRefunds)
		w.run(t, "revoke", "acme", "--all")
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.tenant")
		if a := api.Introspect(t, token); a.JSON["active"] == true {
			t.Errorf("introspection: %s", a.Body)
		}
		w.At("globex").MustExchange(t, elsewhere)
		w.run(t, "enable", "acme", "--all")
		if fresh := w.acme().MustExchange(t, form); !api.Active(t, fresh) || api.Active(t, token) {
			t.Error("the new token is not active, or the old one is")
		}
	})
}

func TestAnOperatorOfOneTenantFindsNoOther(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		admin := w.operatorOf(t, "acme", operator.RoleAdmin)
		if _, err := admin.Tenant(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		calls := func(c *operator.Client, tenant string) map[string]error {
			ctx, all := t.Context(), map[string]error{}
			_, all["tenant"] = c.Tenant(ctx, tenant)
			_, all["objects"] = c.Objects(ctx, tenant, operator.KindClient)
			_, all["object"] = c.Object(ctx, tenant, operator.Ref{Kind: operator.KindClient, ID: "gx-bot"})
			_, all["keys"] = c.Keys(ctx, tenant)
			_, all["rotate"] = c.RotateKeys(ctx, tenant, "")
			_, all["events"] = c.Events(ctx, tenant, operator.EventQuery{})
			_, all["apply"] = c.Apply(ctx, tenant, []byte(w.file(t, "globex.yaml")), operator.ApplyOptions{})
			_, all["revoke"] = c.Revoke(ctx, tenant, operator.Target{Kind: operator.CutoffTenant})
			_, all["cutoffs"] = c.Cutoffs(ctx, tenant)
			_, all["secret"] = c.CreateSecret(ctx, tenant, "payments-api")
			_, all["operators"] = c.Operators(ctx, tenant)
			_, all["operator"] = c.CreateOperator(ctx, tenant, operator.OperatorRequest{Role: operator.RoleAdmin, TTL: "1h"})
			return all
		}
		nowhere := calls(admin, "nowhere")
		for name, err := range calls(admin, "globex") {
			p, ok := errors.AsType[*operator.Problem](err)
			if !ok || p.Code() != operator.CodeNotFound {
				t.Errorf("%s: %v", name, err)
			} else if name != "apply" && err.Error() != nowhere[name].Error() {
				t.Errorf("%s: globex is answered %q, a tenant that does not exist %q", name, err, nowhere[name])
			}
		}
		for name, err := range calls(&operator.Client{BaseURL: w.URL, Token: "brs_op_unknown"}, "acme") {
			if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Code() != operator.CodeUnauthenticated {
				t.Errorf("%s with an unknown token: %v", name, err)
			}
		}
		if _, err := admin.Tenants(t.Context()); err == nil {
			t.Error("it sees every tenant")
		}
		if _, err := admin.PlatformEvents(t.Context(), operator.EventQuery{}); err == nil {
			t.Error("it sees the platform's log")
		}
		auditor := w.operatorOf(t, "acme", operator.RoleAuditor)
		_, err := auditor.Revoke(t.Context(), "acme", operator.Target{Kind: operator.CutoffTenant})
		if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Code() != operator.CodeForbidden {
			t.Errorf("an auditor revokes: %v", err)
		}
		w.token(t) // nobody has switched anything off
	})
}

// What one of two servers is told, the other heeds on the very next request.
func TestTwoServersOnOneRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.Start(t, "redis"))
	twin := w.Twin(t)
	there := twin.At("acme")
	form := harness.Form(w.workload(t), payments, "payments:refunds.create")
	api := w.as(t, "payments-api")
	apiThere := api
	apiThere.Server = twin
	for range 20 {
		token := w.token(t)
		if !apiThere.Active(t, token) {
			t.Fatal("the other server does not know the token")
		}
		w.run(t, "revoke", "acme", "--jti", harness.ID(token))
		if apiThere.Active(t, token) {
			t.Fatal("the token is active at the other server")
		}
		token = there.MustExchange(t, form)
		if a := api.Revoke(t, token); a.Status != http.StatusOK || apiThere.Active(t, token) {
			t.Fatalf("status %d %s; or the token is active at the other server", a.Status, a.Body)
		}
	}
	t.Run("a client is disabled and enabled", func(t *testing.T) {
		w.run(t, "revoke", "acme", "--client", "ap-bot")
		refused(t, there, form, 400, "invalid_request", "revoked.client")
		w.run(t, "enable", "acme", "--client", "ap-bot")
		there.MustExchange(t, form)
	})
	t.Run("a policy is edited", func(t *testing.T) {
		w.Apply(t, strings.Replace(w.file(t, "acme.yaml"), "actions: [refunds.read, refunds.create]", "actions: [refunds.read]", 1))
		refused(t, there, form, 400, "invalid_scope", "policy.action")
		w.Apply(t, w.file(t, "acme.yaml"))
		there.MustExchange(t, form)
	})
	t.Run("a secret is made", func(t *testing.T) {
		fresh := w.as(t, "payments-api")
		fresh.Server = twin
		fresh.Active(t, w.token(t))
	})
	t.Run("the keys of one verify at the other", func(t *testing.T) {
		if a, b := harness.Get(t, w.URL+"/t/acme/jwks.json"), harness.Get(t, twin.URL+"/t/acme/jwks.json"); a.Body != b.Body {
			t.Errorf("%s\n%s", a.Body, b.Body)
		}
	})
	t.Run("the tenant is switched off", func(t *testing.T) {
		w.run(t, "revoke", "acme", "--all")
		refused(t, there, form, 400, "invalid_request", "revoked.tenant")
	})
}

// Of 64 operators who change a tenant at once, through two servers where the store allows it, none undoes another's
// change, and of those who insist on what they have read only one is served.
func TestManyApplyAtOnce(t *testing.T) {
	const writers = 64
	eachWorld(t, func(t *testing.T, w *world) {
		operators := []*operator.Client{w.Operator}
		if w.Redis != nil {
			operators = append(operators, w.Twin(t).Operator)
		}
		at := func(i int, revision int64) error {
			file := fmt.Sprintf("apiVersion: bursar/v1\ntenant: acme\n"+
				"tools: [{name: tool-%d, resource: 'https://tools.acme.example/%d', actions: [look-%d]}]\n", i, i, revision)
			_, err := operators[i%len(operators)].Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{Revision: revision})
			return err
		}
		all(writers, func(i int) {
			if err := at(i, 0); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
		tools, err := w.Operator.Objects(t.Context(), "acme", operator.KindTool)
		if err != nil || len(tools) != writers+3 {
			t.Errorf("%d tools, want %d; %v", len(tools), writers+3, err)
		}
		tenant, err := w.Operator.Tenant(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		var served atomic.Int64
		all(writers, func(i int) {
			err := at(i, tenant.Revision)
			if err == nil {
				served.Add(1)
			} else if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Code() != operator.CodeConflict {
				t.Errorf("writer %d: %v", i, err)
			}
		})
		if served.Load() != 1 {
			t.Errorf("%d writers were served with the same revision", served.Load())
		}
		harness.CheckNumbers(t, w.Events(t, "acme", 0))
	})
}

// all calls f with 0 to n-1 at once.
func all(n int, f func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { f(i) })
	}
	running.Wait()
}

// A client assertion may be used once, by however many at once.
func TestAClientAssertionIsUsedOnce(t *testing.T) {
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		x := newAcceptance(t, s)
		assertion, subject := x.bake(t, recipe{From: "client"}), x.bake(t, recipe{})
		form := harness.Form(subject, payments, readRefunds)
		form.Set("client_assertion", assertion)
		form.Set("client_assertion_type", harness.JWTBearer)
		var served, refused atomic.Int64
		all(50, func(int) {
			switch a, err := s.At("acme").Send(context.WithoutCancel(t.Context()), "token", form); {
			case err != nil:
				t.Error(err)
			case a.Status == http.StatusOK:
				served.Add(1)
			case a.Status == http.StatusUnauthorized && a.Text("error") == "invalid_client":
				refused.Add(1)
			default:
				t.Errorf("status %d %s", a.Status, a.Body)
			}
		})
		if served.Load() != 1 || refused.Load() != 49 {
			t.Errorf("%d were served, %d refused", served.Load(), refused.Load())
		}
	})
}
