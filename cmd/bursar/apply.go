package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tenant"
)

func (p *program) applyCommand() *cobra.Command {
	var conn *connection
	var file string
	var o operator.ApplyOptions
	var asJSON *bool
	cmd := command("apply -f FILE [--dry-run] [--prune]", "Make tenants what a file says, one YAML document a tenant",
		inFlag("-f", "the file"),
		func(ctx context.Context, _ []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			data, err := p.readInput(file)
			if err != nil {
				return err
			}
			documents, err := split(data)
			if err != nil {
				return within(file, err)
			}
			return p.apply(ctx, client, documents, o, *asJSON)
		})
	conn = p.connect(cmd)
	asJSON = jsonFlag(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "tenant file, - for standard input")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "delete what the file does not have")
	cmd.Flags().Int64Var(&o.Revision, "revision", 0, "refuse unless the tenant still has this revision")
	must(cmd.MarkFlagRequired("file"))
	return cmd
}

// apply applies documents in order and stops at the first that is refused: what came before it stays applied.
func (p *program) apply(ctx context.Context, c *operator.Client, all []document, o operator.ApplyOptions,
	asJSON bool) error {
	var done []*operator.Applied
	var failed error
	for _, d := range all {
		a, err := c.Apply(ctx, d.tenant, d.text, o)
		if err != nil {
			failed = within("tenant "+d.tenant, err)
			break
		}
		done = append(done, a)
		if !asJSON {
			p.printApplied(a)
		}
	}
	if asJSON && len(done) > 0 {
		return errors.Join(p.printJSON(done), failed)
	}
	return failed
}

// within says what an error is about.
func within(what string, err error) error {
	f := explain(&ran{err})
	f.text = what + ": " + clause(f.text)
	return f
}

// document is one tenant file.
type document struct {
	tenant string
	text   []byte
}

// split cuts a file into its documents and finds the tenant of each. Every document keeps its line numbers: the lines
// before it are there, empty. Three hyphens at the start of a line separate documents wherever they stand (YAML 1.2.2
// §9.1.2), so that this needs no parser.
func split(data []byte) ([]document, error) {
	var all []document
	var text bytes.Buffer
	begun := false
	end := func() error {
		if !begun {
			return nil
		}
		var head struct{ Tenant string }
		if err := yaml.Unmarshal(text.Bytes(), &head); err != nil || scopes.CheckSlug(head.Tenant) != nil {
			return nobodys(text.Bytes())
		}
		all = append(all, document{head.Tenant, bytes.Clone(text.Bytes())})
		return nil
	}
	lines := 0
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("---"))
		if ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			if err := end(); err != nil {
				return nil, err
			}
			text.Reset()
			text.Write(bytes.Repeat([]byte("\n"), lines))
			begun, line = false, append([]byte("   "), rest...)
		}
		if content := bytes.TrimSpace(line); len(content) > 0 && content[0] != '#' {
			begun = true
		}
		text.Write(line)
		lines++
	}
	if err := end(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no tenant")
	}
	return all, nil
}

// nobodys is the error of a document that can be sent to no tenant: all that can be told of it without a server.
func nobodys(text []byte) error {
	_, err := tenant.ParseFile(text)
	return &failure{code: exitRefused, text: "a document names no tenant that could be", details: fault.As(err).Problems}
}

var marks = map[operator.Action]string{
	operator.ActionCreate: "+",
	operator.ActionUpdate: "~",
	operator.ActionDelete: "-",
}

func (p *program) printApplied(a *operator.Applied) {
	verb := "applied"
	switch {
	case a.DryRun && a.Created:
		verb = "would be created"
	case a.DryRun && len(a.Changes) > 0:
		verb = "would change"
	case a.Created:
		verb = "created"
	case len(a.Changes) == 0:
		verb = "is already so"
	}
	fmt.Fprintf(p.out, "tenant %s %s (revision %d)\n", harmless(a.Tenant), verb, a.Revision)
	for _, c := range a.Changes {
		line := fmt.Sprintf("  %s %-6s %s", marks[c.Action], c.Kind, c.ID)
		if len(c.Fields) > 0 {
			line += ": " + strings.Join(c.Fields, ", ")
		}
		fmt.Fprintln(p.out, harmless(line))
	}
	for _, ref := range a.Unmanaged {
		fmt.Fprintln(p.out, harmless(fmt.Sprintf("  ? %-6s %s is not in the file; --prune deletes it", ref.Kind, ref.ID)))
	}
}

// must is for calls that only a bug in a command's definition lets fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
