package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/keys"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "Manage the signing keys of a tenant",
		p.keysListCommand(), p.keysRotateCommand(), p.keysRevokeCommand())
}

func (p *program) keysListCommand() *cobra.Command {
	return p.onKeys("list TENANT", "List the keys, without their private parts", cobra.ExactArgs(1),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, []string, error) {
			keys, err := c.Keys(ctx, args[0])
			return keys, nil, err
		})
}

func (p *program) keysRotateCommand() *cobra.Command {
	var alg string
	cmd := p.onKeys("rotate TENANT [--alg ALG]", "Let the next key sign", cobra.ExactArgs(1),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, []string, error) {
			before, err := c.Keys(ctx, args[0])
			if err != nil {
				return nil, nil, err
			}
			after, err := c.RotateKeys(ctx, args[0], alg)
			return after, waiting(before, after, alg), err
		})
	cmd.Flags().StringVar(&alg, "alg", "", "ES256, RS256 or EdDSA (default: every algorithm that the tenant has)")
	return cmd
}

func (p *program) keysRevokeCommand() *cobra.Command {
	var now bool
	cmd := p.onKeys("revoke --now TENANT KID", "End a key, and with it every token that it signed", cobra.ExactArgs(2),
		func(ctx context.Context, c *operator.Client, args []string) ([]operator.Key, []string, error) {
			if !now {
				return nil, nil, usage("every token that the key signed is refused at once; confirm with --now",
					`to replace a key without harm, use "bursar keys rotate"`)
			}
			keys, err := c.RevokeKey(ctx, args[0], args[1])
			return keys, []string{"ended " + args[1] + ": every token that it signed is inactive; checkers that verify " +
				"offline refuse them when they fetch the keys again, within 5 minutes"}, err
		})
	cmd.Flags().BoolVar(&now, "now", false, "confirm")
	return cmd
}

// waiting says of each key that signs on after a rotation when the next one takes over.
func waiting(before, after []operator.Key, alg string) (notes []string) {
	for _, now := range after {
		same := func(k operator.Key) bool { return k.KeyID == now.KeyID && k.State == now.State }
		if now.State != operator.KeyActive || alg != "" && now.Alg != alg || !slices.ContainsFunc(before, same) {
			continue
		}
		var next *operator.Key // the oldest: it is the one that was to sign already
		for i, k := range after {
			if k.Alg == now.Alg && k.State == operator.KeyNext && (next == nil || k.Created.Before(next.Created)) {
				next = &after[i]
			}
		}
		if next != nil {
			notes = append(notes, fmt.Sprintf("%s: %s signs from %s, when every checker can know it; until then %s signs on",
				now.Alg, next.KeyID, stamp(next.Created.Add(keys.JWKSMaxAge+keys.Propagation)), now.KeyID))
		}
	}
	return notes
}

// onKeys returns a command that ends in a list of keys, and notes about them.
func (p *program) onKeys(use, short string, args cobra.PositionalArgs,
	do func(context.Context, *operator.Client, []string) ([]operator.Key, []string, error)) *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command(use, short, args, func(ctx context.Context, args []string) error {
		client, err := conn.open()
		if err != nil {
			return err
		}
		list, notes, err := do(ctx, client, args)
		if err != nil {
			return err
		}
		err = show(p, *asJSON, list, "KEY ALG STATE SINCE UNTIL", func(k operator.Key) []string {
			return []string{k.KeyID, k.Alg, string(k.State), stamp(k.Since), stamp(k.Until)}
		})
		for _, note := range notes {
			if err == nil && !*asJSON {
				_, err = fmt.Fprintln(p.out, harmless(note))
			}
		}
		return err
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}
