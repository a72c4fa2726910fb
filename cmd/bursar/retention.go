package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

// ofOneLog adds --platform to a command about one log, and returns a function that reads which one: the slug of a
// tenant, "" for the platform's.
func ofOneLog(cmd *cobra.Command) func(args []string) (slug string, err error) {
	platform := cmd.Flags().Bool("platform", false, "the platform's log")
	return func(args []string) (string, error) {
		switch {
		case *platform == (len(args) == 1):
			return "", usage("name one log: a tenant, or --platform")
		case *platform:
			return "", nil
		}
		return args[0], nil
	}
}

func (p *program) auditAcceptLossCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var one func([]string) (string, error)
	cmd := command("accept-loss (TENANT | --platform)",
		"Let a log go on whose store lost or changed what was signed, under another origin", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			slug, err := one(args)
			if err != nil {
				return err
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			accept := client.AcceptPlatformLoss
			if slug != "" {
				accept = func(ctx context.Context) (*operator.Loss, error) { return client.AcceptLoss(ctx, slug) }
			}
			loss, err := accept(ctx)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return p.printJSON(loss)
			}
			return p.printLoss(loss)
		})
	conn, asJSON, one = p.connect(cmd), jsonFlag(cmd), ofOneLog(cmd)
	return cmd
}

func (p *program) printLoss(l *operator.Loss) error {
	lost := fmt.Sprintf("lost: the entries from %d to %d; the log has kept the %d before them", l.Kept, l.Last.Size-1,
		l.Kept)
	switch {
	case l.Last.Epoch == 0:
		lost = "lost: nobody knows what; no earlier head of the log is known"
	case l.Kept >= l.Last.Size:
		lost = fmt.Sprintf("lost: what was signed of the first %d entries; others stand in their place", l.Last.Size)
	}
	lines := []string{
		"found: " + l.Reason, lost,
		fmt.Sprintf("recorded: as entry %d (log.epoch)", l.Kept),
		fmt.Sprintf("the log goes on as %s, from %d entries; tokens are issued again", l.Now.Origin, l.Now.Size),
	}
	if l.Last.Checkpoint != "" {
		lines = append(lines, "keep as evidence: exports that were made before, and this checkpoint, the last one that was "+
			"signed:", "")
		for line := range strings.Lines(l.Last.Checkpoint) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(p.out, harmless(line)); err != nil {
			return err
		}
	}
	return nil
}
