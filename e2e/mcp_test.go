package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// A client of the Model Context Protocol that is not ours, and knows nothing but an address and its platform's token,
// is led to a token, calls tools of a server that knows nothing but a key, never sees that key, and is cut off when its
// agent is revoked.
func TestAnMCPClientIsLedToATokenAndCutOff(t *testing.T) {
	_, noNode := exec.LookPath("node")
	_, noClient := os.Stat("node_modules/@modelcontextprotocol/client")
	switch missing := errors.Join(noNode, noClient); {
	case missing != nil && storagetest.Full():
		t.Fatal(missing)
	case missing != nil:
		t.Skip("node or the client is not installed; make test installs both, and so does npm --prefix e2e ci")
	}
	demo := harness.Dev(t, t.TempDir(), "--demo", "mcp")
	address := demo.Shim + "/t/acme/tickets"
	input, err := json.Marshal(map[string]string{"url": address,
		"subject_token": strings.TrimSpace(readFile(t, filepath.Join(demo.Dir, "agent.jwt")))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "mcp.mjs")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		told = append(told, lines.Text())
		if strings.Contains(lines.Text(), `"progress":2`) {
			revoke := exec.Command(harness.Program(t), "revoke", "acme", "--client", "ap-bot", "--server", demo.Server,
				"--token-file", filepath.Join(demo.Dir, "admin.token"))
			if text, err := revoke.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
		}
	}
	all := strings.Join(told, "\n")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, all)
	}
	key := strings.TrimSpace(readFile(t, filepath.Join(demo.Dir, "tickets.key")))
	holds(t, all, `{"issuer":"`+demo.Server+`/t/acme","resource":"`+address+`"}`,
		`{"server":"demo-tickets","session":true}`, `"get_ticket","watch_ticket","debug"`, "on fire again",
		"Bearer "+strings.Repeat("*", len(key)), `{"unlisted":"`, "body_constraint", `{"watch":"cut off"}`)
	if strings.Contains(all, key) {
		t.Errorf("the client was sent the key:\n%s", all)
	}
}
