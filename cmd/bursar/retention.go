package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

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

// onOneLog returns a command that does something with one log of a server, a tenant's or, for the slug "", the
// platform's.
func (p *program) onOneLog(use, short string,
	do func(ctx context.Context, c *operator.Client, slug string, asJSON bool) error) *cobra.Command {
	var choice *logChoice
	var asJSON *bool
	cmd := command(use, short, cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		slug, rest, err := choice.name(args)
		if err == nil && len(rest) > 0 {
			err = usage("name one log: a tenant, or --platform")
		}
		if err != nil {
			return err
		}
		client, err := choice.conn.open()
		if err != nil {
			return err
		}
		return do(ctx, client, slug, *asJSON)
	})
	choice, asJSON = p.chooseLog(cmd), jsonFlag(cmd)
	return cmd
}

func (p *program) auditAcceptLossCommand() *cobra.Command {
	return p.onOneLog("accept-loss (TENANT | --platform)",
		"Let a log go on whose store lost or changed what was signed, under another origin",
		func(ctx context.Context, c *operator.Client, slug string, asJSON bool) error {
			accept := c.AcceptPlatformLoss
			if slug != "" {
				accept = func(ctx context.Context) (*operator.Loss, error) { return c.AcceptLoss(ctx, slug) }
			}
			loss, err := accept(ctx)
			switch {
			case err != nil:
				return err
			case asJSON:
				return p.printJSON(loss)
			}
			return p.printLoss(loss)
		})
}

func (p *program) auditPruneCommand() *cobra.Command {
	var before string
	cmd := p.onOneLog("prune (TENANT | --platform) --before (TIME | INDEX)",
		"Drop the beginning of a log, after it was archived as the server is configured",
		func(ctx context.Context, c *operator.Client, slug string, asJSON bool) error {
			r, err := pruneRequest(before)
			if err != nil {
				return err
			}
			prune := c.PrunePlatformLog
			if slug != "" {
				prune = func(ctx context.Context, r operator.PruneRequest) (*operator.Pruned, error) {
					return c.PruneLog(ctx, slug, r)
				}
			}
			var left *operator.Pruned
			for last := int64(-1); left == nil || left.First > last; { // a call drops a part of what there is
				if left != nil {
					last = left.First
				}
				if left, err = prune(ctx, r); err != nil {
					return err
				}
			}
			if asJSON {
				return p.printJSON(left)
			}
			_, err = fmt.Fprintf(p.out, "the log begins with entry %d now; what the server may not drop yet, it has kept: the "+
				"newest part, and what a sink does not have\n", left.First)
			return err
		})
	cmd.Flags().StringVar(&before, "before", "", "a time such as 2026-01-31T00:00:00Z or 2026-01-31, "+
		"or the number of an entry")
	must(cmd.MarkFlagRequired("before"))
	return cmd
}

// pruneRequest reads what is to be dropped.
func pruneRequest(before string) (r operator.PruneRequest, err error) {
	if r.Index, err = strconv.ParseInt(before, 10, 64); err == nil && r.Index > 0 {
		return r, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if r.Before, err = time.Parse(layout, before); err == nil {
			return operator.PruneRequest{Before: r.Before}, nil
		}
	}
	return r, usage("--before must be a time such as 2026-01-31T00:00:00Z or 2026-01-31, or the number of an entry")
}

func (p *program) printLoss(l *operator.Loss) error {
	lost := fmt.Sprintf("lost: the entries from %d to %d of those that were signed; the %d before them are there",
		l.Kept, l.Last.Size-1, l.Kept)
	switch {
	case l.Last.Epoch == 0:
		lost = "lost: nobody knows what; no earlier head of the log is known"
	case l.Kept >= l.Last.Size:
		lost = "lost: events that no signed head covered yet, or what was signed was changed; what was found says which"
	}
	lines := []string{
		"found: " + l.Reason, lost,
		fmt.Sprintf("recorded: as entry %d (log.epoch)", l.Recorded),
		fmt.Sprintf("the log goes on as %s, from %d entries", l.Now.Origin, l.Now.Size),
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
