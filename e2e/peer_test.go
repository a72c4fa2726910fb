package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// peer is another server with a token exchange, which installs as a Go module.
const peer = "github.com/zitadel/oidc/v3/example/server"

// TestTheAttackOnAPeer attacks the example server of another project, built in a module of its own. What is held here
// was verified by hand, request by request.
func TestTheAttackOnAPeer(t *testing.T) {
	if os.Getenv("BURSAR_TEST_PEER") == "" {
		t.Skip("it downloads a module; BURSAR_TEST_PEER=1 runs it")
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"mod", "init", "peer"}, {"get", peer + "@v3.51.17"}, {"build", "-o", "op", peer}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	users := filepath.Join(dir, "users.json")
	write(t, users, `{"sid1": {"ID": "sid1", "Username": "sid1", "IsAdmin": true}}`)
	port := storagetest.FreePort(t)
	server := exec.CommandContext(t.Context(), filepath.Join(dir, "op")) // killed when the test ends
	server.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "USERS_FILE="+users)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	url := "http://localhost:" + strconv.Itoa(port) + "/"
	harness.Eventually(t, "the peer serves", func() bool {
		resp, err := http.Get(url + ".well-known/openid-configuration")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	file := filepath.Join(dir, "attack.json")
	cmd := exec.CommandContext(t.Context(), harness.Program(t), "attack", url,
		"--profile", "testdata/attack/zitadel.yaml", "--json", file)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("bursar attack: %v, want findings\n%s", err, out)
	}
	var r attackReport
	if err := json.Unmarshal([]byte(readFile(t, file)), &r); err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]string{}
	for _, result := range r.Results {
		verdicts[result.ID] = result.Verdict
	}
	for id, want := range map[string]string{
		"control.exchange": "pass", "client.none": "pass", "client.secret": "pass", "subject.missing": "pass",
		"request.token-type": "pass", "scope.unknown": "fail", "again.widened": "fail", "again.revoked": "fail",
		"target.unknown": "fail", "form.duplicate": "fail", "client.contradiction": "fail", "response.stored": "fail",
	} {
		if verdicts[id] != want {
			t.Errorf("%s: %s, want %s", id, verdicts[id], want)
		}
	}
	if r.Counts["error"] > 0 {
		t.Errorf("%d checks could not tell", r.Counts["error"])
	}
}
