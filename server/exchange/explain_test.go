package exchange_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
)

// tell writes lines as one would read them.
func tell(lines []exchange.Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s", l.Step)
		if l.By != "" {
			fmt.Fprintf(&b, " by %s", l.By)
		}
		fmt.Fprintf(&b, ": %s -> %s", strings.Join(l.Had, ", "), strings.Join(l.Left, ", "))
		if l.Refused != "" {
			fmt.Fprintf(&b, " refused: %s", l.Refused)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestADecisionIsExplainedByItsRecord: each step, what it had and left, and the first that refused.
func TestADecisionIsExplainedByItsRecord(t *testing.T) {
	w := newDelegating(t)
	last := func() audit.Body {
		log := w.Records("acme")
		return log[len(log)-1].Body
	}
	root := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
	own := issue(t, w, trade(root, w.Workload("other-bot"))).Token
	until := func(compact string) string {
		return time.Unix(claimsOf(t, compact).Expiry, 0).UTC().Format(time.RFC3339)
	}
	actor := time.Unix(last().Limits.Actor, 0).UTC().Format(time.RFC3339)
	want := `client by workload:  -> other-bot
subject by a token of ours, 1 from its root: https://sts.example/t/acme -> corp:alice, client:ap-bot, client:other-bot
target: https://tools.example/payments -> payments
scope by within payments:refunds.read: refunds.read -> refunds.read
policy by pass:  ->  refused: on_behalf_of
policy by pass-for: refunds.read -> refunds.read
lifetime: policy 5m0s, tool 15m0s, subject until ` + until(root) + `, actor until ` + actor +
		` -> until ` + until(own) + `
mint:  -> ` + claimsOf(t, own).ID + "\n"
	if got := tell(exchange.Explain(last())); got != want {
		t.Errorf("explained as\n%swant\n%s", got, want)
	}
	refused(t, w, withScope(trade(root, w.Workload("other-bot")), "payments:refunds.create"))
	if got := tell(exchange.Explain(last())); !strings.HasSuffix(got,
		"scope: refunds.create ->  refused: scope.parent\n") {
		t.Errorf("explained as\n%s", got)
	}
	refused(t, w, with(onBehalf(w.User("alice"), w.Workload("ap-bot")), func(r *exchange.Request) {
		r.Audiences, r.Scope = []string{"mail"}, "mail:send"
	}))
	if got := tell(exchange.Explain(last())); !strings.HasSuffix(got,
		"policy by mail-night:  ->  refused: on_behalf_of\npolicy: send ->  refused: policy.on_behalf_of\n") {
		t.Errorf("explained as\n%s", got)
	}
	w.Cut("acme", "client", "ap-bot", true)
	refused(t, w, self(w.Workload("ap-bot")))
	if got := tell(exchange.Explain(last())); !strings.HasSuffix(got, "refused: revoked.client\n") ||
		!strings.HasPrefix(got, "client by workload:  -> ap-bot\n") {
		t.Errorf("explained as\n%s", got)
	}
}

// TestAHypothesisIsJudgedLikeARequest: the same answer as the real request gets, and nothing in the log for it.
func TestAHypothesisIsJudgedLikeARequest(t *testing.T) {
	w := newDelegating(t)
	agent := exchange.Supposed{Issuer: "cluster", Subject: "system:serviceaccount:prod:ap-bot"}
	other := exchange.Supposed{Issuer: "cluster", Subject: "system:serviceaccount:prod:other-bot"}
	alice := exchange.Supposed{Issuer: "corp", Subject: "alice"}
	scope := "payments:refunds.read"
	forUser := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
	alone := issue(t, w, withScope(self(w.Workload("ap-bot")), scope)).Token
	for _, row := range []struct {
		name string
		h    exchange.Hypothesis
		real exchange.Request
	}{
		{"as itself", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Tool: "payments"}, self(w.Workload("ap-bot"))},
		{"as itself, too much", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Tool: "payments",
			Scope: "payments:refunds.delete"}, withScope(self(w.Workload("ap-bot")), "payments:refunds.delete")},
		{"as itself, nonsense", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Tool: "payments", Scope: "x y"},
			withScope(self(w.Workload("ap-bot")), "x y")},
		{"for a user", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Subject: alice, Tool: "payments", Scope: scope},
			onBehalf(w.User("alice"), w.Workload("ap-bot"))},
		{"for a user, without a rule", exchange.Hypothesis{Client: "other-bot", Agent: other, Subject: alice,
			Tool: "payments", Scope: scope}, onBehalf(w.User("alice"), w.Workload("other-bot"))},
		{"with a token of ours", exchange.Hypothesis{Client: "other-bot", Agent: other, Tool: "payments", Scope: scope,
			Parent: &exchange.SupposedParent{Client: "ap-bot", Tool: "payments", Scope: scope}},
			trade(alone, w.Workload("other-bot"))},
		{"with a token of ours for a user", exchange.Hypothesis{Client: "other-bot", Agent: other, Subject: alice,
			Tool: "payments", Scope: scope,
			Parent: &exchange.SupposedParent{Client: "ap-bot", Tool: "payments", Scope: scope}},
			trade(forUser, w.Workload("other-bot"))},
		{"with a token of ours, to another tool", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Tool: "ledger",
			Scope: "read", Parent: &exchange.SupposedParent{Client: "ap-bot", Tool: "payments", Scope: scope}},
			with(trade(alone, w.Workload("ap-bot")), func(r *exchange.Request) {
				r.Audiences, r.Scope = []string{"ledger"}, "read"
			})},
		{"a tool that is nobody's", exchange.Hypothesis{Client: "ap-bot", Agent: agent, Tool: "nothing"},
			with(self(w.Workload("ap-bot")), func(r *exchange.Request) { r.Audiences = []string{"nothing"} })},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(w.Records("acme"))
			got, err := w.Exchanger.Suppose(t.Context(), "acme", row.h)
			if err != nil || len(records(w, before)) != 0 {
				t.Fatalf("supposing failed, or left a record: %v", err)
			}
			_, err = run(t.Context(), w.Exchanger, "acme", row.real)
			log := records(w, before)
			want := log[len(log)-1].Body
			if (err == nil) != (got.Outcome == audit.Allowed) || got.Reason != want.Reason || got.Step != want.Step ||
				!slices.Equal(got.Actions, want.Actions) || !slices.Equal(got.Policy.Rules, want.Policy.Rules) ||
				!slices.Equal(got.Policy.Considered, want.Policy.Considered) || got.Limits.Policy != want.Limits.Policy {
				t.Errorf("supposed\n%swas\n%s%v", tell(exchange.Explain(got)), tell(exchange.Explain(want)), err)
			}
		})
	}
	for name, h := range map[string]exchange.Hypothesis{
		"client": {Client: "nobody", Tool: "payments"}, "subject": {Client: "ap-bot", Tool: "payments",
			Subject: exchange.Supposed{Issuer: "nowhere", Subject: "x"}},
		"agent":       {Client: "ap-bot", Tool: "payments", Agent: exchange.Supposed{Issuer: "nowhere", Subject: "x"}},
		"parent.tool": {Client: "ap-bot", Tool: "payments", Parent: &exchange.SupposedParent{Client: "ap-bot", Tool: "x"}},
		"parent.client": {Client: "ap-bot", Tool: "payments",
			Parent: &exchange.SupposedParent{Client: "nobody", Tool: "payments"}},
	} {
		_, err := w.Exchanger.Suppose(t.Context(), "acme", h)
		f := fault.As(err)
		if f.Kind != fault.Invalid || len(f.Problems) != 1 || !strings.HasPrefix(f.Problems[0], name+": ") {
			t.Errorf("%s: %v %q", name, err, f.Problems)
		}
	}
}

// TestWhatIsNoScopeIsNotShownAsNone: a supposed request shows what it was, a recorded one that there was something.
func TestWhatIsNoScopeIsNotShownAsNone(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	b, err := w.Exchanger.Suppose(t.Context(), "acme", exchange.Hypothesis{Client: "ap-bot", Tool: "payments",
		Scope: "refunds.read x"})
	if got := tell(exchange.Explain(b)); err != nil ||
		!strings.Contains(got, ": refunds.read, x ->  refused: scope.unknown\n") {
		t.Errorf("supposed\n%s%v", got, err)
	}
	_, err = run(t.Context(), w.Exchanger, "acme", withScope(self(w.Workload("ap-bot")), "refunds.read"))
	log := records(w, 0)
	if got := tell(exchange.Explain(log[len(log)-1].Body)); err == nil ||
		!strings.Contains(got, ": (no scope of the tool) ->  refused: scope.unknown\n") {
		t.Errorf("recorded\n%s%v", got, err)
	}
}
