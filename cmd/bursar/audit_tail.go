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

func (p *program) auditTailCommand() *cobra.Command {
	var choice *logChoice
	var follow, uncovered bool
	var count int
	var asJSON *bool
	cmd := command("tail (TENANT | --platform) [-f] [-n COUNT]", "Print the newest events of a log", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			if count < 0 || count > operator.MaxEvents {
				return usage(fmt.Sprintf("the count must be 0 to %d", operator.MaxEvents))
			}
			log, _, err := choice.open(args, 0)
			if err != nil {
				return err
			}
			return p.tail(ctx, log, count, operator.StreamQuery{Follow: follow, Uncovered: uncovered}, *asJSON)
		})
	cmd.Long = cmd.Short + `.

Events are shown once a signed head of the log covers them, a fraction of a second after they are recorded: nobody can
take back one of those unseen. With -f it goes on until Ctrl-C, and waits out a server that is away.`
	choice = p.chooseLog(cmd)
	asJSON = cmd.Flags().Bool("json", false, "print one JSON object a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay and print new events")
	cmd.Flags().IntVarP(&count, "lines", "n", 10, "how many of the newest events to print first")
	cmd.Flags().BoolVar(&uncovered, "uncovered", false, "also what no signed head covers, as while no head can be signed")
	return cmd
}

// tail prints the newest count events, and those that come if it is to follow.
func (p *program) tail(ctx context.Context, log *operator.Log, count int, q operator.StreamQuery, asJSON bool) error {
	if count > 0 {
		q.After = -int64(count)
		return p.stream(ctx, log, q, asJSON)
	}
	end := log.Stream(operator.StreamQuery{After: -1, Uncovered: q.Uncovered}) // which tells where the log ends
	for _, err := range end.Events(ctx) {
		if err != nil {
			return atLog(err)
		}
	}
	if q.After = end.Next(); !q.Follow {
		return nil
	}
	return p.stream(ctx, log, q, asJSON)
}

// stream prints events of a log.
func (p *program) stream(ctx context.Context, log *operator.Log, q operator.StreamQuery, asJSON bool) error {
	write := p.printEvent
	if asJSON {
		write = p.printEventJSON
	}
	lost := false
	q.Lost = func(err error) {
		if !lost {
			p.say("note", yellow, err.Error()+"; it is asked again until it answers")
		}
		lost = true
	}
	for e, err := range log.Stream(q).Events(ctx) {
		switch {
		case err != nil && q.Follow && ctx.Err() != nil:
			return nil // following ends by being interrupted
		case err != nil:
			return uncoveredHint(atLog(err), q)
		}
		lost = false
		if err := write(e); err != nil {
			return err
		}
	}
	return nil
}

// uncoveredHint says what can be read while no head can be signed.
func uncoveredHint(err error, q operator.StreamQuery) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok || q.Uncovered || problem.Code() != operator.CodeUnavailable {
		return err
	}
	f := explainProblem(problem)
	f.hints = append(f.hints, "--uncovered shows what is recorded, although no head of the log covers it")
	return f
}

// filters are the flags of a search.
type filters struct {
	operator.StreamQuery
	since, until string
}

func (p *program) auditSearchCommand() *cobra.Command {
	var choice *logChoice
	var f filters
	var asJSON *bool
	cmd := command("search (TENANT | --platform) [--event NAME] [--outcome OUTCOME] …",
		"Print the events of a log that have all that is named", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return err
			}
			log, _, err := choice.open(args, 0)
			if err != nil {
				return err
			}
			return p.stream(ctx, log, q, *asJSON)
		})
	choice = p.chooseLog(cmd)
	asJSON = cmd.Flags().Bool("json", false, "print one JSON object a line")
	f.add(cmd)
	return cmd
}

func (f *filters) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.Events, "event", nil, "names, or what they begin with, such as token.exchange,admin.client")
	flags.StringVar(&f.Outcome, "outcome", "", "allowed, denied or error")
	flags.StringVar(&f.Client, "client", "", "client that asked, or was changed or revoked")
	flags.StringVar(&f.Tool, "tool", "", "tool, likewise")
	flags.StringVar(&f.JTI, "jti", "", "id of a token that the event is about, or of the event")
	flags.StringVar(&f.Decision, "decision", "", "id of a decision")
	flags.StringVar(&f.Txn, "run", "", "id of a run (txn)")
	flags.StringVar(&f.Subject, "subject", "", "who acted or for whom, such as client:ap-bot or corp-sso:alice")
	flags.StringVar(&f.since, "since", "", "a time such as 2026-01-02T03:04:05Z, or how long ago, such as 2h")
	flags.StringVar(&f.until, "until", "", "likewise")
	flags.Int64VarP(&f.Limit, "lines", "n", 0, "how many events to print at most, the oldest first (default: all)")
	flags.BoolVarP(&f.Follow, "follow", "f", false, "stay and print new events")
	flags.BoolVar(&f.Uncovered, "uncovered", false, "also what no signed head covers")
}

// query returns what is asked for.
func (f *filters) query(now time.Time) (q operator.StreamQuery, err error) {
	q = f.StreamQuery
	q.After = operator.All
	switch {
	case f.Outcome != "" && !slices.Contains([]string{"allowed", "denied", "error"}, f.Outcome):
		return q, usage("--outcome must be allowed, denied or error")
	case f.Limit < 0:
		return q, usage("the count must not be negative")
	case f.Follow && f.until != "":
		return q, usage("--until does not go with --follow, which has no end")
	}
	if q.Since, err = moment("since", f.since, now); err != nil {
		return q, err
	}
	q.Until, err = moment("until", f.until, now)
	return q, err
}

// moment reads a time, or how long ago it was; the zero time is none.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage("--" + flag + " must be a time such as 2026-01-02T03:04:05Z, or how long ago, such as 2h or 30m")
	}
	return at, nil
}
