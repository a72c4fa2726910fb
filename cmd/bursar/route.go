package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) routeCommand() *cobra.Command {
	return group("route", "Look at the rules of a tool behind the shim", p.routeTestCommand())
}

func (p *program) routeTestCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var bodyType string
	cmd := command("test TENANT/TOOL METHOD PATH [--body-type TYPE]",
		"Tell what a call needs, and who may make it", cobra.ExactArgs(3),
		func(ctx context.Context, args []string) error {
			tenant, tool, err := pair(args[:1])
			if err != nil {
				return err
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			call := operator.Call{Method: args[1], Path: args[2], BodyType: bodyType}
			r, err := client.Route(ctx, tenant, tool, call)
			if err != nil {
				return err
			}
			if *asJSON {
				err = p.printJSON(r)
			} else {
				err = p.printRoute(tenant, call, r)
			}
			if err == nil && !r.Allowed {
				err = &failure{code: exitRefused, text: "the call would be refused"}
			}
			return err
		})
	cmd.Long = cmd.Short + `.

PATH is what follows the tool's resource, with the query if there is one, as its bytes would come: /v1/refunds/7?page=2.
No call is made. The exit code is 0 if a rule allows the call to those who have the scope that it names, and 1 if not.`
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().StringVar(&bodyType, "body-type", "", "Content-Type of a body (default: the call has none)")
	return cmd
}

// printRoute writes the verdict, who gets tokens for the call, and what is put on it.
func (p *program) printRoute(tenant string, call operator.Call, r *operator.Route) error {
	verdict := "refused: " + r.Reason
	if r.Allowed {
		verdict = "allowed to tokens with the scope " + r.Scope
	}
	fmt.Fprintf(p.out, "%s\n", harmless(verdict))
	if !r.Allowed {
		fmt.Fprintf(p.out, "%s\n", harmless(r.Detail))
		if hint := hintFor(r.Reason); hint != "" {
			fmt.Fprintf(p.out, "%s\n", strings.ReplaceAll(hint, "TENANT", tenant))
		}
	}
	if r.Rule == nil {
		return nil
	}
	fmt.Fprintf(p.out, "\nrule       allow[%d]: %s of %s\naction     %s\ncalled at  %s%s\nbody       %s\n\n", r.Rule.Index,
		harmless(strings.Join(r.Rule.Methods, ", ")), harmless(r.Rule.Path), harmless(r.Rule.Action), harmless(r.Resource),
		harmless(call.Path), bodyOf(r.Rule))
	if len(r.Access) == 0 {
		fmt.Fprintf(p.out, "No policy gives anybody the scope.\n\n")
	} else if err := show(p, false, r.Access, "POLICY CLIENTS FOR HOW", accessRow); err != nil {
		return err
	} else {
		fmt.Fprintln(p.out)
	}
	return show(p, false, r.Secrets, "SECRET PUT_IN STATE", func(s operator.RouteSecret) []string {
		state := "ready"
		if s.Missing != "" {
			state = s.Missing
		}
		return []string{s.Secret, strings.TrimSpace(s.In + " " + s.Name), state}
	})
}

func bodyOf(r *operator.RouteRule) string {
	switch {
	case r.MaxBody == 0:
		return "none"
	case r.BodyJSON:
		return fmt.Sprintf("at most %d bytes, with the values that the rule asks for", r.MaxBody)
	}
	return fmt.Sprintf("at most %d bytes", r.MaxBody)
}

// accessRow says of a policy who gets a token by it, and how.
func accessRow(x operator.RouteAccess) []string {
	who := make([]string, 0, len(x.Clients)+len(x.Delegates))
	for _, id := range x.Clients {
		who = append(who, clientOf(id, "", x.Disabled))
	}
	for _, id := range x.Delegates {
		who = append(who, clientOf(id, "delegate", x.Disabled))
	}
	whom := "itself"
	if x.OnBehalf {
		whom = "others"
	}
	var how []string
	if x.Default {
		how = append(how, "by default")
	}
	if len(x.From) > 0 {
		how = append(how, "for a token with "+strings.Join(x.From, " or "))
	}
	if x.Condition != "" {
		how = append(how, "if "+x.Condition)
	}
	return []string{x.Policy, strings.Join(who, ", "), whom, strings.Join(how, ", ")}
}

func clientOf(id, as string, disabled []string) string {
	notes := []string{as}
	if slices.Contains(disabled, id) {
		notes = append(notes, "disabled")
	}
	if text := strings.TrimPrefix(strings.Join(notes, ", "), ", "); text != "" {
		return id + " (" + text + ")"
	}
	return id
}
