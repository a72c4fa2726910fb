package e2e_test

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// TestTheAttackFindsNothing attacks a real server with the real program, by every way in which an agent can prove
// itself, and holds it against the stricter choices too.
func TestTheAttackFindsNothing(t *testing.T) {
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		dir := underAttack(t, s)
		for _, profile := range []string{"key", "token", "secret", "post"} {
			t.Run(profile, func(t *testing.T) { attackClean(t, s, dir, profile) })
		}
	})
}

// underAttack makes the tenant that is attacked, and a directory with the profiles and what they need.
func underAttack(t *testing.T, s *harness.Server) (dir string) {
	t.Helper()
	dir = t.TempDir()
	vars := map[string]string{"issuer": s.Issuer("acme")}
	for _, name := range []string{"cluster", "people", "client"} {
		private := newKey(t, "EC")
		vars[name+"_key"] = string(publicJWK(t, private, map[string]any{"kid": name, "use": "sig", "alg": "ES256"}))
		jwk, err := jose.JSONWebKey{Key: private, KeyID: name, Algorithm: "ES256"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".jwk"), string(jwk))
	}
	s.Apply(t, fill(t, read(t, "attack/tenants.yaml"), vars))
	for _, client := range []string{"secret-bot", "post-bot", "payments-api"} {
		write(t, filepath.Join(dir, client+".secret"), withSecret(t, s, "acme", client).Secret)
	}
	for _, profile := range []string{"key", "token", "secret", "post"} {
		write(t, filepath.Join(dir, profile+".yaml"), read(t, "attack/"+profile+".yaml"))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// attackReport is what is read of a report.
type attackReport struct {
	Findings, Observed int
	Counts             map[string]int
	Results            []struct{ ID, Verdict, Reason string }
}

func attackClean(t *testing.T, s *harness.Server, dir, profile string) {
	in := func(name string) string { return filepath.Join(dir, profile+name) }
	cmd := exec.CommandContext(t.Context(), harness.Program(t), "attack", s.Issuer("acme"), "--strict",
		"--profile", in(".yaml"), "--json", in(".json"), "--junit", in(".xml"), "--html", in(".html"))
	cmd.Env = append(os.Environ(), "ISSUER="+s.Issuer("acme"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bursar attack: %v\n%s", err, out)
	}
	var r attackReport
	if err := json.Unmarshal([]byte(readFile(t, in(".json"))), &r); err != nil {
		t.Fatal(err)
	}
	if r.Findings+r.Observed+r.Counts["error"] > 0 || r.Counts["pass"] < 40 {
		t.Errorf("the report counts %v", r.Counts)
	}
	var junit struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
	}
	if err := xml.Unmarshal([]byte(readFile(t, in(".xml"))), &junit); err != nil {
		t.Fatal(err)
	}
	if junit.Tests != len(r.Results) || junit.Failures > 0 {
		t.Errorf("JUnit has %d tests and %d failures of %d checks", junit.Tests, junit.Failures, len(r.Results))
	}
	page := readFile(t, in(".html"))
	for _, text := range []string{string(out), page, readFile(t, in(".json")), readFile(t, in(".xml"))} {
		if strings.Contains(text, "eyJ") || strings.Contains(text, readFile(t, filepath.Join(dir, "secret-bot.secret"))) {
			t.Error("the report holds a token or a secret")
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
