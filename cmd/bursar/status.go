package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/build"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/port"
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

// local returns the client of the server that a file configures and that runs on this machine.
func local(path string) (*operator.Client, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	base, client, err := port.Local(c.Listen, c.TLS, c.BaseURL)
	if err != nil {
		return nil, err
	}
	return &operator.Client{BaseURL: base, HTTP: client}, nil
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

func version() operator.Version {
	return operator.Version{Version: build.Version(), Go: runtime.Version()}
}
