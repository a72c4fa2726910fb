package main

import (
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
	store    string
	dir      string
	address  string
	profiler string // address of its profiler, if it has one
	program  string
	operator *operator.Client
	process  *process

	agent, runner, payments string // Authorization headers of the clients that have secrets
}

// newServer makes a configuration with `bursar init` and serves it.
func (w *world) newServer(ctx context.Context, store, purpose, storeURL string) (*server, error) {
	s := &server{store: store, dir: filepath.Join(w.dir, purpose+"-"+store), program: w.program("bursar")}
	var err error
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.profiler, err = freeAddress(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.program, "init", "--dir", s.dir, "--listen", s.address, "--store", storeURL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bursar init: %w\n%s", err, out)
	}
	if err := s.allowLoopback(); err != nil {
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

// allowLoopback lets the tenant's issuers be where ours are.
func (s *server) allowLoopback() error {
	text, err := os.ReadFile(s.config())
	if err != nil {
		return err
	}
	text = append(text, "tenants: {acme: {private_cidrs: [127.0.0.0/8]}}\n"...)
	// Limits are counted, as everywhere, but one machine may ask as much as it can.
	text = append(text, "limits: {address: 1000000/s, client: 1000000/s, tenant: 1000000/s}\n"...)
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
		secret, err := s.operator.CreateSecret(ctx, "acme", client)
		if err != nil {
			return fmt.Errorf("make a client secret: %w", err)
		}
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret.ClientSecret))
		*header = req.Header.Get("Authorization")
	}
	return nil
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
