package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/bursar-sts/bursar/clients/token"
)

// step is one command of the story. It is run as it is printed, except that this process plays the programs.
type step struct {
	says  string
	do    deed
	into  string // file that gets the output, instead of the screen
	keep  string // file that gets the output too
	show  int    // lines of output to show; 0 shows all
	holds string // what the output must hold
}

// deed is what a command line does, done in this process.
type deed interface {
	line() string
	run(ctx context.Context, p *program, d *demo) (out string, err error)
}

// story is a demonstration that is being told.
type story struct {
	*demo
	p       *program
	number  int       // of the last step
	stream  *follower // the call that does not end
	session []string  // headers of the session of MCP
}

// plot is what a story consists of.
type plot []func(s *story, ctx context.Context) error

// plots are the stories: of an agent, a payments API that knows nothing but a key, and what each of them gets; and of
// an agent that speaks the Model Context Protocol with such a server.
func plots() map[string]plot {
	return map[string]plot{
		"payments": {(*story).tellToken, (*story).tellCalls, (*story).tellRefusal, (*story).tellRotation,
			(*story).tellRevocation, (*story).tellLog},
		"mcp": {(*story).tellDiscovery, (*story).tellSession, (*story).tellCut},
	}
}

// tell tells a story to its end. The error names the first step that did not go as told.
func (p *program) tell(ctx context.Context, d *demo, plot plot) error {
	if err := os.MkdirAll(d.path("agent"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(d.path("acme.yaml"), []byte(d.tenantFile()), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "bursar runs at %s, its shim at %s, two identity issuers at %s; and, knowing\n"+
		"nothing but static keys, a payments API at %s and an MCP server at %s: everything on this machine.\n"+
		"Each line that begins with $ can be repeated in another terminal, after these:\n\n"+
		"  $ export BURSAR_SERVER=%s BURSAR_TOKEN_FILE=%s\n"+
		"  $ alias bursar='%s'\n",
		d.server, d.shim, d.issuers, d.legacy, d.mcp, d.server, shellWord(d.path("admin.token")), invocation())
	s := &story{demo: d, p: p}
	for _, tell := range plot {
		if err := tell(s, ctx); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(p.out, "\nThat is the story: %d steps, each as expected.\n", s.number)
	return err
}

// tellTenant is how each story begins. A data directory that is used again has keys of an API that is gone.
func (s *story) tellTenant(ctx context.Context, secret string) error {
	err := s.run(ctx, step{
		says: "The operator says who is trusted, who the agents are, what they may do, and which call needs which key.",
		do:   do("apply", "-f", s.path("acme.yaml"))})
	if err != nil {
		return err
	}
	if _, err := do("secret", "list", secret).run(ctx, s.p, s.demo); err != nil {
		return nil // there is none
	}
	return s.run(ctx, step{says: "An earlier story left keys of an API that is gone. They are destroyed.",
		do: do("secret", "destroy", secret, "--all", "--force")})
}

// run performs steps, and prints each.
func (s *story) run(ctx context.Context, steps ...step) error {
	for _, one := range steps {
		s.number++
		if err := s.perform(ctx, one); err != nil {
			return fmt.Errorf("step %d (%s): %w", s.number, one.do.line(), err)
		}
	}
	return nil
}

func (s *story) perform(ctx context.Context, one step) error {
	line := one.do.line()
	switch {
	case one.into != "": // it is a secret
		line = "(umask 077; " + line + " > " + shellWord(one.into) + ")"
	case one.keep != "":
		line += " | tee " + shellWord(one.keep)
	}
	fmt.Fprintf(s.p.out, "\n%d. %s\n\n  $ %s\n", s.number, one.says, line)
	out, err := one.do.run(ctx, s.p, s.demo)
	s.said = out
	if err != nil {
		return err
	}
	if !strings.Contains(out, one.holds) {
		return fmt.Errorf("%q is not in what it printed: %s", one.holds, strings.TrimSpace(out))
	}
	switch {
	case one.into != "":
		return replaceFile(one.into, strings.TrimSpace(out))
	case one.keep != "":
		if err := replaceFile(one.keep, strings.TrimSpace(out)); err != nil {
			return err
		}
	}
	s.print(out, one.show)
	return nil
}

// print shows the first lines of an output.
func (s *story) print(out string, lines int) {
	all := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if out == "" {
		return
	}
	if lines > 0 {
		all = all[:min(lines, len(all))]
	}
	for _, line := range all {
		fmt.Fprintln(s.p.out, strings.TrimRight("  "+line, " "))
	}
}

// word is the first word of what the last step printed that is of a kind.
func (d *demo) word(is func(string) bool) (string, bool) {
	for word := range strings.FieldsSeq(d.said) {
		if is(word) {
			return word, true
		}
	}
	return "", false
}

// jti reads the id of the token in a file.
func jti(file string) (string, error) {
	compact, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, payload, err := token.Canonical(strings.TrimSpace(string(compact)))
	if err != nil {
		return "", err
	}
	c, err := token.Parse(payload)
	return c.ID, err
}

// env is the environment of the story's commands.
func (d *demo) env(outer func(string) string) func(string) string {
	return func(name string) string {
		switch name {
		case "BURSAR_SERVER":
			return d.server
		case "BURSAR_TOKEN_FILE":
			return d.path("admin.token")
		}
		return outer(name)
	}
}

// invocation is how somebody runs this program again: go run leaves no binary that can be named.
func invocation() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, "go-build") {
		return "go run ./cmd/bursar"
	}
	return shellWord(path)
}
