package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
)

func (p *program) healthCommand() *cobra.Command {
	var conn *connection
	var path string
	var asJSON *bool
	cmd := command("health [--config FILE]", "Ask whether the server can issue tokens", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			client, err := conn.address()
			if path != "" {
				client, err = local(path)
			}
			if err != nil {
				return err
			}
			err = client.Ready(ctx)
			problem, refused := errors.AsType[*operator.Problem](err)
			switch {
			case err != nil && !refused:
				return err
			case *asJSON:
				err = p.printJSON(map[string]bool{"ready": !refused})
			case !refused:
				_, err = fmt.Fprintln(p.out, "ready")
			}
			if refused {
				return notReady(problem.Status)
			}
			return err
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().StringVar(&path, "config", "", "ask the server that this file configures, on this machine")
	cmd.MarkFlagsMutuallyExclusive("server", "config")
	return cmd
}

// notReady says why a server is not ready, as far as its status tells.
func notReady(status int) error {
	f := &failure{code: exitRefused, text: fmt.Sprintf("the server is not ready: it answers with status %d", status),
		hints: []string{"check the address: a bursar server answers with 200 or 503"}}
	if status == http.StatusServiceUnavailable {
		f.hints = []string{"its store does not answer; the server's own log has the cause"}
	}
	return f
}

// local returns the client of the server that a file configures and that runs on this machine: it speaks to its
// listener, wherever its name leads to.
func local(path string) (*operator.Client, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, c.Listen) // of an unspecified address: this machine
	}}
	client := &operator.Client{BaseURL: "http://" + c.Listen, HTTP: &http.Client{Transport: transport}}
	if c.TLS.Cert == "" {
		return client, nil
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, err
	}
	client.BaseURL = "https://" + base.Host
	// The certificate must be good for that name, and one that the system trusts or the one that is configured, which may
	// be of an authority that only the clients know.
	chain, err := os.ReadFile(c.TLS.Cert)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(chain)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return client, nil
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON *bool
	cmd := command("version", "Print the version", cobra.NoArgs, func(context.Context, []string) error {
		v := version()
		if *asJSON {
			return p.printJSON(v)
		}
		_, err := fmt.Fprintf(p.out, "bursar %s (%s, %s/%s)\n", v.Version, v.Go, runtime.GOOS, runtime.GOARCH)
		return err
	})
	asJSON = jsonFlag(cmd)
	return cmd
}

// version is what the build recorded: the module's version, or the commit that it was built from.
func version() operator.Version {
	v := operator.Version{Version: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v.Version == "(devel)" {
			v.Version = s.Value
		}
	}
	return v
}
