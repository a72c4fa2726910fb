package admin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
)

const judged = `apiVersion: bursar/v1
tenant: %s
clients: [{id: bot, kind: agent, auth: {method: client_secret_basic}}]
` + tool + `policies:
  - {id: read, clients: [bot], tool: payments, actions: [refunds.read], condition: 'request.hour_utc == 3'}
`

// ask asks for a token as bot of a tenant, and returns the id of the decision if it is refused.
func (w *world) ask(slug, scope string) (decision string) {
	w.t.Helper()
	secret, _, err := w.svc.CreateSecret(w.t.Context(), w.root(slug), "bot")
	if err != nil {
		w.t.Fatal(err)
	}
	x := exchange.New(exchange.Config{Directory: w.dir, Log: w.log, Claims: w.store})
	a, err := x.Begin(w.t.Context(), slug, exchange.Request{AsItself: true, Audiences: []string{"payments"}, Scope: scope,
		Credentials: clients.Credentials{Basic: &clients.IDSecret{ID: "bot", Secret: secret}}})
	if err == nil {
		err = a.Decide(w.t.Context())
	}
	if err == nil {
		_, err = a.Issue(w.t.Context())
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.DecisionID
	}
	if err != nil {
		w.t.Fatal(err)
	}
	all := w.records(w.id(slug))
	return all[len(all)-1].Body.DecisionID
}

func TestAPastDecisionIsExplained(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", fmt.Sprintf(judged, "acme"))
	op := w.signIn(w.process, "acme", w.token("acme", admin.Auditor))
	good, bad := w.ask("acme", "payments:refunds.read"), w.ask("acme", "")
	d, err := w.svc.Decision(t.Context(), op, good)
	if err != nil || d.ID != good || d.Outcome != audit.Allowed || d.Reason+d.Step != "" || len(d.Records) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if last := d.Lines[len(d.Lines)-1]; last.Step != "mint" {
		t.Errorf("its last step is %+v", last)
	}
	d, err = w.svc.Decision(t.Context(), op, bad)
	if err != nil || d.Outcome != audit.Denied || d.Reason != "policy.no_default" || d.Step != "policy" ||
		!strings.Contains(string(d.Records[0].Claims), bad) {
		t.Fatalf("%+v, %v", d, err)
	}
	n := len(d.Lines)
	if rule := d.Lines[n-2]; rule.By != "read" || rule.Refused != "no_default" {
		t.Errorf("of the rule it says %+v", rule)
	}
	_, err = w.svc.Decision(t.Context(), op, "none")
	wantReason(t, err, "decision.malformed")
}

func TestAWithheldTokenIsExplainedByWhatWithheldIt(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", fmt.Sprintf(judged, "acme"))
	id := w.ask("acme", "payments:refunds.read")
	records := w.records(w.id("acme"))
	e := audit.Event{Name: audit.TokenExchange, Agent: "client:bot", Txn: id, Body: records[len(records)-1].Body}
	e.Body.Outcome, e.Body.Reason = audit.Failed, audit.NotReleased
	v, err := w.dir.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(t.Context(), v.Origin(), e); err != nil {
		t.Fatal(err)
	}
	d, err := w.svc.Decision(t.Context(), w.root("acme"), id)
	if err != nil || d.Outcome != audit.Failed || d.Reason != audit.NotReleased || d.Step != "record" ||
		len(d.Records) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestACallThroughTheShimIsNotExplainedAsAnExchange(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", fmt.Sprintf(judged, "acme"))
	id := w.ask("acme", "payments:refunds.read")
	records := w.records(w.id("acme"))
	b := records[len(records)-1].Body
	e := audit.Event{Name: audit.KeyUse, Agent: "client:bot", Txn: id, Body: audit.Body{Outcome: audit.Denied,
		Reason: "upstream.refused", DecisionID: id, ClientID: b.ClientID, Actor: b.Actor, Tool: b.Tool,
		Resource: b.Resource, Token: audit.Token{JTI: b.Token.JTI, Expiry: b.Token.Expiry},
		Use: audit.Use{Phase: audit.UseOutcome, Mode: "proxy"}}}
	v, err := w.dir.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Append(t.Context(), v.Origin(), e); err != nil {
		t.Fatal(err)
	}
	d, err := w.svc.Decision(t.Context(), w.root("acme"), id)
	if err != nil || d.Outcome != audit.Denied || d.Reason != "upstream.refused" || d.Step != "" || len(d.Lines) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestAnotherTenantsDecisionsAreNotThere(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", fmt.Sprintf(judged, "acme"))
	w.apply("globex", fmt.Sprintf(judged, "globex"))
	id := w.ask("acme", "")
	for _, role := range []admin.Role{admin.Admin, admin.Auditor} {
		_, err := w.svc.Decision(t.Context(), w.signIn(w.process, "globex", w.token("globex", role)), id)
		wantReason(t, err, "decision.unknown")
	}
	_, err := w.svc.Decision(t.Context(), w.root("globex"), id)
	wantReason(t, err, "decision.unknown")
	_, err = w.svc.Decision(t.Context(), w.root(""), id)
	wantKind(t, err, fault.NotFound)
}

func TestAHypothesisIsExplainedAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", fmt.Sprintf(judged, "acme"))
	op := w.signIn(w.process, "acme", w.token("acme", admin.Auditor))
	before := w.position("acme")
	h := exchange.Hypothesis{Client: "bot", Tool: "payments", Scope: "payments:refunds.read", At: w.time()}
	d, err := w.svc.Suppose(t.Context(), op, h)
	if err != nil || d.Outcome != audit.Allowed || d.ID != "" || len(d.Records) != 0 || len(d.Lines) == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	h.At = h.At.Add(3 * 3600e9)
	d, err = w.svc.Suppose(t.Context(), op, h)
	if err != nil || d.Outcome != audit.Denied || d.Reason != "policy.condition" || d.Step != "policy" {
		t.Errorf("three hours later: %+v, %v", d, err)
	}
	if _, err := w.svc.Revoke(t.Context(), w.root("acme"), "client", "bot", ""); err != nil {
		t.Fatal(err)
	}
	d, err = w.svc.Suppose(t.Context(), op, h)
	if err != nil || d.Reason != "revoked.client" || d.Step != "subject" {
		t.Errorf("after a revocation: %+v, %v", d, err)
	}
	if after := w.position("acme"); after.Index != before.Index+1 {
		t.Errorf("the log grew from %d to %d", before.Index, after.Index)
	}
	h.Client = "nobody"
	_, err = w.svc.Suppose(t.Context(), op, h)
	wantKind(t, err, fault.Invalid)
	_, err = w.svc.Suppose(t.Context(), w.root(""), h)
	wantKind(t, err, fault.NotFound)
}
