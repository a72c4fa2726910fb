package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// program is the command line's whole view of the world.
type program struct {
	in       io.Reader
	out, err io.Writer
	color    bool // err may be coloured
	outColor bool // so may out
	env      func(name string) string
}

// run runs one command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	f := explain(err)
	if f.code == exitUsage && len(f.hints) == 0 {
		f.hints = []string{fmt.Sprintf("run %q for what it takes", cmd.CommandPath()+" --help")}
	}
	p.complain(f)
	return f.code
}

func (p *program) root() *cobra.Command {
	root := group("bursar", "Trade workload identities for tokens that are good for one tool and a few minutes",
		p.initCommand(), p.serveCommand(), p.devCommand(), p.configCommand(),
		p.applyCommand(), p.tenantCommand(),
		p.objectCommand("client", p.clientSecretCommand()), p.objectCommand("tool"), p.objectCommand("issuer"),
		p.objectCommand("policy"), p.secretCommand(),
		p.tokenCommand(), p.revokeCommand(), p.enableCommand(), p.cutoffCommand(),
		p.explainCommand(), p.routeCommand(), p.auditCommand(), p.attackCommand(),
		p.keysCommand(), p.operatorCommand(), p.backupCommand(), p.restoreCommand(), p.healthCommand(), p.versionCommand(),
	)
	root.Long = root.Short + `.

"bursar dev" shows what that means, on this machine and with nothing to set up.
"bursar init" begins a server of your own.

Exit codes: 0 done; 1 refused or failed; 2 wrong command line; 3 could not tell, ask again.`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("a command is missing")
		}
		return fmt.Errorf("unknown command %q", cmd.CommandPath()+" "+args[0])
	}
	cmd.AddCommand(commands...)
	return cmd
}

// command returns a command that does something. What cobra itself finds wrong is a mistake of usage; what run returns
// is not, unless it says so.
func command(use, short string, args cobra.PositionalArgs, run func(context.Context, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := run(cmd.Context(), args); err != nil {
				return &ran{err}
			}
			return nil
		},
	}
}

// inFlag takes no arguments, and says which flag takes what may have been meant by one.
func inFlag(flag, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%q is superfluous; %s is given with %s", args[0], what, flag)
		}
		return nil
	}
}

// oneOf makes a command take exactly one of the flags, or at most one if none is needed.
func oneOf(cmd *cobra.Command, needed bool, names ...string) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		given := 0
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				given++
			}
		}
		if given > 1 || given == 0 && needed {
			return fmt.Errorf("give one of --%s", strings.Join(names, ", --"))
		}
		return nil
	}
}

// ran is an error of a command that was understood.
type ran struct{ error }

func (r *ran) Unwrap() error { return r.error }

// isTerminal reports whether f is one that shows colours.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}
