package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/revoke"
)

// code is the form of a reason. What else looks like one is in notReasons.
var code = regexp.MustCompile(`^(client|subject|actor|target|scope|policy|delegation|revoked|token|request|issuer|` +
	`key|tenant|store|method|path|query|body|details)(\.[a-z_]+)+$`)

// callReason is the form of a reason of a call through the shim.
var callReason = regexp.MustCompile(`^(upstream|answer|cut|upgrade|decide|limit|inject|scope|token|request|target)` +
	`\.[a-z_]+$`)

// notReasons begin reasons that are told apart further, or belong to what is not a decision.
var notReasons = []string{"client.assertion", "tenant.file"}

// literals returns the strings in the source of a package, tests left out, constants of other packages too.
func literals(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of %s: %v", pkg, err)
	}
	var all []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				all = append(all, s)
			}
			return true
		})
	}
	return all
}

// reasons returns every reason with which a decision can be recorded, by where it is in the source.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{audit.NotReleased: "server/audit", "internal": "server/fault"}
	for _, pkg := range strings.Fields("server/exchange server/identity server/tenant server/fault server/tools clients") {
		for _, s := range literals(t, pkg) {
			if code.MatchString(s) && !slices.Contains(notReasons, s) {
				found[s] = pkg
			}
			// role + ".unbound", delegated(role)
			if pkg == "server/exchange" && regexp.MustCompile(`^\.[a-z_]+$`).MatchString(s) {
				found["subject"+s], found["actor"+s] = pkg, pkg
			}
		}
	}
	for _, pkg := range strings.Fields("server/vault server/admin") {
		for _, s := range literals(t, pkg) {
			if regexp.MustCompile(`^secret\.[a-z_]+$`).MatchString(s) {
				found[s] = pkg
			}
		}
	}
	for _, pkg := range strings.Fields("server/shim server/inject") {
		for _, s := range literals(t, pkg) {
			if callReason.MatchString(s) {
				found[s] = pkg
			}
		}
	}
	found["client.assertion.act"] = "server/exchange" // delegated("client.assertion")
	for reason := range found {
		if rest, ok := strings.CutPrefix(reason, "token."); ok {
			found["subject."+rest], found["actor."+rest] = found[reason], found[reason]
		}
	}
	for _, denial := range denials(t) {
		found["policy."+denial] = "scopes/policy"
	}
	for _, kind := range revoke.Kinds() {
		found["revoked."+string(kind)] = "server/revoke"
	}
	return found
}

// denials returns the values of the constants of the type policy.Denial.
func denials(t *testing.T) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../scopes/policy/decide.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Denial" {
			s, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			all = append(all, s)
		}
		return true
	})
	return all
}

// elsewhere are reasons of server/oauth and server/admin.
var elsewhere = []string{"request.grant_type", "target.disabled"}

// TestEveryReasonHasAHint holds the table of hints against the source, both ways.
func TestEveryReasonHasAHint(t *testing.T) {
	found := reasons(t)
	if len(found) < 120 || len(denials(t)) < 7 {
		t.Fatalf("only %d reasons were found, %d of the policy", len(found), len(denials(t)))
	}
	for reason, pkg := range found {
		if hintFor(reason) == "" {
			t.Errorf("the reason %s of %s has no hint", reason, pkg)
		}
	}
	for reason, hint := range hints {
		if found[reason] == "" && !slices.Contains(elsewhere, reason) {
			t.Errorf("%s is no reason", reason)
		}
		if strings.ToUpper(hint[:1]) != hint[:1] && !strings.HasPrefix(hint, "aud ") &&
			!strings.HasPrefix(hint, "client_id ") {
			t.Errorf("the hint for %s is no sentence: %s", reason, hint)
		}
	}
	if hintFor("subject.what") != "" || hintFor("") != "" {
		t.Error("an unknown reason has a hint")
	}
}
