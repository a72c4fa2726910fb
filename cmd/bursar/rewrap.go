package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) keysRewrapCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var all bool
	cmd := command("rewrap [--all]", "Have the server's master_key seal what previous_master_keys sealed", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			done, err := rewrapAll(ctx, client, all)
			if err != nil {
				return err
			}
			if *asJSON {
				if err := p.printJSON(done); err != nil {
					return err
				}
			}
			return p.rewrapped(done, *asJSON)
		})
	cmd.Long = cmd.Short + `.

To replace the master key: put the new key into master_key and the old one into previous_master_keys of every server's
bursar.yaml, restart them, one after the other, and run this. It may be interrupted at any point and run again. When it
says that the old key is not needed any more, take it out of every bursar.yaml; keep it as long as you keep backups that
were made before.`
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "what master_key itself sealed, too: after it was renewed where it is kept")
	return cmd
}

// rewrapping is what keys rewrap --json prints.
type rewrapping struct {
	Master  string                   `json:"master"`
	Looked  int                      `json:"looked"`
	Changed int                      `json:"changed"`
	Failed  []operator.RewrapFailure `json:"failed"`
	// Done: a look from the beginning to the end found nothing that another master key seals.
	Done bool `json:"done"`
}

// maxPasses bounds how often it is begun again because there was something to do.
const maxPasses = 4

// rewrapAll goes from the beginning to the end until nothing is left to do: a server that was not restarted yet may
// have sealed something by the old key meanwhile.
func rewrapAll(ctx context.Context, c *operator.Client, all bool) (done rewrapping, err error) {
	for range maxPasses {
		changed := 0
		done.Looked, done.Failed = 0, []operator.RewrapFailure{}
		r := operator.RewrapRequest{All: all}
		for {
			part, err := c.Rewrap(ctx, r)
			if err != nil {
				return done, fmt.Errorf("%w; %s sealed anew so far, and running it again goes on", err,
					plural(int64(done.Changed), "tenant"))
			}
			done.Master, done.Looked, changed = part.Master, done.Looked+part.Looked, changed+part.Changed
			done.Changed += part.Changed
			done.Failed = append(done.Failed, part.Failed...)
			if part.Next == "" {
				break
			}
			r.After = part.Next
		}
		all = false
		if done.Done = changed == 0 && len(done.Failed) == 0; changed == 0 {
			break
		}
	}
	return done, nil
}

// rewrapped says what is left to do.
func (p *program) rewrapped(done rewrapping, quiet bool) error {
	if !done.Done {
		f := &failure{code: exitRefused, text: "the previous master keys are still needed",
			hints: []string{"run it again; servers that were not restarted yet may go on sealing by the old key"}}
		for _, x := range done.Failed {
			f.details = append(f.details, x.Tenant+": "+x.Why)
		}
		return f
	}
	if quiet {
		return nil
	}
	_, err := fmt.Fprintf(p.out, "sealed anew: the keys of %d of %d logs and tenants; all are sealed by master key %s\n"+
		"no other master key is needed: take previous_master_keys out of every server's bursar.yaml, and keep the old "+
		"key as long as backups that were made before\n", done.Changed, done.Looked, harmless(done.Master))
	return err
}
