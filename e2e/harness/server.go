package harness

import (
	"context"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// patience bounds every wait for something that must happen; generously, since nothing is learnt from a slow machine.
const patience = time.Minute

// Server is a bursar process.
type Server struct {
	URL      string // where it is reached
	BaseURL  string // its base_url; the same, except for a Twin
	Metrics  string // URL of its metrics
	Dir      string // its configuration, keys, data and output
	Operator *operator.Client
	Redis    *storagetest.RedisServer // nil on the embedded store
	Shim     string                   // URL under which agents reach its shim; empty without one

	config  string   // its bursar.yaml
	secured string   // the lines of its certificate
	wrap    []string // a program, with its arguments, that runs it
	process *process
	under   []func(testing.TB) // takes away what is under its store, when it has ended
}

// EachStore runs a test on a server of its own with each store. Unless Full, one store has to do, to which the test is
// told off by its name: the everyday loop meets both stores, but with half of the processes.
func EachStore(t *testing.T, run func(t *testing.T, s *Server)) {
	t.Helper()
	stores := []string{"bolt", "redis"}
	if !Full() {
		i := crc32.ChecksumIEEE([]byte(t.Name())) % 2
		stores = stores[i : i+1]
	}
	for _, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			run(t, Start(t, store))
		})
	}
}

// Start makes a configuration with `bursar init` and serves it; store is bolt or redis. The tenants acme, globex and
// frozen may have issuers on loopback addresses, others may not.
func Start(t testing.TB, store string) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir()}
	s.begin(t, store, "http")
	return s
}

// StartSecured is Start on the embedded store, over TLS, with the certificate of an authority and its key; all PEM.
func StartSecured(t testing.TB, certificate, key, authority string) *Server {
	t.Helper()
	s := &Server{Dir: t.TempDir(), secured: "tls: {cert: tls.pem, key: tls.key}\n"}
	for name, content := range map[string]string{"tls.pem": certificate, "tls.key": key, "authority.pem": authority} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.begin(t, "bolt", "https")
	return s
}

func (s *Server) begin(t testing.TB, store, scheme string) {
	t.Helper()
	url := "bolt:bursar.db"
	if store == "redis" {
		users := filepath.Join(s.Dir, "redis.users") // they outlive the Redis
		if err := os.WriteFile(users, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		// Tests kill it, and count what it acknowledged.
		s.Redis = storagetest.StartRedis(t, "--appendfsync", "always", "--aclfile", users)
		url = s.Redis.URL()
	}
	listen := freeAddress(t)
	s.URL = scheme + "://" + listen
	s.BaseURL, s.config = s.URL, filepath.Join(s.Dir, "bursar.yaml")
	if out, err := s.run(t, "init", "--dir", s.Dir, "--base-url", s.URL, "--listen", listen, "--store", url); err != nil {
		t.Fatalf("bursar init: %v\n%s", err, out)
	}
	metrics := freeAddress(t)
	s.Metrics = "http://" + metrics + "/metrics"
	s.extend(t, s.secured+fmt.Sprintf(noLimits+"metrics: {listen: %q}\ntenants:\n  acme: {private_cidrs: [127.0.0.0/8]}\n"+
		"  globex: {private_cidrs: [127.0.0.0/8]}\n  frozen: {private_cidrs: [127.0.0.0/8]}\n", metrics))
	s.Operator = s.operator(t, filepath.Join(s.Dir, "admin.token"))
	s.Operator.HTTP = &http.Client{Transport: transport}
	s.Restart(t)
	t.Cleanup(func() { s.finish(t) })
}

// noLimits lets a test ask as much as it can, and guess.
const noLimits = "limits: {address: 1000000/s, client: 1000000/s, tenant: 1000000/s, secret_failures: 1000/s}\n"

// Limit serves with other limits, given as lines of bursar.yaml, in which there may be trusted_proxies too, and with
// limits of single tenants.
func (s *Server) Limit(t testing.TB, lines string, tenants map[string]string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), noLimits, lines, 1)
	for slug, limits := range tenants {
		changed = strings.Replace(changed, slug+": {", slug+": {limits: "+limits+", ", 1)
	}
	if err := os.WriteFile(s.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Restart(t)
}

func freeAddress(t testing.TB) string {
	return fmt.Sprintf("127.0.0.1:%d", storagetest.FreePort(t))
}

func (s *Server) extend(t testing.TB, more string) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) operator(t testing.TB, tokenFile string) *operator.Client {
	t.Helper()
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	return &operator.Client{BaseURL: s.URL, Token: strings.TrimSpace(string(token))}
}

