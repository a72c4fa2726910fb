package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/internal/attack"
	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// assault are the flags of attack.
type assault struct {
	profile      string
	only, except []string
	list, strict bool
	format       string
	output       string
	files        map[string]*string // by format, where it is written as well
	timeout      time.Duration
}

func (p *program) attackCommand() *cobra.Command {
	x := assault{files: map[string]*string{}}
	cmd := command("attack URL --profile FILE [--strict] [--only ID,…] | --list",
		"Test a token exchange server (RFC 8693), this one or another, from outside", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error { return p.attack(ctx, &x, args) })
	cmd.Long = cmd.Short + `.

URL is the issuer, or the token endpoint of a server without metadata. The profile says how to get tokens there and what
to ask for; docs/attack.md describes it. Nothing is sent but to that server: requests that differ in one thing from a
good one. It makes tokens, and revokes some of them; run it against servers that are yours to test.

Exit codes: 0 clean; 1 findings; 2 wrong command line or profile; 3 could not tell.`
	f := cmd.Flags()
	f.StringVar(&x.profile, "profile", "", "file that says how to get tokens and what to ask for")
	f.StringSliceVar(&x.only, "only", nil, "checks to run: ids, rows or numbers, such as subject.*,A14,T-22")
	f.StringSliceVar(&x.except, "except", nil, "checks to leave out, likewise")
	f.BoolVar(&x.list, "list", false, "list the checks, and what none is about; run none")
	f.BoolVar(&x.strict, "strict", false, "fail on stricter choices too, where the specifications leave one")
	f.StringVar(&x.format, "format", "text", "what is printed: text, json, junit or html")
	f.StringVarP(&x.output, "output", "o", "", "file that gets what would be printed")
	for _, name := range []string{"json", "junit", "html"} {
		x.files[name] = f.String(name, "", "file that gets the report as "+name+" as well")
	}
	f.DurationVar(&x.timeout, "timeout", 10*time.Second, "how long one request may take")
	return cmd
}

func (p *program) attack(ctx context.Context, x *assault, args []string) error {
	if x.list {
		return p.listChecks(x)
	}
	write, known := formats[x.format]
	switch {
	case !known:
		return usage("the format must be text, json, junit or html")
	case len(args) == 0 || x.profile == "":
		return usage("give the URL and --profile, or --list", "docs/attack.md has profiles to begin with")
	}
	if err := attack.Named(slices.Concat(x.only, x.except)); err != nil {
		return usage(err.Error(), "--list shows all checks")
	}
	profile, err := p.readProfile(x.profile)
	if err != nil {
		return err
	}
	out, done, err := p.open(x.output)
	if err != nil {
		return unwritable(err)
	}
	files, err := x.open()
	if err != nil {
		return errors.Join(err, done())
	}
	lines := &findings.Text{W: out, Strict: x.strict, Color: x.output == "" && p.outColor}
	config := attack.Config{URL: args[0], Profile: profile, Only: x.only, Except: x.except, Strict: x.strict,
		Timeout: x.timeout, Version: version().Version, Env: p.env}
	if x.format == "text" {
		config.Each = func(r findings.Result) { err = errors.Join(err, lines.Line(r)) }
	}
	r, ran := attack.Run(ctx, config)
	switch {
	case x.format != "text":
		err = write(out, r)
	case ran == nil:
		err = errors.Join(err, lines.Summary(r))
	}
	if err := errors.Join(err, done(), files.write(r)); err != nil {
		return err
	}
	if ran != nil {
		return explainAttack(ran)
	}
	return judgement(r)
}

var formats = map[string]func(io.Writer, *findings.Report) error{
	"text": nil, "json": findings.JSON, "junit": findings.JUnit, "html": findings.Page,
}

// judgement is the error of a report that is not clean.
func judgement(r *findings.Report) error {
	switch unknown := r.Counts[findings.Error]; {
	case r.Findings > 0:
		return &failure{code: exitRefused, text: fmt.Sprintf("%d checks failed", r.Findings)}
	case unknown > 0:
		return &failure{code: exitUnknown, text: fmt.Sprintf("%d checks could not tell", unknown)}
	}
	return nil
}

// explainAttack explains why a run did not come to its end.
func explainAttack(err error) error {
	if u, ok := errors.AsType[*attack.Unable](err); ok {
		return &failure{code: exitUnknown, text: u.Reason, hints: []string{u.Hint}}
	}
	return err
}

func (p *program) readProfile(path string) (*attack.Profile, error) {
	text, err := p.readInput(path)
	if err != nil {
		return nil, usage("the profile cannot be read: "+err.Error(), "docs/attack.md has profiles to begin with")
	}
	profile, err := attack.ReadProfile(path, text, p.env)
	if m, ok := errors.AsType[*attack.Mistakes](err); ok {
		return nil, &failure{code: exitUsage, text: m.Error(), details: m.List}
	}
	return profile, err
}

func (p *program) listChecks(x *assault) error {
	checks, gaps := attack.Checks(), attack.Gaps()
	if x.format == "json" {
		return p.printJSON(map[string]any{"checks": checks, "not_covered": gaps})
	}
	rows := make([][]string, len(checks))
	for i, c := range checks {
		rows[i] = []string{c.ID, string(c.Class), string(c.Severity), strings.Join(c.Refs, " "), c.Title}
	}
	if err := p.table("ID CLASS SEVERITY ROWS WHAT", rows); err != nil {
		return err
	}
	rows = nil
	for _, gap := range gaps {
		for _, ref := range gap.Refs {
			rows = append(rows, []string{ref, gap.Reason})
		}
	}
	fmt.Fprintln(p.out)
	return p.table("NOT-COVERED WHY", rows)
}
