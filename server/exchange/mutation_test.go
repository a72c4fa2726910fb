//go:build mutation

package exchange_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// edit replaces a piece of a source file by what widens something.
type edit struct{ file, from, to string }

// TestEachMutationIsCaught builds this package's property test with one widening mistake planted at a time, and expects
// it to fail. The mistakes are laid over the source when it is compiled, so that none of them is ever in the program.
func TestEachMutationIsCaught(t *testing.T) {
	const decide = "../../scopes/policy/decide.go"
	for name, edits := range map[string][]edit{
		"scope: every action of the tool": {
			{"issue.go", "a.grant.tool.Scope(a.grant.granted)",
				"a.grant.tool.Scope(scopes.Actions(a.grant.tool.Name, a.grant.tool.Actions...))"},
			{"issue.go", `"github.com/bursar-sts/bursar/clients/token"`,
				"\"github.com/bursar-sts/bursar/clients/token\"\n\t\"github.com/bursar-sts/bursar/scopes\""}},
		"actions: the parent's are no ceiling": {
			{"parent.go", "p.scope = p.allowed()", "p.scope = scopes.Actions(p.tool.Name, p.tool.Actions...)"}},
		"audience: another tool without a mapping": {
			{decide, "return slices.ContainsFunc(x.from, r.Parent.Scope.Has)", "return true"}},
		"audience: from what the parent does not allow": {
			{decide, "return slices.ContainsFunc(x.from, r.Parent.Scope.Has)", "return len(x.from) > 0"}},
		"expiry: the parent's does not count":        {{"narrow.go", "g.limits.Subject = c.parent.Expiry", ""}},
		"expiry: the actor's does not count":         {{"narrow.go", "Actor: expiry(c.actor)", "Actor: 0"}},
		"expiry: the policy's does not count":        {{"narrow.go", "min(g.limits.Policy, g.limits.Tool)", "g.limits.Tool"}},
		"expiry: a foreign subject's does not count": {{"narrow.go", "Subject: expiry(c.subject)", "Subject: 0"}},
		"expiry: the tool's does not count": {
			{"narrow.go", "min(g.limits.Policy, g.limits.Tool)", "g.limits.Policy"}},
		"actions: within a tool, more than the parent's": {
			{"narrow.go", "case p.tool == g.tool && !p.scope.Covers(g.requested):", "case false:"},
			{"narrow.go", "c.parent != nil && c.parent.tool == g.tool && !c.parent.scope.Covers(g.granted)", "false"},
			{decide, "r.Parent.Scope.Covers(scopes.Actions(r.Tool, actions...))", "len(actions) > 0"}},
		"lineage: the agent's identity is missing": {{"parent.go", "union(l.Subjects, rests.Subjects)", "rests.Subjects"}},
		"tenant: anybody's token is one of ours": {
			{"own.go", "payload, err := view.Ring.Verify(raw, now)", "_, payload, err := token.Canonical(raw)"},
			{"own.go", "c.Issuer != view.Issuer || ", ""},
			{"own.go", "tool, ok := view.Tools.At(c.Audience); !ok || tool.Disabled",
				`_, ok := view.Tools.Named("payments"); !ok`},
			{"parent.go", "a.view.Tools.At(claims.Audience)", `a.view.Tools.Named("payments")`}},
		"actors: the chain is stripped":      {{"parent.go", "before = c.parent.Act\n", "before = nil\n"}},
		"actors: the current one is missing": {{"parent.go", "c.parent.ClientID == c.client.ID:", `c.client.ID != "":`}},
		"actors: foreign ones are forgotten": {
			{"parent.go", "slices.Backward(c.subject.Actors)", "slices.Backward(c.subject.Actors[:0])"}},
		"actors: the chain has no end":  {{"parent.go", "depth > token.MaxActors", "depth > 99"}},
		"actors: may_act is no ceiling": {{"parent.go", "if only == nil {", "if true {"}},
		"subject: the client, not its user": {{"issue.go", "case a.caller.parent != nil:\n", "case false:\n"},
			{"issue.go", "case a.caller.onBehalf:\n", "case a.caller.onBehalf && a.caller.subject != nil:\n"}},
		"presenter: whoever found the token": {{decide, "(p.Client == r.Client || p.Owned)", `p.Client != ""`}},
		"presenter: somebody else's delegate": {
			{decide, "(slices.Contains(x.clients, p.Client) || slices.Contains(x.delegates, p.Client))", `p.Client != ""`}},
		"subjects: a rule about the agent as itself": {{decide, "return len(x.onBehalfOf) == 0", "return true"}},
		"run: each token has its own":                {{"parent.go", "a.txn = claims.Txn\n", ""}},
		"lineage: the parent is missing":             {{"parent.go", "JTI: []string{p.ID}", "JTI: []string{}"}},
		"lineage: the parent alone":                  {{"parent.go", "l.JTI = append(l.JTI, old.JTI...)\n", ""}},
		"lineage: it has no end":                     {{"parent.go", "len(l.JTI) > token.MaxHops", "len(l.JTI) > 99"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := withEdits(t, edits).CombinedOutput()
			switch {
			case err == nil:
				t.Error("the property test does not see it")
			case !strings.Contains(string(out), "--- FAIL: TestNoChainOfExchangesWidensAnything"):
				t.Errorf("something else failed: %v\n%.2000s", err, out)
			}
		})
	}
	if out, err := withEdits(t, nil).CombinedOutput(); err != nil {
		t.Errorf("without a mutation: %v\n%.2000s", err, out)
	}
}

// withEdits is the property test of a program with the edits laid over it.
func withEdits(t *testing.T, edits []edit) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	changed := map[string]string{} // text, by absolute path
	for _, e := range edits {
		path, err := filepath.Abs(e.file)
		if err != nil {
			t.Fatal(err)
		}
		text, known := changed[path]
		if !known {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = string(source)
		}
		if strings.Count(text, e.from) != 1 {
			t.Fatalf("%s holds %q %d times", e.file, e.from, strings.Count(text, e.from))
		}
		changed[path] = strings.Replace(text, e.from, e.to, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range changed {
		laid := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(laid, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = laid
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	// Vetting is off: a mutation may leave something unused that only vet minds.
	c := exec.CommandContext(t.Context(), "go", "test", "-overlay", file, "-vet=off", "-count=1", "-timeout=5m",
		"-run", "^TestNoChainOfExchangesWidensAnything$", ".")
	c.Env = append(os.Environ(), "BURSAR_TEST=")
	return c
}
