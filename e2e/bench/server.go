package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
)

// server is a bursar on one store, on one core.
type server struct {
	target
	store    string
	dir      string
	program  string
	operator *operator.Client

	agent, runner, payments string // Authorization headers of the clients that have secrets
}

// setup is how a server is set up.
type setup struct {
	store    string // for people
	url      string // of the store
	purpose  string // names its folder, with store
	program  string // of the world; "bursar" if empty
	settings string // further ones, as YAML
}

// newServer makes a configuration with `bursar init` and serves it.
func (w *world) newServer(ctx context.Context, u setup) (*server, error) {
	s := &server{store: u.store, dir: filepath.Join(w.dir, u.purpose+"-"+u.store),
		program: w.program(cmp.Or(u.program, "bursar"))}
	var err error
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.profiler, err = freeAddress(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.program, "init", "--dir", s.dir, "--listen", s.address, "--store", u.url)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bursar init: %w\n%s", err, out)
	}
	if err := s.configure(u.settings); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(s.dir, "admin.token"))
	if err != nil {
		return nil, err
	}
	s.operator = &operator.Client{BaseURL: "http://" + s.address, Token: strings.TrimSpace(string(token))}
	_, err = s.serve(ctx)
	return s, err
}

func (s *server) config() string { return filepath.Join(s.dir, "bursar.yaml") }

// configure lets the tenant's issuers and upstreams be where ours are, and adds further settings.
func (s *server) configure(settings string) error {
	text, err := os.ReadFile(s.config())
	if err != nil {
		return err
	}
	text = append(text, "tenants: {acme: {private_cidrs: [127.0.0.0/8]}}\n"...)
	// Limits are counted, as everywhere, but one machine may ask as much as it can.
	text = append(text, "limits: {address: 1000000/s, client: 1000000/s, tenant: 1000000/s}\n"+settings...)
	return os.WriteFile(s.config(), text, 0o600)
}

// serve starts the process and returns how long it took until it said that it was ready.
func (s *server) serve(ctx context.Context) (time.Duration, error) {
	out, err := os.OpenFile(filepath.Join(s.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	began := time.Now()
	env := []string{"GOMAXPROCS=1", "BURSAR_BENCH_PROFILER=" + s.profiler}
	if s.process, err = start(out, env, s.program, "serve", "--config", s.config()); err != nil {
		return 0, err
	}
	if err := eventually(ctx, s.ready); err != nil {
		text, _ := os.ReadFile(out.Name())
		return 0, fmt.Errorf("start the server on the %s store: %w\n%s", s.store, err, text)
	}
	return time.Since(began), nil
}

func (s *server) ready() bool {
	resp, err := http.Get("http://" + s.address + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (s *server) stop() {
	if s.process != nil {
		s.process.stop()
		s.process = nil
	}
}

// prepare applies the tenant that everything is measured with, and makes its clients' secrets.
func (s *server) prepare(ctx context.Context, w *world) error {
	vars := strings.NewReplacer("${people}", w.people.url, "${cluster}", w.cluster.url, "${audience}", audience)
	file := vars.Replace(tenantFile)
	if _, err := s.operator.Apply(ctx, "acme", []byte(file), operator.ApplyOptions{}); err != nil {
		return fmt.Errorf("apply the tenant: %w", err)
	}
	for client, header := range map[string]*string{
		"ap-bot": &s.agent, "run-bot": &s.runner, "payments-api": &s.payments} {
		var err error
		if *header, err = s.authorization(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

// authorization makes a secret for a client of acme, and returns the header that shows it.
func (s *server) authorization(ctx context.Context, client string) (string, error) {
	secret, err := s.operator.CreateSecret(ctx, "acme", client)
	if err != nil {
		return "", fmt.Errorf("make a client secret: %w", err)
	}
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret.ClientSecret))
	return req.Header.Get("Authorization"), nil
}

const (
	payments = "https://tools.acme.example/payments"
	scope    = "payments:refunds.read"
)

// tenantFile has what a real one has: issuers of people and of workloads, an agent of each way to authenticate, and
// policies with conditions on claims.
//
//go:embed testdata/acme.yaml
var tenantFile string
