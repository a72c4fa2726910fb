package adminapi_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// refusal asks for what no policy allows, as bot, and returns the id of the decision.
func (w *world) refusal(t *testing.T) string {
	t.Helper()
	secret := ok[*operator.NewSecret](t)(w.CreateSecret(t.Context(), "acme", "bot"))
	a, err := w.exchanger.Begin(t.Context(), "acme", exchange.Request{AsItself: true, Audiences: []string{"payments"},
		Credentials: clients.Credentials{Basic: &clients.IDSecret{ID: "bot", Secret: secret.ClientSecret}}})
	if err != nil {
		t.Fatal(err)
	}
	id := fault.As(a.Decide(t.Context())).DecisionID
	if err := w.DeleteSecret(t.Context(), "acme", "bot", secret.ID); err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *world) explanations(t *testing.T) {
	ctx := t.Context()
	id := w.refusal(t)
	e := ok[*operator.Explanation](t)(w.Decision(ctx, "acme", id))
	last := e.Steps[len(e.Steps)-1]
	if e.DecisionID != id || e.Outcome != operator.OutcomeDenied || e.Reason != "policy.no_default" ||
		e.Step != "policy" || last.Refused != e.Reason || last.Had == nil || last.Left == nil || len(e.Records) != 1 ||
		!strings.Contains(string(e.Records[0].Claims), id) {
		t.Errorf("explained as %+v", e)
	}
	e = ok[*operator.Explanation](t)(w.Explain(ctx, "acme", operator.Hypothesis{Client: "ci", Tool: "payments",
		Agent: &operator.Identity{Issuer: "sso", Subject: "ci", Claims: json.RawMessage(`{"level":3}`)},
		At:    time.Now().UTC(), IP: netip.MustParseAddr("192.0.2.1"), Lifetime: "5m"}))
	if e.DecisionID != "" || e.Reason != "policy.no_rule" || e.Records == nil || len(e.Records) != 0 {
		t.Errorf("explained as %+v", e)
	}
	_, err := w.Decision(ctx, "acme", "x")
	wantCode(t, err, 400, operator.CodeInvalidRequest)
	_, err = w.Decision(ctx, "acme", ledger.NewID(time.Now()))
	wantCode(t, err, 404, operator.CodeNotFound)
	_, err = w.Explain(ctx, "acme", operator.Hypothesis{Client: "nobody", Tool: "payments"})
	if p := wantCode(t, err, 422, operator.CodeInvalid); len(p.Problems) != 1 {
		t.Errorf("problems %q", p.Problems)
	}
	editor := ok[*operator.NewOperator](t)(w.CreateOperator(ctx, "acme",
		operator.OperatorRequest{Role: operator.RoleEditor, TTL: "1h"}))
	_, err = w.as(editor.Token).Decision(ctx, "acme", id)
	wantCode(t, err, 403, operator.CodeForbidden)
	_, err = w.as(editor.Token).Explain(ctx, "acme", operator.Hypothesis{Client: "bot", Tool: "payments"})
	wantCode(t, err, 403, operator.CodeForbidden)
	if err := w.DeleteOperator(ctx, "acme", editor.ID); err != nil {
		t.Error(err)
	}
}

func TestAHypothesisIsReadStrictlyAllTheWayDown(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	const parent = `"parent":{"client":"bot","tool":"payments","scope":"",`
	const notClaims = "agent.claims: must be an object as a token could hold it"
	for members, want := range map[string]string{
		`"action":"x"`:                          "action: is not a known member",
		`"at":"noon"`:                           "at: must be a time such as 2026-01-02T03:04:05Z",
		`"ip":"here"`:                           "ip: must be an IP address",
		`"lifetime":"5"`:                        "lifetime: must be a duration such as 30m",
		`"agent":"sso:ci"`:                      "agent: must be an object",
		`"agent":{"issuer":"sso"}`:              "agent.subject: is required",
		`"agent":{"sub":1}`:                     "agent.sub: is not a known member",
		`"agent":{"issuer":1,"issuer":""}`:      "agent.issuer: is given twice",
		`"subject":{"issuer":"","subject":"x"}`: "subject: needs an issuer and a subject that are not empty",
		`"agent":{"issuer":"sso","subject":"x","claims":[]}`:            notClaims,
		`"agent":{"issuer":"sso","subject":"x","claims":{"a":1,"a":2}}`: notClaims,

		`"subject":{"issuer":"elsewhere","subject":"x"}`: "subject: names no trusted issuer of this tenant",
		`"parent":{"client":"bot"}`:                      "parent.tool: is required",
		parent + `"depth":"1"}`:                          "parent.depth: must be a number",
		parent + `"depth":1000}`:                         "parent.depth: must be 0 to 16",
	} {
		body := `{"client":"ci","tool":"payments",` + members + `}`
		resp, p := w.send(t, http.MethodPost, "/admin/v1/t/acme/explain", body, "Content-Type", "application/json")
		if resp.StatusCode != http.StatusUnprocessableEntity || !slices.Contains(p.Problems, want) {
			t.Errorf("%s is answered %d %q", body, resp.StatusCode, p.Problems)
		}
	}
}

// TestClaimsKeepTheirNumbers: two ids that differ in their last digit are two.
func TestClaimsKeepTheirNumbers(t *testing.T) {
	w := newWorld(t)
	exact := file + "  - {id: exact, clients: [ci], tool: payments, actions: [refunds.read], " +
		"condition: 'actor.claims.account == 9007199254740993'}\n"
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(exact), operator.ApplyOptions{}))
	for account, want := range map[string]operator.Outcome{
		"9007199254740993": operator.OutcomeAllowed, "9007199254740992": operator.OutcomeDenied,
	} {
		e := ok[*operator.Explanation](t)(w.Explain(t.Context(), "acme", operator.Hypothesis{Client: "ci", Tool: "payments",
			Scope: "payments:refunds.read",
			Agent: &operator.Identity{Issuer: "sso", Subject: "ci", Claims: json.RawMessage(`{"account":` + account + `}`)}}))
		if e.Outcome != want {
			t.Errorf("account %s is %s (%s)", account, e.Outcome, e.Reason)
		}
	}
}