// Twin starts another process on the same configuration and the same Redis, reached at another address.
func (s *Server) Twin(t testing.TB) *Server {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	listen, metrics := freeAddress(t), freeAddress(t)
	twin := *s
	twin.URL, twin.Metrics = "http://"+listen, "http://"+metrics+"/metrics"
	twin.config = filepath.Join(s.Dir, "twin-"+strings.ReplaceAll(listen, ":", "-")+".yaml")
	own := strings.TrimPrefix(s.URL, "http://")
	changed := strings.Replace(string(text), "listen: "+own, "listen: "+listen, 1)
	own = strings.TrimSuffix(strings.TrimPrefix(s.Metrics, "http://"), "/metrics")
	changed = strings.Replace(changed, own, metrics, 1)
	if err := os.WriteFile(twin.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	twin.Operator = twin.operator(t, filepath.Join(s.Dir, "admin.token"))
	twin.process, twin.under = nil, nil
	twin.Restart(t)
	t.Cleanup(func() { twin.finish(t) })
	return &twin
}

// Output is the file that everything goes to which the process prints.
func (s *Server) Output() string { return s.config + ".log" }

// Restart serves, and returns when the server is ready. A server that runs must be killed or stopped before.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(s.Output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	command := append(slices.Clone(s.wrap), binary(t, "bursar"), "serve", "--config", s.config)
	s.process = start(t, out, nil, command[0], command[1:]...)
	Eventually(t, "the server is ready", func() bool {
		if s.process.ended() {
			text, _ := os.ReadFile(s.Output())
			t.Fatalf("the server ended instead of serving:\n%s", tail(text, 8<<10))
		}
		return s.Operator.Ready(t.Context()) == nil
	})
}

// Reconfigure stops the server, adds to its configuration, and serves again.
func (s *Server) Reconfigure(t testing.TB, more string) {
	t.Helper()
	s.Stop()
	s.extend(t, more)
	s.Restart(t)
}

// ServeShim serves again, with a shim in the same process, whose URL has a path. more are further fields of its
// configuration.
func (s *Server) ServeShim(t testing.TB, more ...string) {
	t.Helper()
	listen := freeAddress(t)
	scheme, _, _ := strings.Cut(s.URL, "://")
	s.Shim = scheme + "://" + listen + "/shim"
	fields := append([]string{fmt.Sprintf("listen: %q, url: %q", listen, s.Shim)}, more...)
	s.Reconfigure(t, "shim: {"+strings.Join(fields, ", ")+"}\n")
}

// Within serves again, run by another program, which must become the server in the end.
func (s *Server) Within(t testing.TB, program ...string) {
	t.Helper()
	s.Stop()
	s.wrap = program
	s.Restart(t)
}

// PID is the id of the server's process.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	s.process.end(syscall.SIGKILL)
	transport.CloseIdleConnections()
}

// Abort ends the server as a bug in its runtime would, with a trace of what it did.
func (s *Server) Abort() {
	s.process.end(syscall.SIGABRT)
	transport.CloseIdleConnections()
}

// Stop ends the server as a service manager does.
func (s *Server) Stop() { s.process.end(syscall.SIGTERM) }

// finish checks what the server has recorded, ends it, and shows what it printed if the test failed.
func (s *Server) finish(t testing.TB) {
	s.checkLogs(t)
	s.Stop()
	for _, remove := range s.under {
		remove(t)
	}
	if !t.Failed() {
		return
	}
	if text, err := os.ReadFile(s.Output()); err == nil {
		t.Logf("output of the server:\n%s", tail(text, 8<<10))
	}
}

func tail(text []byte, size int) []byte { return text[max(0, len(text)-size):] }

// Bursar runs a command of the binary as the platform's operator and returns what it printed. Its error is that of the
// process.
func (s *Server) Bursar(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return s.run(t, args...)
}

// BursarReading is Bursar with a text as the command's standard input.
func (s *Server) BursarReading(t testing.TB, input string, args ...string) (string, error) {
	t.Helper()
	return s.runReading(t, input, args...)
}

func (s *Server) run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return s.runReading(t, "", args...)
}

func (s *Server) runReading(t testing.TB, input string, args ...string) (string, error) {
	t.Helper()
	program := binary(t, "bursar") // which may have to be built first
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "BURSAR_SERVER="+s.URL, "BURSAR_TOKEN_FILE="+filepath.Join(s.Dir, "admin.token"))
	if s.secured != "" {
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+filepath.Join(s.Dir, "authority.pem"))
	}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Apply applies a tenant file through the binary, and fails the test if it is refused.
func (s *Server) Apply(t testing.TB, file string) {
	t.Helper()
	if out, err := s.TryApply(t, file); err != nil {
		t.Fatalf("bursar apply: %v\n%s\n%s", err, out, file)
	}
}

// TryApply applies a tenant file through the binary.
func (s *Server) TryApply(t testing.TB, file string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tenant.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.Bursar(t, "apply", "-f", path)
}

// Issuer is the issuer URL of a tenant.
func (s *Server) Issuer(tenant string) string { return s.BaseURL + "/t/" + tenant }

// Eventually waits until a condition holds that nothing announces.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}
