package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) clientSecretCommand() *cobra.Command {
	var conn *connection
	var list bool
	var remove string
	var asJSON *bool
	cmd := command("secret TENANT/CLIENT [--list | --delete ID]",
		"Make a client secret and print it, this once; the two newest are valid", cobra.RangeArgs(1, 2),
		func(ctx context.Context, args []string) error {
			tenant, id, err := pair(args)
			if err != nil {
				return err
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			switch {
			case list:
				secrets, err := client.Secrets(ctx, tenant, id)
				if err != nil {
					return err
				}
				return show(p, *asJSON, secrets, "SECRET CREATED", func(s operator.Secret) []string {
					return []string{s.ID, stamp(s.Created)}
				})
			case remove != "":
				return client.DeleteSecret(ctx, tenant, id, remove)
			}
			made, err := client.CreateSecret(ctx, tenant, id)
			if err != nil {
				return methods(tenant, id, err)
			}
			return p.printOnce(made, made.ClientSecret, *asJSON)
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().BoolVar(&list, "list", false, "list the secrets that are valid, without their values")
	cmd.Flags().StringVar(&remove, "delete", "", "end the secret with this id")
	oneOf(cmd, false, "list", "delete")
	return cmd
}

// methods says where to see how a client authenticates that is to have no secret.
func methods(tenant, id string, err error) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok || problem.Code() != operator.CodeConflict {
		return err
	}
	f := explainProblem(problem)
	f.hints = []string{"how it authenticates now: bursar client show " + tenant + "/" + id +
		"; a client with identities needs no secret: its platform's token is its proof"}
	return f
}

// printOnce prints a secret that nobody can ask for again, alone, so that it can be piped to where it belongs.
func (p *program) printOnce(made any, secret string, asJSON bool) error {
	if asJSON {
		return p.printJSON(made)
	}
	_, err := fmt.Fprintln(p.out, harmless(secret))
	return err
}

func (p *program) operatorCommand() *cobra.Command {
	return group("operator", "Manage operator tokens",
		p.operatorTokenCommand(), p.operatorListCommand(), p.operatorDeleteCommand())
}

// scope are the flags that choose between a tenant and the platform.
type scope struct {
	tenant   string
	platform bool
}

func (s *scope) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.tenant, "tenant", "", "the tenant")
	cmd.Flags().BoolVar(&s.platform, "platform", false, "the platform: every tenant")
	oneOf(cmd, true, "tenant", "platform")
}

func (p *program) operatorTokenCommand() *cobra.Command {
	var conn *connection
	var in scope
	var role string
	var ttl time.Duration
	var asJSON *bool
	cmd := command("token (--tenant TENANT | --platform) --role ROLE --ttl DURATION",
		"Make an operator token and print it, this once", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			r := operator.OperatorRequest{Role: operator.Role(role), TTL: ttl.String()}
			if !slices.Contains(operator.Roles(), r.Role) {
				return usage("the role must be admin, editor, keeper, responder or auditor")
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			create := func() (*operator.NewOperator, error) { return client.CreateOperator(ctx, in.tenant, r) }
			if in.platform {
				create = func() (*operator.NewOperator, error) { return client.CreatePlatformOperator(ctx, r) }
			}
			made, err := create()
			if err != nil {
				return err
			}
			return p.printOnce(made, made.Token, *asJSON)
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	in.flags(cmd)
	cmd.Flags().StringVar(&role, "role", "", "admin, editor, keeper, responder or auditor")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it is valid, such as 12h")
	must(cmd.MarkFlagRequired("role"))
	must(cmd.MarkFlagRequired("ttl"))
	return cmd
}

func (p *program) operatorListCommand() *cobra.Command {
	var conn *connection
	var in scope
	var asJSON *bool
	cmd := command("list (--tenant TENANT | --platform)", "List operator tokens, without their values", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			read := func() ([]operator.Operator, error) { return client.Operators(ctx, in.tenant) }
			if in.platform {
				read = func() ([]operator.Operator, error) { return client.PlatformOperators(ctx) }
			}
			operators, err := read()
			if err != nil {
				return err
			}
			return show(p, *asJSON, operators, "OPERATOR ROLE CREATED EXPIRES", func(o operator.Operator) []string {
				return []string{o.ID, string(o.Role), stamp(o.Created), stamp(o.Expires)}
			})
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	in.flags(cmd)
	return cmd
}

func (p *program) operatorDeleteCommand() *cobra.Command {
	var conn *connection
	var in scope
	cmd := command("delete (--tenant TENANT | --platform) ID", "End an operator token", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			client, err := conn.open()
			switch {
			case err != nil:
				return err
			case in.platform:
				err = client.DeletePlatformOperator(ctx, args[0])
			default:
				err = client.DeleteOperator(ctx, in.tenant, args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "operator token %s ended\n", harmless(args[0]))
			return err
		})
	conn = p.connect(cmd)
	in.flags(cmd)
	return cmd
}
