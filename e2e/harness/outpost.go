package harness

import (
	"context"
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

// Outpost is a bursar-shim process.
type Outpost struct {
	URL     string // where it listens; agents reach it at Server.Shim
	Metrics string // URL of its metrics
	Dir     string // its configuration, key and output
	ID      string // of the shim
	ACL     []string

	server  *Server
	config  string
	wrap    []string // a program, with its arguments, that runs it
	process *process
}

// ApartShim serves again, and says that the shim is a process of its own, which StartOutpost starts.
func (s *Server) ApartShim(t testing.TB) {
	t.Helper()
	s.Shim = "http://" + freeAddress(t) + "/shim"
	s.Reconfigure(t, fmt.Sprintf("shim: {url: %q}\n", s.Shim))
}

// StartOutpost starts the shim of some tenants, which there must be by now: with the key that bursar keys shim makes,
// and as the user of the Redis whose rights it prints. more are further lines of shim.yaml.
func (s *Server) StartOutpost(t testing.TB, more string, tenants ...string) *Outpost {
	t.Helper()
	o := &Outpost{Dir: t.TempDir(), server: s}
	o.config = filepath.Join(o.Dir, "shim.yaml")
	out, err := s.Bursar(t, "keys", "shim", "--tenants", strings.Join(tenants, ","), "-o", o.path("shim.key"), "--json")
	var made struct {
		ID  string
		ACL []string `json:"redis_acl"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		t.Fatalf("bursar keys shim: %v\n%s", err, out)
	}
	o.ID, o.ACL = made.ID, made.ACL
	o.Admit(t)
	listen, metrics := strings.TrimSuffix(strings.TrimPrefix(s.Shim, "http://"), "/shim"), freeAddress(t)
	o.URL, o.Metrics = "http://"+listen, "http://"+metrics+"/metrics"
	text := fmt.Sprintf("listen: %q\nurl: %q\nbase_url: %q\nstore: redis://%s@%s\nstore_password: file:redis.password\n"+
		"shim_key: file:shim.key\nmetrics: {listen: %q}\nlimits: {address: 1000000/s, tenant: 1000000/s}\ntenants:\n", listen,
		s.Shim, s.BaseURL, o.user(), s.Redis.Addr, metrics)
	for _, slug := range tenants {
		text += "  " + slug + ": {private_cidrs: [127.0.0.0/8]}\n"
	}
	for name, content := range map[string]string{"shim.yaml": text + more, "redis.password": outpostPassword + "\n"} {
		if err := os.WriteFile(o.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Restart(t)
	t.Cleanup(func() {
		o.Stop()
		if text, err := os.ReadFile(o.Output()); err == nil && t.Failed() {
			t.Logf("output of the shim:\n%s", tail(text, 8<<10))
		}
	})
	return o
}

// outpostPassword is the password of the users that shims have of the Redis.
const outpostPassword = "password-of-the-shim-4f7a"

func (o *Outpost) path(name string) string { return filepath.Join(o.Dir, name) }

func (o *Outpost) user() string { return "shim-" + strings.ToLower(o.ID[:8]) }

// Admit makes the user of the Redis, as bursar keys shim printed its rights.
func (o *Outpost) Admit(t testing.TB) {
	t.Helper()
	words := append([]string{"ACL", "SETUSER", o.user(), ">" + outpostPassword}, o.ACL[1:]...)
	o.server.Redis.Command(t, strings.Join(words, " "))
	o.server.Redis.Command(t, "ACL SAVE")
}

// RedisURL is the URL by which whoever stole the shim's password reaches the Redis.
func (o *Outpost) RedisURL() string {
	return "redis://" + o.user() + ":" + outpostPassword + "@" + o.server.Redis.Addr
}

// Output is the file that everything goes to which the process prints.
func (o *Outpost) Output() string { return o.config + ".log" }

// Restart runs the shim, and returns when it is ready. One that runs must be killed or stopped before.
func (o *Outpost) Restart(t testing.TB) {
	t.Helper()
	o.Launch(t)
	Eventually(t, "the shim is ready", func() bool {
		if o.process.ended() {
			text, _ := os.ReadFile(o.Output())
			t.Fatalf("the shim ended instead of serving:\n%s", tail(text, 8<<10))
		}
		return o.Ready(t)
	})
}

// Launch runs the shim without waiting for it.
func (o *Outpost) Launch(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(o.Output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	command := append(slices.Clone(o.wrap), binary(t, "bursar-shim"), "--config", o.config)
	o.process = start(t, out, nil, command[0], command[1:]...)
}

// Ready reports whether the shim says that it can serve.
func (o *Outpost) Ready(t testing.TB) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.URL+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Within serves again, run by another program, which must become the shim in the end.
func (o *Outpost) Within(t testing.TB, program ...string) {
	t.Helper()
	o.Stop()
	o.wrap = program
	o.Restart(t)
}

// PID is the id of the shim's process.
func (o *Outpost) PID() int { return o.process.cmd.Process.Pid }

// Kill ends the shim as kill -9 does.
func (o *Outpost) Kill() {
	o.process.end(syscall.SIGKILL)
	transport.CloseIdleConnections()
}

// Abort ends the shim as a bug in its runtime would, with a trace of what it did.
func (o *Outpost) Abort() {
	o.process.end(syscall.SIGABRT)
	transport.CloseIdleConnections()
}

// Stop ends the shim as a service manager does.
func (o *Outpost) Stop() { o.process.end(syscall.SIGTERM) }

// Ended reports whether the process has ended.
func (o *Outpost) Ended() bool { return o.process.ended() }

// Run runs a command of the binary and returns what it printed. Its error is that of the process.
func (o *Outpost) Run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary(t, "bursar-shim"), args...).CombinedOutput()
	return string(out), err
}

// Config is the shim's configuration file.
func (o *Outpost) Config() string { return o.config }
