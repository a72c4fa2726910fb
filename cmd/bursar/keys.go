package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/keys"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "Manage the keys of tenants: those that sign, those of shims, and the master key",
		p.keysListCommand(), p.keysRotateCommand(), p.keysRevokeCommand(), p.keysShimCommand(), p.keysRewrapCommand())
}

func (p *program) keysListCommand() *cobra.Command {
	return p.onKeys("list (TENANT | --platform)", "List the keys, without their private parts", 0,
		func(ctx context.Context, c *operator.Client, slug string, _ []string) ([]keyLine, []string, error) {
			var lines []keyLine
			if slug != "" {
				all, err := c.Keys(ctx, slug)
				if err != nil {
					return nil, nil, err
				}
				lines = ofTokens(all)
			}
			all, err := keysOf(c, slug).list(ctx)
			return append(lines, ofLog(all)...), nil, err
		})
}

func (p *program) keysRotateCommand() *cobra.Command {
	var alg string
	var log bool
	cmd := p.onKeys("rotate (TENANT [--alg ALG] | TENANT --log | TENANT --vault | --platform)",
		"Let the next key sign, or seal the secrets", 0,
		func(ctx context.Context, c *operator.Client, slug string, _ []string) ([]keyLine, []string, error) {
			if log || slug == "" {
				if alg != "" {
					return nil, nil, usage("the keys of a log have one algorithm; leave out --alg")
				}
				all, err := keysOf(c, slug).rotate(ctx)
				return ofLog(all), overlapping(all), err
			}
			before, err := c.Keys(ctx, slug)
			if err != nil {
				return nil, nil, err
			}
			after, err := c.RotateKeys(ctx, slug, alg)
			return ofTokens(after), waiting(before, after, alg), err
		})
	cmd.Flags().BoolVar(&log, "log", false, "the keys of the log, and not those of tokens")
	cmd.Flags().StringVar(&alg, "alg", "", "ES256, RS256 or EdDSA (default: every algorithm that the tenant has)")
	return p.orVault(cmd)
}

func (p *program) keysRevokeCommand() *cobra.Command {
	var now, log bool
	cmd := p.onKeys("revoke (--now TENANT | --log TENANT | --platform) KID",
		"End a key: one of tokens, and with it every token that it signed, or one of the log", 1,
		func(ctx context.Context, c *operator.Client, slug string, rest []string) ([]keyLine, []string, error) {
			kid := rest[0]
			if !now && !log && slug != "" {
				return nil, nil, usage("every token that the key signed is refused at once; confirm with --now, "+
					"or give --log for a key of the log", `to replace a key without harm, use "bursar keys rotate"`)
			}
			if !log && slug != "" {
				keys, err := c.RevokeKey(ctx, slug, kid)
				if problem, ok := errors.AsType[*operator.Problem](err); !ok || problem.Code() != operator.CodeNotFound {
					return ofTokens(keys), []string{"ended " + kid + ": every token that it signed is inactive; checkers that " +
						"verify offline refuse them when they fetch the keys again, within 5 minutes"}, err
				}
			}
			all, err := keysOf(c, slug).revoke(ctx, kid)
			return ofLog(all), []string{"ended " + kid + ": what it signed before stays good; what it seems to have signed " +
				"from now on is forged"}, err
		})
	cmd.Flags().BoolVar(&now, "now", false, "confirm that every token is refused that the key signed")
	cmd.Flags().BoolVar(&log, "log", false, "a key of the log, and none of tokens")
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

// onKeys returns a command that ends in a list of keys, and notes about them. It takes a tenant or --platform, and more
// arguments behind.
func (p *program) onKeys(use, short string, more int,
	do func(ctx context.Context, c *operator.Client, slug string, rest []string) ([]keyLine, []string, error),
) *cobra.Command {
	var conn *connection
	var asJSON *bool
	var one func([]string) (string, error)
	cmd := command(use, short, cobra.RangeArgs(more, more+1), func(ctx context.Context, args []string) error {
		named := len(args) - more
		slug, err := one(args[:named])
		if err != nil {
			return err
		}
		client, err := conn.open()
		if err != nil {
			return err
		}
		list, notes, err := do(ctx, client, slug, args[named:])
		if err != nil {
			return err
		}
		err = show(p, *asJSON, list, "KEY USE ALG STATE SINCE UNTIL", func(k keyLine) []string {
			return []string{k.KeyID, k.Use, k.Alg, string(k.State), stamp(k.Since), stamp(k.Until)}
		})
		for _, note := range notes {
			if err == nil && !*asJSON {
				_, err = fmt.Fprintln(p.out, harmless(note))
			}
		}
		return err
	})
	conn, asJSON, one = p.connect(cmd), jsonFlag(cmd), ofOneLog(cmd)
	return cmd
}
