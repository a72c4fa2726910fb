package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "Manage the signing keys of a tenant",
		p.keysListCommand(), p.keysRotateCommand(), p.keysRevokeCommand())
}

func (p *program) keysListCommand() *cobra.Command {
	return p.onKeys("list TENANT", "List the keys, without their private parts", cobra.ExactArgs(1),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, error) {
			return c.Keys(ctx, args[0])
		})
}

func (p *program) keysRotateCommand() *cobra.Command {
	var alg string
	cmd := p.onKeys("rotate TENANT [--alg ALG]", "Let the next key sign", cobra.ExactArgs(1),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, error) {
			return c.RotateKeys(ctx, args[0], alg)
		})
	cmd.Flags().StringVar(&alg, "alg", "", "ES256, RS256 or EdDSA (default: every algorithm that the tenant has)")
	return cmd
}

func (p *program) keysRevokeCommand() *cobra.Command {
	var now bool
	cmd := p.onKeys("revoke --now TENANT KID", "End a key, and with it every token that it signed", cobra.ExactArgs(2),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, error) {
			if !now {
				return nil, usage("every token that the key signed is refused at once; confirm with --now",
					`to replace a key without harm, use "bursar keys rotate"`)
			}
			return c.RevokeKey(ctx, args[0], args[1])
		})
	cmd.Flags().BoolVar(&now, "now", false, "confirm")
	return cmd
}

// onKeys returns a command that ends in a list of keys.
func (p *program) onKeys(use, short string, args cobra.PositionalArgs,
	do func(context.Context, *operator.Client, []string) ([]operator.Key, error)) *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command(use, short, args, func(ctx context.Context, args []string) error {
		client, err := conn.open()
		if err != nil {
			return err
		}
		keys, err := do(ctx, client, args)
		if err != nil {
			return err
		}
		return show(p, *asJSON, keys, "KEY ALG STATE SINCE UNTIL", func(k operator.Key) []string {
			return []string{k.KeyID, k.Alg, string(k.State), stamp(k.Since), stamp(k.Until)}
		})
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}
