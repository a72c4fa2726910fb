package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) healthCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("health", "Ask whether the server can issue tokens", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			client, err := conn.address()
			if err != nil {
				return err
			}
			err = client.Ready(ctx)
			_, refused := errors.AsType[*operator.Problem](err)
			switch {
			case err != nil && !refused:
				return err
			case *asJSON:
				err = p.printJSON(map[string]bool{"ready": !refused})
			case !refused:
				_, err = fmt.Fprintln(p.out, "ready")
			}
			if refused {
				return &failure{code: exitRefused, text: "the server is not ready"}
			}
			return err
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
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
