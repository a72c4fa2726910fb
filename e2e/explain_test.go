package e2e_test

import (
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// hidden is a condition that the tests look for where it must not be.
const hidden = `request.ip == "203.0.113.9"`

// conditioned puts the ledger's rule under that condition.
func (w *world) conditioned(t *testing.T) {
	t.Helper()
	w.Apply(t, strings.Replace(w.file(t, "acme.yaml"), "    actions: [entries.read]\n  - id: bots-send-mail",
		"    actions: [entries.read]\n    condition: '"+hidden+"'\n  - id: bots-send-mail", 1))
	if !strings.Contains(w.run(t, "policy", "show", "acme/bots-read-ledger"), "203.0.113.9") {
		t.Fatal("the condition was not applied")
	}
}

// code returns the exit code of a command of the binary, and what it printed.
func (w *world) code(t *testing.T, args ...string) (int, string) {
	t.Helper()
	out, err := w.Bursar(t, args...)
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), out
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out
}

// The id that a refused caller is told opens the whole decision to an operator: the step, the rule and the check. The
// caller learns none of it.
func TestARefusalIsExplainedToOperatorsAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.conditioned(t)
		bot, alice := w.workload(t), w.corp.Mint(t, harness.Mint{})
		rules := []string{"bots-refund", "bots-read-for-people", "bots-read-ledger", "bots-send-mail"}
		for _, row := range []struct {
			form                url.Values
			step, reason, shows string
		}{
			{harness.Form(bot, payments, "payments:refunds.approve"), "policy", "policy.action", "bots-refund"},
			{harness.For(alice, bot, payments, "payments:refunds.create"), "policy", "policy.action", "bots-read-for-people"},
			{harness.For(alice, bot, mail, "mail:send"), "policy", "policy.on_behalf_of", "bots-send-mail"},
			{harness.Form(bot, ledger, "ledger:entries.read"), "policy", "policy.condition", "bots-read-ledger"},
			{harness.Form(bot, payments, "payments:refunds.burn"), "scope", "scope.unknown", "payments"},
			{harness.Form(bot, "https://tools.acme.example/none", ""), "target", "target.unknown", "ap-bot"},
		} {
			a := w.acme().Exchange(t, row.form)
			for _, secret := range append(rules, row.reason, hidden, "203.0.113") {
				if strings.Contains(a.Body, secret) {
					t.Errorf("%s: the caller learns %q: %s", row.reason, secret, a.Body)
				}
			}
			id := a.Text("decision_id")
			code, out := w.code(t, "explain", "acme", id)
			if code != 0 || !strings.HasPrefix(out, "denied at the step "+row.step+": "+row.reason+"\n") ||
				!strings.Contains(out, row.shows) || !strings.Contains(out, "refused: "+row.reason) ||
				!strings.Contains(out, id) {
				t.Errorf("%s: exit code %d\n%s", row.reason, code, out)
			}
		}
		w.run(t, "revoke", "acme", "--client", "ap-bot")
		a := w.acme().Exchange(t, harness.Form(bot, payments, readRefunds))
		if out := w.run(t, "explain", "acme", a.Text("decision_id")); !strings.Contains(out, "refused: revoked.client\n") ||
			!strings.Contains(out, "bursar enable acme --client ID") || strings.Contains(a.Body, "revoked") {
			t.Errorf("%s\n%s", a.Body, out)
		}
	})
}

// What was issued is explained too: each step, with what it left, down to the token.
func TestAnIssuedTokenIsExplained(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		token := w.token(t)
		log := harness.Exchanges(w.Events(t, "acme", 0))
		last := log[len(log)-1]
		w.Kill()
		w.Restart(t)
		for range 3 { // events that follow it
			w.token(t)
		}
		e, err := w.Operator.Decision(t.Context(), "acme", last.DecisionID)
		if err != nil || e.Outcome != operator.OutcomeAllowed || len(e.Records) != 1 || e.Records[0].Index != last.Index {
			t.Fatalf("%+v, %v", e, err)
		}
		var steps []string
		for _, s := range e.Steps {
			if s.Refused == "" {
				steps = append(steps, s.Step)
			}
		}
		if got := strings.Join(steps, " "); got != "client subject target scope policy lifetime mint" {
			t.Errorf("the steps are %s", got)
		}
		if mint := e.Steps[len(e.Steps)-1]; len(mint.Left) != 1 || mint.Left[0] != harness.ID(token) {
			t.Errorf("minted %v, and the token is %s", mint.Left, harness.ID(token))
		}
	})
}

