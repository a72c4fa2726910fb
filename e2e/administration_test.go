package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

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

// TestAnEditorCannotUndoARevocation: who may apply and not enable finds no name under which what is disabled goes on.
func TestAnEditorCannotUndoARevocation(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, old := w.as(t, "payments-api"), w.token(t)
		editor, responder := w.operatorOf(t, "acme", operator.RoleEditor), w.operatorOf(t, "acme", operator.RoleResponder)
		target := operator.Target{Kind: operator.CutoffTool, Value: "payments"}
		apply := func(file string) error {
			_, err := editor.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{Prune: true})
			return err
		}
		renamed := strings.NewReplacer("name: payments", "name: pay2", "tool: payments", "tool: pay2",
			"tools: [payments]", "tools: [pay2]").Replace(w.file(t, "acme.yaml"))
		if _, err := responder.Revoke(t.Context(), "acme", target); err != nil {
			t.Fatal(err)
		}
		p, ok := errors.AsType[*operator.Problem](apply(renamed))
		if !ok || len(p.Problems) != 2 || !strings.Contains(strings.Join(p.Problems, "\n"),
			"tool payments: is disabled by a revocation; before it is deleted: bursar enable acme --tool payments") {
			t.Errorf("the editor renames a disabled tool: %+v", p)
		}
		if _, err := editor.Enable(t.Context(), "acme", target); err == nil {
			t.Error("the editor enables")
		}
		if _, err := responder.Enable(t.Context(), "acme", target); err != nil {
			t.Fatal(err)
		}
		young := w.token(t)
		if err := apply(renamed); err != nil {
			t.Fatalf("an enabled tool is not renamed: %v", err)
		}
		if api.Active(t, old) || api.Active(t, young) {
			t.Errorf("the new name inherits tokens: the revoked one %v, the later one %v", api.Active(t, old),
				api.Active(t, young))
		}
		next := harness.Form(w.workload(t), payments, "pay2:refunds.read")
		if !api.Active(t, w.acme().MustExchange(t, next)) {
			t.Error("the new name is of no use")
		}
	})
}

// What one of two servers is told, the other heeds on the very next request.
// TestTwoServersOnOneRedis (T-35): what one of them is told, the other heeds on the next request.
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
		less := strings.NewReplacer("actions: [refunds.read, refunds.create]", "actions: [refunds.read]")
		w.Apply(t, less.Replace(w.file(t, "acme.yaml")))
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
			o := operator.ApplyOptions{Revision: revision}
			_, err := operators[i%len(operators)].Apply(t.Context(), "acme", []byte(file), o)
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
