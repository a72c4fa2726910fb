package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/ledger"
)

// targetFlag is one way to name what is revoked or enabled.
type targetFlag struct {
	name string // of the flag
	kind operator.CutoffKind
	says string
}

// targetFlags are all of them. Kinds that disable can be enabled again.
var targetFlags = []targetFlag{
	{"jti", operator.CutoffToken, "a token and what was made of it, by its jti"},
	{"lineage", operator.CutoffLineage, "a whole tree of tokens, by the jti of its root"},
	{"run", operator.CutoffRun, "every token of one task, by its txn"},
	{"client", operator.CutoffClient, "a client: every token of it, and new ones"},
	{"tool", operator.CutoffTool, "a tool: every token for it, and new ones"},
	{"issuer", operator.CutoffIssuer, "a trusted issuer: every token that rests on it, and new ones"},
	{"subject", operator.CutoffSubject, "somebody, as <issuer's name>:<its sub>: every token for them, and new ones"},
}

// target is what the flags name.
type target struct {
	values map[string]*string // by name of the flag
	all    bool
}

// add adds the flags of the kinds that are wanted, and requires that one is given.
func (t *target) add(cmd *cobra.Command, all string, wanted func(operator.CutoffKind) bool) {
	t.values = map[string]*string{}
	names := []string{"all"}
	for _, f := range targetFlags {
		if wanted(f.kind) {
			t.values[f.name] = cmd.Flags().String(f.name, "", f.says)
			names = append(names, f.name)
		}
	}
	cmd.Flags().BoolVar(&t.all, "all", false, all)
	oneOf(cmd, true, names...)
}

// cutoff returns what the flags name; oneOf has made sure that it is one thing.
func (t *target) cutoff() (operator.Target, error) {
	if t.all {
		return operator.Target{Kind: operator.CutoffTenant}, nil
	}
	for _, f := range targetFlags {
		if value := t.values[f.name]; value != nil && *value != "" {
			return operator.Target{Kind: f.kind, Value: *value}, nil
		}
	}
	return operator.Target{}, usage("what is to be revoked or enabled has no name")
}

// enabling is the command that lifts what a revocation disabled; empty if its kind is final.
func enabling(tenant string, o operator.Target) string {
	if o.Kind == operator.CutoffTenant {
		return "bursar enable " + tenant + " --all"
	}
	for _, f := range targetFlags {
		if f.kind == o.Kind && o.Kind.Disables() {
			return "bursar enable " + tenant + " --" + f.name + " " + shellWord(o.Value)
		}
	}
	return ""
}

func (p *program) revokeCommand() *cobra.Command {
	var t target
	var cause string
	revoke := func(c *operator.Client, ctx context.Context, tenant string, o operator.Target) (*operator.Revoked, error) {
		if cause != "" && !slices.Contains(causes(), cause) {
			return nil, usage("the cause must be one of " + strings.Join(causes(), ", "))
		}
		return c.RevokeFor(ctx, tenant, operator.Revocation{Target: o, Cause: operator.Cause(cause)})
	}
	cmd := p.cutCommand("revoke TENANT (--jti ID | --client ID | … | --all) [--cause CAUSE]",
		"End tokens that were issued up to now: one, a client's, or all", &t, revoke,
		func(tenant string, o operator.Target, r *operator.Revoked) []string {
			enable := enabling(tenant, o)
			if enable == "" {
				lines := []string{fmt.Sprintf("revoked %s: it, and what descends from it, is refused (event %d)",
					describe(tenant, o), r.Index)}
				if odd := hitsNothing(o.Value, r.At); odd != "" {
					lines = append(lines, odd)
				}
				return lines
			}
			return []string{
				fmt.Sprintf("revoked %s: everything of it that was issued up to %s is refused (event %d)",
					describe(tenant, o), stamp(r.At), r.Index),
				"nothing new is issued until: " + enable,
			}
		})
	t.add(cmd, "the tenant: every token of it, and new ones", func(operator.CutoffKind) bool { return true })
	cmd.Flags().StringVar(&cause, "cause", "", "why, for the log: "+strings.Join(causes(), ", "))
	return cmd
}

func causes() (all []string) {
	for _, c := range operator.Causes() {
		all = append(all, string(c))
	}
	return all
}

// hitsNothing says why nothing can be alive that an id names, as far as the id tells: it says when it was made. It is
// empty for an id that may name something alive.
func hitsNothing(id string, now time.Time) string {
	made, ok := ledger.IDTime(id)
	switch {
	case !ok:
		return ""
	case made.Before(now.Add(-token.MaxLife - token.MaxLeeway)):
		return fmt.Sprintf("note: the id was made at %s, and nothing issued then can be alive; is it the right one?",
			stamp(made))
	case made.After(now.Add(token.MaxLeeway)):
		return fmt.Sprintf("note: the id is of %s, which is yet to come: nothing has it; is it the right one?", stamp(made))
	}
	return ""
}

func (p *program) enableCommand() *cobra.Command {
	var t target
	cmd := p.cutCommand("enable TENANT (--client ID | … | --all)",
		"Issue tokens again for what a revocation disabled", &t, (*operator.Client).Enable,
		func(tenant string, o operator.Target, r *operator.Revoked) []string {
			return []string{fmt.Sprintf("enabled %s: what was issued up to %s stays revoked (event %d)",
				describe(tenant, o), stamp(r.At), r.Index)}
		})
	t.add(cmd, "the tenant itself; what was revoked one by one stays disabled", operator.CutoffKind.Disables)
	return cmd
}

// missed says what was to be revoked or enabled, if it is not there, and where to look for what is.
func missed(tenant string, o operator.Target, err error) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok || problem.Code() != operator.CodeNotFound {
		return err
	}
	f := explainProblem(problem)
	f.text = describe(tenant, o) + ": " + clause(f.text)
	switch o.Kind {
	case operator.CutoffClient, operator.CutoffTool, operator.CutoffIssuer:
		f.hints = append(f.hints, "what there is: bursar "+string(o.Kind)+" list "+tenant)
	case operator.CutoffSubject:
		f.hints = append(f.hints, "what can stand before the colon: bursar issuer list "+tenant)
	}
	f.hints = append(f.hints, "what is revoked: bursar cutoff list "+tenant)
	return f
}

func describe(tenant string, o operator.Target) string {
	switch o.Kind {
	case operator.CutoffTenant:
		return "tenant " + tenant
	case operator.CutoffToken:
		return "token " + o.Value
	}
	return string(o.Kind) + " " + o.Value
}

func (p *program) cutCommand(use, short string, t *target,
	do func(*operator.Client, context.Context, string, operator.Target) (*operator.Revoked, error),
	say func(tenant string, o operator.Target, r *operator.Revoked) []string) *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command(use, short, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		cutoff, err := t.cutoff()
		if err != nil {
			return err
		}
		client, err := conn.open()
		if err != nil {
			return err
		}
		receipt, err := do(client, ctx, args[0], cutoff)
		switch {
		case err != nil:
			return missed(args[0], cutoff, err)
		case *asJSON:
			return p.printJSON(receipt)
		}
		for _, line := range say(args[0], cutoff, receipt) {
			fmt.Fprintln(p.out, harmless(line))
		}
		return nil
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}
