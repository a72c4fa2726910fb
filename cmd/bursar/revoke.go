package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

// target are the flags that name what is revoked or enabled.
type target struct {
	jti, client string
	all         bool
}

// cutoff returns what the flags name; oneOf has made sure that it is one thing.
func (t *target) cutoff() (operator.Target, error) {
	switch {
	case t.all:
		return operator.Target{Kind: operator.CutoffTenant}, nil
	case t.client != "":
		return operator.Target{Kind: operator.CutoffClient, Value: t.client}, nil
	case t.jti != "":
		return operator.Target{Kind: operator.CutoffToken, Value: t.jti}, nil
	}
	return operator.Target{}, usage("what is to be revoked or enabled has no name")
}

func (p *program) revokeCommand() *cobra.Command {
	var t target
	cmd := p.cutCommand("revoke TENANT (--jti ID | --client ID | --all)", "End tokens that were issued up to now: one, a client's, or all", &t,
		func(ctx context.Context, c *operator.Client, tenant string, o operator.Target) (*operator.Revoked, error) {
			return c.Revoke(ctx, tenant, o)
		},
		func(tenant string, o operator.Target, r *operator.Revoked) []string {
			what := "everything of it that was issued up to " + stamp(r.At)
			if o.Kind == operator.CutoffToken {
				what = "it, and what descends from it,"
			}
			lines := []string{fmt.Sprintf("revoked %s: %s is refused (event %d)", describe(tenant, o), what, r.Index)}
			switch o.Kind {
			case operator.CutoffClient:
				lines = append(lines, "nothing new is issued until: bursar enable "+tenant+" --client "+o.Value)
			case operator.CutoffTenant:
				lines = append(lines, "nothing new is issued until: bursar enable "+tenant+" --all")
			}
			return lines
		})
	cmd.Flags().StringVar(&t.jti, "jti", "", "one token, by its jti")
	cmd.Flags().StringVar(&t.client, "client", "", "every token of a client, and disable it")
	cmd.Flags().BoolVar(&t.all, "all", false, "every token of the tenant, and disable it")
	oneOf(cmd, true, "jti", "client", "all")
	return cmd
}

func (p *program) enableCommand() *cobra.Command {
	var t target
	cmd := p.cutCommand("enable TENANT (--client ID | --all)", "Issue tokens again for what a revocation disabled", &t,
		func(ctx context.Context, c *operator.Client, tenant string, o operator.Target) (*operator.Revoked, error) {
			return c.Enable(ctx, tenant, o)
		},
		func(tenant string, o operator.Target, r *operator.Revoked) []string {
			return []string{fmt.Sprintf("enabled %s: what was issued up to %s stays revoked (event %d)",
				describe(tenant, o), stamp(r.At), r.Index)}
		})
	cmd.Flags().StringVar(&t.client, "client", "", "a client")
	cmd.Flags().BoolVar(&t.all, "all", false, "the tenant itself; clients that were revoked one by one stay disabled")
	oneOf(cmd, true, "client", "all")
	return cmd
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
	do func(context.Context, *operator.Client, string, operator.Target) (*operator.Revoked, error),
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
		receipt, err := do(ctx, client, args[0], cutoff)
		switch {
		case err != nil:
			return err
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