func TestAHypothesisIsJudgedByWhatIsThere(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.conditioned(t)
		before := len(w.Events(t, "acme", 0))
		ask := []string{"explain", "acme", "--client", "ap-bot", "--agent", "cluster:system:serviceaccount:prod:ap-bot"}
		read := append(ask, "--tool", "ledger", "--scope", "ledger:entries.read")
		if code, out := w.code(t, read...); code != 1 || !strings.Contains(out, "refused: policy.condition") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if code, out := w.code(t, append(read, "--ip", "203.0.113.9")...); code != 0 ||
			!strings.HasPrefix(out, "allowed\n") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		people := append(ask, "--tool", "payments", "--subject", "corp:alice", "--scope")
		if code, out := w.code(t, append(people, readRefunds)...); code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if code, out := w.code(t, append(people, "payments:refunds.create", "--json")...); code != 1 ||
			!strings.Contains(out, `"reason": "policy.action"`) {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if code, out := w.code(t, "explain", "acme", "--client", "nobody", "--tool", "payments"); code != 1 ||
			!strings.Contains(out, "is not a client of this tenant") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if after := len(w.Events(t, "acme", 0)); after != before {
			t.Errorf("%d events were recorded", after-before)
		}
	})
}

// TestTheDocumentedTestOfAPolicyHolds applies the tenant file of the page about policies and runs its test of them.
func TestTheDocumentedTestOfAPolicyHolds(t *testing.T) {
	page := readPage(t, "../docs/policies.md")
	section, _, _ := strings.Cut(after(t, page.text, "\n## Testing a policy\n"), "\n## ")
	script := regexp.MustCompile(`(?m)^! (.*)$`).ReplaceAllString(fences(section)[0].text, "if $1\nthen exit 9; fi")
	if strings.Count(script, "exit 9") != 2 {
		t.Fatalf("the page has another test:\n%s", script)
	}
	s := harness.Start(t, "bolt")
	s.Apply(t, page.fences[0].text)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(t))+":"+os.Getenv("PATH"),
		"BURSAR_SERVER="+s.URL, "BURSAR_TOKEN_FILE="+filepath.Join(s.Dir, "admin.token"))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "refused: policy.condition") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAnotherTenantsOperatorExplainsNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		id := w.acme().Exchange(t, harness.Form(w.workload(t), payments, "payments:refunds.approve")).Text("decision_id")
		file := filepath.Join(t.TempDir(), "globex.token")
		out := w.run(t, "operator", "token", "--tenant", "globex", "--role", "admin", "--ttl", time.Hour.String())
		if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
		theirs := w.operatorAs(strings.TrimSpace(out))
		for _, tenant := range []string{"acme", "globex"} {
			_, err := theirs.Decision(t.Context(), tenant, id)
			if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Status != 404 {
				t.Errorf("at %s: %v", tenant, err)
			}
			if code, out := w.code(t, "explain", tenant, id, "--token-file", file); code != 1 ||
				strings.Contains(out, "policy.") {
				t.Errorf("at %s: exit code %d\n%s", tenant, code, out)
			}
		}
		_, err := theirs.Explain(t.Context(), "acme", operator.Hypothesis{Client: "ap-bot", Tool: "payments"})
		if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Status != 404 {
			t.Errorf("a hypothesis about acme: %v", err)
		}
	})
}

// operatorAs returns a client with another token.
func (w *world) operatorAs(token string) *operator.Client {
	return &operator.Client{BaseURL: w.URL, Token: token}
}
