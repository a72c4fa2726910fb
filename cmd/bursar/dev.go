package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/serve"
)

// The addresses of the demonstration; a taken port is exchanged for a free one.
const (
	devServer = "127.0.0.1:8080"
	devIssuer = "127.0.0.1:8082"
	anyPort   = "127.0.0.1:0"
)

func (p *program) devCommand() *cobra.Command {
	var once bool
	var dir string
	cmd := command("dev [--once] [--data DIR]", "Run everything on this machine, and tell the whole story", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return p.dev(ctx, dir, once) })
	cmd.Flags().BoolVar(&once, "once", false, "use free ports, and exit after the story; not 0 if a step fails")
	cmd.Flags().StringVar(&dir, "data", "", "directory that keeps the state (default: a new one, removed at the end)")
	return cmd
}

func (p *program) dev(ctx context.Context, dir string, once bool) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bursar-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	ctx, stop := context.WithCancel(ctx)
	d, err := startDemo(ctx, dir, once)
	if err != nil {
		stop()
		return err
	}
	defer func() { stop(); err = errors.Join(err, d.wait()) }()
	if err := p.tell(ctx, d); err != nil || once {
		return err
	}
	fmt.Fprintf(p.out, "\nEverything stays up, and %s and %s stay fresh. Ctrl-C ends it.\n",
		d.path("agent.jwt"), d.path("user.jwt"))
	<-ctx.Done()
	return nil
}

// demo is a server, two issuers and a tenant on this machine.
type demo struct {
	dir     string
	server  string // base URL
	issuers string // base URL
	cluster *demoissuer.Issuer
	sso     *demoissuer.Issuer
	said    string // what the story's last step printed
	ended   chan error
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// tenant is the issuer URL of the tenant acme.
func (d *demo) tenant() string { return d.server + "/t/acme" }

// startDemo starts the parts. They end with ctx.
func startDemo(ctx context.Context, dir string, freePorts bool) (*demo, error) {
	d := &demo{dir: dir, ended: make(chan error, 1)}
	c, err := devConfig(dir, freePorts)
	if err != nil {
		return nil, err
	}
	d.server = c.BaseURL
	if err := d.startIssuers(ctx, freePorts); err != nil {
		return nil, err
	}
	secrets, found := c.Secrets()
	if len(found) > 0 {
		return nil, &config.Mistakes{File: d.path(config.DefaultFile), List: found}
	}
	logs, err := os.OpenFile(d.path("bursar.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s, err := serve.Start(ctx, serve.Config{Config: c, Secrets: secrets, Version: version().Version,
		Logger: slog.New(slog.NewJSONHandler(logs, nil))})
	if err != nil {
		return nil, errors.Join(err, logs.Close())
	}
	go func() { d.ended <- errors.Join(s.Run(ctx), logs.Close()) }()
	return d, d.writeTokens()
}

// wait returns once the server has ended.
func (d *demo) wait() error { return <-d.ended }

// devConfig returns the configuration of the data directory, made if there is none, on ports that are free.
func devConfig(dir string, freePorts bool) (*config.Config, error) {
	path := filepath.Join(dir, config.DefaultFile)
	if _, err := config.Init(dir, config.Initial{Listen: devServer}); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if c.Listen, err = freeAddress(c.Listen, freePorts); err != nil {
		return nil, err
	}
	c.BaseURL = "http://" + c.Listen
	if c.Tenants == nil {
		c.Tenants = map[string]config.Tenant{}
	}
	c.Tenants["acme"] = config.Tenant{PrivateCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	return c, nil
}

// freeAddress returns the address, or one with another port if that is taken or any will do.
func freeAddress(address string, anyWillDo bool) (string, error) {
	if anyWillDo {
		address = anyPort
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		l, err = net.Listen("tcp", anyPort)
	}
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startIssuers serves the cluster and the sign-on of acme.
func (d *demo) startIssuers(ctx context.Context, freePorts bool) error {
	address, err := freeAddress(devIssuer, freePorts)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	d.issuers = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mount := func(name string, kind demoissuer.Kind) (*demoissuer.Issuer, error) {
		issuer, err := demoissuer.New(demoissuer.Config{Kind: kind, URL: d.issuers + "/" + name, Audience: d.tenant()})
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, issuer))
		return issuer, err
	}
	if d.cluster, err = mount("cluster", demoissuer.Kubernetes); err != nil {
		return err
	}
	if d.sso, err = mount("sso", demoissuer.OIDC); err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close; nobody depends on its answer
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go d.keepFresh(ctx)
	return nil
}

const (
	tokenLife  = 10 * time.Minute
	tokenRenew = 4 * time.Minute
)

// keepFresh renews the tokens of the agent and of the user, as a platform does, until ctx ends.
func (d *demo) keepFresh(ctx context.Context) {
	ticker := time.NewTicker(tokenRenew)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = d.writeTokens() // the next round tries again; the old ones are good for a while
		}
	}
}

func (d *demo) writeTokens() error {
	agent, err := d.cluster.Mint(demoissuer.Request{Lifetime: tokenLife.String(),
		Claims: map[string]any{"sub": "system:serviceaccount:prod:ap-bot"}})
	if err != nil {
		return err
	}
	user, err := d.sso.Mint(demoissuer.Request{Lifetime: tokenLife.String(), Claims: map[string]any{"sub": "alice"}})
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(d.path("agent.jwt"), agent), replaceFile(d.path("user.jwt"), user))
}

// replaceFile exchanges a file for a new one, so that nobody reads half of it.
func replaceFile(path, content string) error {
	if err := os.WriteFile(path+".new", []byte(content+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

//go:embed demo/acme.yaml
var acmeTemplate string

// tenantFile is the demonstration's tenant, at the addresses that were chosen.
func (d *demo) tenantFile() string {
	return strings.NewReplacer("SERVER", d.server, "ISSUER", d.issuers).Replace(acmeTemplate)
}
