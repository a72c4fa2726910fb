package main

import (
	"cmp"
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) cutoffCommand() *cobra.Command {
	return group("cutoff", "Look at what is revoked", p.cutoffListCommand())
}

func (p *program) cutoffListCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("list TENANT", "List what is revoked, until nothing that it hits can be alive", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			cutoffs, err := client.Cutoffs(ctx, args[0])
			if err != nil {
				return err
			}
			return show(p, *asJSON, cutoffs, "KIND VALUE REVOKED DISABLED UNTIL", func(c operator.Cutoff) []string {
				until := stamp(c.Until)
				if c.Disabled {
					until = "enabled"
				}
				value := cmp.Or(c.Value, "all") // of the tenant
				return []string{string(c.Kind), value, stamp(c.At), strconv.FormatBool(c.Disabled), until}
			})
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}
