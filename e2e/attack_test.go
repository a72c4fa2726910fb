package e2e_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	vars := map[string]string{"issuer": s.Issuer("acme"), "globex": s.Issuer("globex")}
	for name, use := range map[string]string{"cluster": "sig", "people": "sig", "client": "sig", "sealed": "enc",
		"mesh": "jwt-svid"} {
		private := newKey(t, "EC")
		vars[name+"_key"] = string(publicJWK(t, private, map[string]any{"kid": name, "use": use, "alg": "ES256"}))
		jwk, err := jose.JSONWebKey{Key: private, KeyID: name, Algorithm: "ES256"}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".jwk"), string(jwk))
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"keys": [%s, %s]}`, vars["people_key"], vars["sealed_key"])
	}))
	t.Cleanup(keys.Close)
	vars["people_keys"] = keys.URL
	s.Apply(t, fill(t, read(t, "attack/tenants.yaml"), vars))
	for client, tenant := range map[string]string{"secret-bot": "acme", "post-bot": "acme", "payments-api": "acme",
		"parked-bot": "acme", "globex-bot": "globex"} {
		write(t, filepath.Join(dir, client+".secret"), withSecret(t, s, tenant, client).Secret)
	}
	for _, off := range [][]string{{"--client", "parked-bot"}, {"--subject", "people:banned"}, {"--issuer", "dropped"}} {
		if out, err := s.Bursar(t, append([]string{"revoke", "acme"}, off...)...); err != nil {
			t.Fatalf("bursar revoke %v: %v\n%s", off, err, out)
		}
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
	cmd.Env = append(os.Environ(), "ISSUER="+s.Issuer("acme"), "GLOBEX="+s.Issuer("globex"))
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

// allRows are the rows of the acceptance table, whether they are required or not, and all known attacks.
var allRows = slices.Concat(ids("A", 1, 21), []string{"A22a", "A22b"}, ids("A", 23, 24), ids("B", 1, 32),
	ids("C", 1, 9), ids("D-", 1, 33), ids("E", 1, 10), ids("F", 1, 22), ids("G", 1, 17), ids("H", 1, 9), ids("I", 1, 18),
	ids("T-0", 1, 9), ids("T-", 10, 62))

// TestEveryRowIsAttackedOrSaysWhyNot: each row and each known attack is what some check is about, or is listed with the
// reason why none can be; never both.
func TestEveryRowIsAttackedOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []byte {
		args = append([]string{"attack", "--list"}, args...)
		out, err := exec.CommandContext(t.Context(), harness.Program(t), args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var listed struct {
		Checks []struct {
			ID   string
			Refs []string
		}
		NotCovered []struct {
			Refs   []string
			Reason string
		} `json:"not_covered"`
	}
	if err := json.Unmarshal(list("--format", "json"), &listed); err != nil {
		t.Fatal(err)
	}
	told := map[string][]string{}
	for _, c := range listed.Checks {
		for _, ref := range c.Refs {
			told[ref] = append(told[ref], c.ID)
		}
	}
	text := string(list())
	for _, gap := range listed.NotCovered {
		for _, ref := range gap.Refs {
			if gap.Reason == "" || len(told[ref]) > 0 || !slices.Contains(allRows, ref) {
				t.Errorf("%s is not covered because %q, and is what %q are about", ref, gap.Reason, told[ref])
			}
			if !regexp.MustCompile(`(?m)^` + ref + ` +` + regexp.QuoteMeta(gap.Reason) + `$`).MatchString(text) {
				t.Errorf("%s is not in the list as text", ref)
			}
			told[ref] = append(told[ref], gap.Reason)
		}
	}
	for _, ref := range allRows {
		if len(told[ref]) == 0 {
			t.Errorf("no check is about %s, and no reason is given", ref)
		}
	}
	for _, ref := range slices.Concat(required, attacks) {
		if !slices.Contains(allRows, ref) {
			t.Errorf("%s is required, and not among all rows", ref)
		}
	}
}

// TestTheAttackInTheDocumentation does what "Try it" says, beside a real bursar dev, and compares the last lines. The
// counts are not compared: they grow with the checks.
func TestTheAttackInTheDocumentation(t *testing.T) {
	section, _, _ := strings.Cut(after(t, readPage(t, "../docs/attack.md").text, "\n## Try it\n"), "\n## ")
	all := fences(section)
	if len(all) != 3 {
		t.Fatalf("the section has %d blocks, want a profile, a command and what it prints", len(all))
	}
	demo := harness.Dev(t, t.TempDir())
	here := demo.Here()
	write(t, filepath.Join(demo.Dir, "profile.yaml"), all[0].text)
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", here.Replace(all[1].text))
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	count := regexp.MustCompile(` *[1-9][0-9]* |[0-9.]+ s:`)
	bare := func(text string) string { return count.ReplaceAllString(text, " … ") }
	_, last, _ := strings.Cut(string(out), "\n\n")
	if !pattern(bare(here.Replace(all[2].text))).MatchString(strings.TrimSpace(bare(last))) {
		t.Errorf("it ends:\n%s\nand not:\n%s", last, all[2].text)
	}
	if !strings.Contains(readFile(t, filepath.Join(demo.Dir, "attack.html")), demo.Server+"/t/acme") {
		t.Error("the page is not about the server")
	}
}
