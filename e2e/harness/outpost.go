package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Outpost is a bursar-shim process: a shim of its own, which shares the Redis of a server.
type Outpost struct {
	URL     string // under which agents reach it
	Metrics string // URL of its metrics
	Dir     string // its configuration, key and output
	ID      string // that the server knows it by

	server  *Server
	wrap    []string
	process *process
}

// Announce serves again, and says where a shim is that is no part of the server.
func (s *Server) Announce(t testing.TB) {
	t.Helper()
	s.Shim = "http://" + freeAddress(t) + "/shim"
	s.Reconfigure(t, fmt.Sprintf("shim: {url: %q}\n", s.Shim))
}

// Outpost starts a shim for tenants, at the URL that was announced, with a key and a Redis user that are good for them
// alone. more are further lines of its configuration.
func (s *Server) Outpost(t testing.TB, more string, tenants ...string) *Outpost {
	t.Helper()
	o := &Outpost{URL: s.Shim, Dir: t.TempDir(), server: s}
	var made struct {
		ID  string   `json:"id"`
		ACL []string `json:"redis_acl"`
	}
	key := filepath.Join(o.Dir, "shim.key")
	out, err := s.Bursar(t, "keys", "shim", "--tenants", strings.Join(tenants, ","), "-o", key, "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		t.Fatalf("bursar keys shim: %v\n%s", err, out)
	}
	o.ID = made.ID
	user := "shim-" + made.ID
	s.Redis.Command(t, "ACL SETUSER "+user+" "+strings.Join(made.ACL, " ")+" >canary-of-a-redis-password")
	s.Redis.Command(t, "ACL SAVE")
	metrics := freeAddress(t)
	o.Metrics = "http://" + metrics + "/metrics"
	private := make([]string, len(tenants))
	for i, slug := range tenants {
		private[i] = slug + ": {private_cidrs: [127.0.0.0/8]}"
	}
	config := fmt.Sprintf("listen: %q\nurl: %q\nbase_url: %q\nstore: %q\nstore_password: file:redis.password\n"+
		"shim_key: file:shim.key\nmetrics: {listen: %q}\nlimits: {address: 1000000/s, tenant: 1000000/s}\ntenants: {%s}\n%s",
		strings.TrimSuffix(strings.TrimPrefix(s.Shim, "http://"), "/shim"), s.Shim, s.BaseURL,
		fmt.Sprintf("redis://%s@%s/0", user, s.Redis.Addr), metrics, strings.Join(private, ", "), more)
	for name, content := range map[string]string{"shim.yaml": config, "redis.password": "canary-of-a-redis-password\n"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { o.finish(t) })
	o.Restart(t)
	return o
}

// Output is the file that everything goes to which the process prints.
func (o *Outpost) Output() string { return filepath.Join(o.Dir, "output.log") }

// PID is the id of its process.
func (o *Outpost) PID() int { return o.process.cmd.Process.Pid }

// Restart serves, and returns when agents are answered.
func (o *Outpost) Restart(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(o.Output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	command := append(slices.Clone(o.wrap), binary(t, "bursar-shim"), "--config", filepath.Join(o.Dir, "shim.yaml"))
	o.process = start(t, out, nil, command[0], command[1:]...)
	Eventually(t, "the shim is ready", func() bool {
		if o.process.ended() {
			text, _ := os.ReadFile(o.Output())
			t.Fatalf("the shim ended instead of serving:\n%s", tail(text, 8<<10))
		}
		return o.answers()
	})
}

// answers reports whether it says of a call without a token what it says when all is well.
func (o *Outpost) answers() bool {
	request, err := http.NewRequest(http.MethodGet, o.URL+"/t/acme/nothing/x", nil)
	if err != nil {
		return false
	}
	a, err := Do(request)
	return err == nil && a.Status == http.StatusUnauthorized
}

// Within serves again, run by another program, which must become the shim in the end.
func (o *Outpost) Within(t testing.TB, program ...string) {
	t.Helper()
	o.Stop()
	o.wrap = program
	o.Restart(t)
}

// Check runs the command that checks its configuration, and what that names.
func (o *Outpost) Check(t testing.TB) (string, error) {
	t.Helper()
	program := binary(t, "bursar-shim")
	out, err := exec.CommandContext(t.Context(), program, "config", "check", "--config",
		filepath.Join(o.Dir, "shim.yaml")).CombinedOutput()
	return string(out), err
}

// Kill ends the shim as kill -9 does.
func (o *Outpost) Kill() { o.process.end(syscall.SIGKILL) }

// Abort ends the shim as a bug in its runtime would.
func (o *Outpost) Abort() { o.process.end(syscall.SIGABRT) }

// Stop ends the shim as a service manager does.
func (o *Outpost) Stop() { o.process.end(syscall.SIGTERM) }

func (o *Outpost) finish(t testing.TB) {
	if o.process == nil {
		return
	}
	o.Stop()
	if text, err := os.ReadFile(o.Output()); err == nil && t.Failed() {
		t.Logf("output of the shim:\n%s", tail(text, 8<<10))
	}
}
