package main

import (
	"cmp"
	"context"
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
	devShim   = "127.0.0.1:8081"
	devIssuer = "127.0.0.1:8082"
	devLegacy = "127.0.0.1:8083"
	anyPort   = "127.0.0.1:0"
)

func (p *program) devCommand() *cobra.Command {
	var once bool
	var dir, name string
	cmd := command("dev [--demo payments | mcp] [--once] [--data DIR]",
		"Run everything on this machine, and tell the whole story", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			for _, kind := range []*demoKind{payments, tickets} {
				if kind.name == name {
					return p.dev(ctx, kind, dir, once)
				}
			}
			return usage("--demo is payments or mcp")
		})
	cmd.Flags().StringVar(&name, "demo", payments.name,
		"what is behind the shim: payments, an HTTP API; or mcp, a server of the Model Context Protocol")
	cmd.Flags().BoolVar(&once, "once", false, "use free ports, and exit after the story; not 0 if a step fails")
	cmd.Flags().StringVar(&dir, "data", "", "directory that keeps the state (default: a new one, removed at the end)")
	return cmd
}

func (p *program) dev(ctx context.Context, kind *demoKind, dir string, once bool) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bursar-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	ctx, stop := context.WithCancel(ctx)
	d, err := startDemo(ctx, kind, dir, once)
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

// demoKind is one of the demonstrations.
type demoKind struct {
	name     string
	about    string // what is behind the shim
	template string // the tenant's file
	upstream func() http.Handler
	tell     func(ctx context.Context, s *story) error
}

// demo is a server with its shim, two issuers, an upstream and a tenant on this machine.
type demo struct {
	kind    *demoKind
	dir     string
	server  string // base URL
	shim    string // base URL
	issuers string // base URL
	legacy  string // base URL
	cluster *demoissuer.Issuer
	sso     *demoissuer.Issuer
	said    string // what the story's last step printed
	ended   chan error
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// tenant is the issuer URL of the tenant acme.
func (d *demo) tenant() string { return d.server + "/t/acme" }

// resource is where the shim has one of its tools.
func (d *demo) resource(tool string) string { return d.shim + "/t/acme/" + tool }

// startDemo starts the parts. They end with ctx.
func startDemo(ctx context.Context, kind *demoKind, dir string, freePorts bool) (*demo, error) {
	d := &demo{kind: kind, dir: dir, ended: make(chan error, 1)}
	c, err := devConfig(dir, freePorts)
	if err != nil {
		return nil, err
	}
	d.server, d.shim = c.BaseURL, c.Shim.URL
	if err := d.startIssuers(ctx, freePorts); err != nil {
		return nil, err
	}
	if err := d.startUpstream(ctx, freePorts); err != nil {
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
	if c.Shim.Listen, err = freeAddress(cmp.Or(c.Shim.Listen, devShim), freePorts); err != nil {
		return nil, err
	}
	c.BaseURL, c.Shim.URL = "http://"+c.Listen, "http://"+c.Shim.Listen
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

// listenDemo opens the address of a part of the demonstration, or another, and returns its base URL too.
func listenDemo(address string, freePorts bool) (l net.Listener, base string, err error) {
	if address, err = freeAddress(address, freePorts); err != nil {
		return nil, "", err
	}
	if l, err = net.Listen("tcp", address); err != nil {
		return nil, "", err
	}
	return l, "http://" + l.Addr().String(), nil
}

// serveDemo serves a part of the demonstration until ctx ends.
func serveDemo(ctx context.Context, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close; nobody depends on its answer
	context.AfterFunc(ctx, func() { _ = server.Close() })
}

// startIssuers serves the cluster and the sign-on of acme.
func (d *demo) startIssuers(ctx context.Context, freePorts bool) error {
	l, base, err := listenDemo(devIssuer, freePorts)
	if err != nil {
		return err
	}
	d.issuers = base
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
	serveDemo(ctx, l, mux)
	go d.keepFresh(ctx)
	return nil
}

// startUpstream serves what is behind the shim.
func (d *demo) startUpstream(ctx context.Context, freePorts bool) error {
	l, base, err := listenDemo(devLegacy, freePorts)
	if err != nil {
		return err
	}
	d.legacy = base
	serveDemo(ctx, l, d.kind.upstream())
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

// tenantFile is the demonstration's tenant, at the addresses that were chosen.
func (d *demo) tenantFile() string {
	return strings.NewReplacer("SERVER", d.server, "SHIM", d.shim, "ISSUER", d.issuers, "LEGACY", d.legacy).
		Replace(d.kind.template)
}
