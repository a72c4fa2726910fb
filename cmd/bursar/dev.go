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
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/cmd/demolegacy"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/serve"
)

// The addresses of the demonstration; a taken port is exchanged for a free one.
const (
	devServer = "127.0.0.1:8080"
	devShim   = "127.0.0.1:8081"
	devIssuer = "127.0.0.1:8082"
	devLegacy = "127.0.0.1:8083"
	devMCP    = "127.0.0.1:8084"
	anyPort   = "127.0.0.1:0"
)

func (p *program) devCommand() *cobra.Command {
	var once bool
	var dir, name string
	cmd := command("dev [--demo payments | mcp] [--once] [--data DIR]",
		"Run everything on this machine, and tell the whole story", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			plot, ok := plots()[name]
			if !ok {
				return usage("--demo is payments or mcp")
			}
			return p.dev(ctx, plot, dir, once)
		})
	cmd.Flags().StringVar(&name, "demo", "payments",
		"what the story is about: payments, an HTTP API; or mcp, a server of the Model Context Protocol")
	cmd.Flags().BoolVar(&once, "once", false, "use free ports, and exit after the story; not 0 if a step fails")
	cmd.Flags().StringVar(&dir, "data", "", "directory that keeps the state (default: a new one, removed at the end)")
	return cmd
}

func (p *program) dev(ctx context.Context, plot plot, dir string, once bool) (err error) {
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
	if err := p.tell(ctx, d, plot); err != nil || once {
		return err
	}
	fmt.Fprintf(p.out, "\nEverything stays up, and %s and %s stay fresh. Ctrl-C ends it.\n",
		d.path("agent.jwt"), d.path("user.jwt"))
	<-ctx.Done()
	return nil
}

// demo is a server with its shim, two issuers, two upstreams and a tenant on this machine.
type demo struct {
	dir     string
	server  string // base URL, as are the next ones
	shim    string
	issuers string
	legacy  string // the payments API
	mcp     string // the MCP server
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
func startDemo(ctx context.Context, dir string, freePorts bool) (*demo, error) {
	d := &demo{dir: dir, ended: make(chan error, 1)}
	c, err := devConfig(dir, freePorts)
	if err != nil {
		return nil, err
	}
	d.server, d.shim = c.BaseURL, c.Shim.URL
	if err := d.startIssuers(ctx, freePorts); err != nil {
		return nil, err
	}
	if d.legacy, err = serveUpstream(ctx, devLegacy, freePorts, demolegacy.NewPayments(demolegacy.Config{})); err != nil {
		return nil, err
	}
	if d.mcp, err = serveUpstream(ctx, devMCP, freePorts, demolegacy.NewMCP(demolegacy.Config{})); err != nil {
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

// devAddition is what bursar.yaml of a demonstration has beyond that of a new server.
const devAddition = `
# Of bursar dev: the issuers and upstreams of its tenant are on this machine.
shim: {listen: %s, url: "http://%[1]s"}
tenants: {acme: {private_cidrs: [127.0.0.0/8]}}
`

// devConfig returns the configuration of the data directory. One that is new is made for ports that are free. What is
// in another belongs to the addresses that it began with, of which issuers, tools and logs have their names.
func devConfig(dir string, freePorts bool) (*config.Config, error) {
	server, err := freeAddress(devServer, freePorts)
	if err != nil {
		return nil, err
	}
	shim, err := freeAddress(devShim, freePorts)
	if err != nil {
		return nil, err
	}
	switch path, err := config.Init(dir, config.Initial{Listen: server}); {
	case err == nil:
		if err := appendTo(path, fmt.Sprintf(devAddition, shim)); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	c, err := config.Load(filepath.Join(dir, config.DefaultFile))
	if err != nil {
		return nil, err
	}
	for _, address := range []string{c.Listen, c.Shim.Listen} {
		if free, err := freeAddress(address, false); err != nil || free != address {
			return nil, &failure{code: exitRefused, text: dir + " is of a server at " + address + ", where another one listens",
				hints: []string{"end that one, or give another directory with --data"}}
		}
	}
	return c, nil
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
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

// serveUpstream serves what is behind the shim, and returns its base URL.
func serveUpstream(ctx context.Context, address string, freePorts bool, h http.Handler) (string, error) {
	l, base, err := listenDemo(address, freePorts)
	if err == nil {
		serveDemo(ctx, l, h)
	}
	return base, err
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
	return strings.NewReplacer("SERVER", d.server, "SHIM", d.shim, "ISSUER", d.issuers, "LEGACY", d.legacy,
		"TICKETS", d.mcp).Replace(acmeTemplate)
}
