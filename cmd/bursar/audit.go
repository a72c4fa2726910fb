package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) auditCommand() *cobra.Command {
	return group("audit", "Read the log, copy it, verify it, and look after it",
		p.auditTailCommand(), p.auditExportCommand(), p.auditVerifyCommand(), p.auditAcceptLossCommand())
}

// reading reads events of one log.
type reading func(context.Context, operator.EventQuery) (*operator.Events, error)

func (p *program) auditTailCommand() *cobra.Command {
	var conn *connection
	var follow, platform bool
	var count int
	var asJSON *bool
	cmd := command("tail (TENANT | --platform) [-f] [-n COUNT]", "Print the newest events of a log", cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) error {
			if platform == (len(args) == 1) {
				return usage("name one log: a tenant, or --platform")
			}
			if count < 0 || count > operator.MaxEvents {
				return usage(fmt.Sprintf("the count must be 0 to %d", operator.MaxEvents))
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			read := reading(client.PlatformEvents)
			if !platform {
				read = func(ctx context.Context, q operator.EventQuery) (*operator.Events, error) {
					return client.Events(ctx, args[0], q)
				}
			}
			write := p.printEvent
			if *asJSON {
				write = p.printEventJSON
			}
			return tail(ctx, read, count, follow, write)
		})
	conn = p.connect(cmd)
	asJSON = cmd.Flags().Bool("json", false, "print one JSON object a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay and print new events")
	cmd.Flags().IntVarP(&count, "lines", "n", 10, "how many of the newest events to print first")
	cmd.Flags().BoolVar(&platform, "platform", false, "the platform's log")
	return cmd
}

// tail prints the newest count events, and new ones until the context ends if it is to follow. While it follows, it
// waits out a server that is away: no event is skipped by that, since it asks again from where it was.
func tail(ctx context.Context, read reading, count int, follow bool, write func(operator.Event) error) error {
	q := operator.EventQuery{After: -int64(max(count, 1)), Limit: max(count, 1)}
	pause := time.Second
	for started := false; ; {
		page, err := read(ctx, q)
		switch {
		case ctx.Err() != nil && started:
			return nil // following ends by being interrupted
		case err != nil && started && explain(&ran{err}).code == exitUnknown:
			if !wait(ctx, pause) {
				return nil
			}
			pause = min(2*pause, 10*time.Second)
			continue
		case err != nil:
			return err
		}
		pause = time.Second
		if !started && count == 0 {
			page.Events = nil
		}
		for _, e := range page.Events {
			if err := write(e); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		started = true
		q = operator.EventQuery{After: page.Next, Limit: operator.MaxEvents, Wait: operator.MaxWait}
	}
}

// wait reports whether d passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (p *program) printEventJSON(e operator.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.out, "%s\n", line)
	return err
}

// recorded is what a line of the log shows.
type recorded struct {
	Issued int64 `json:"iat"`
	Events map[string]struct {
		Outcome  string   `json:"outcome"`
		Reason   string   `json:"reason"`
		ClientID string   `json:"client_id"`
		Tool     string   `json:"tool"`
		Actions  []string `json:"actions"`
		Asked    []string `json:"requested"`
		Count    int64    `json:"count"`
		Decision string   `json:"decision_id"`
		Token    struct {
			JTI string `json:"jti"`
		} `json:"token"`
		Change struct {
			Object string `json:"object"`
			ID     string `json:"id"`
		} `json:"change"`
		Cutoff struct {
			Kind  string `json:"kind"`
			Value string `json:"value"`
			Cause string `json:"cause"`
		} `json:"cutoff"`
		LogKey struct {
			Use    string `json:"use"`
			Action string `json:"action"`
			KeyID  string `json:"kid"`
		} `json:"log_key"`
		Server struct {
			Version string `json:"version"`
		} `json:"server"`
		Operator struct {
			ID   string `json:"id"`
			Role string `json:"role"`
		} `json:"operator"`
		Request struct {
			IP string `json:"ip"`
		} `json:"request"`
	} `json:"events"`
}

func (p *program) printEvent(e operator.Event) error {
	var r recorded
	if err := json.Unmarshal(e.Claims, &r); err != nil || len(r.Events) != 1 {
		return errors.New("an event is not one that this version can show; use --json")
	}
	for uri, b := range r.Events {
		name := strings.TrimSuffix(strings.TrimPrefix(uri, "urn:bursar:event:"), ":v1")
		if b.Outcome == "allowed" {
			b.Asked = nil // it is what was granted
		}
		if b.Cutoff.Kind == string(operator.CutoffTenant) {
			b.Cutoff.Value = "all" // it has none
		}
		if name != "deny.flood" {
			b.Request.IP = "" // of callers whom the line names
		}
		line := fmt.Sprintf("%6d  %s  %-16s  %-7s", e.Index, stamp(time.Unix(r.Issued, 0)), name, b.Outcome)
		for _, f := range []struct{ label, value string }{
			{"reason", b.Reason}, {"client", b.ClientID}, {"tool", b.Tool}, {"actions", strings.Join(b.Actions, ",")},
			{"requested", strings.Join(b.Asked, ",")},
			{"jti", b.Token.JTI}, {"decision", b.Decision}, {b.Change.Object, b.Change.ID}, {b.Cutoff.Kind, b.Cutoff.Value},
			{"cause", b.Cutoff.Cause}, {"key", b.LogKey.KeyID}, {"use", b.LogKey.Use}, {"action", b.LogKey.Action},
			{"version", b.Server.Version},
			{"by", b.Operator.ID}, {"role", b.Operator.Role}, {"address", b.Request.IP},
		} {
			if f.value != "" {
				line += "  " + f.label + "=" + f.value
			}
		}
		if b.Count > 0 {
			line += fmt.Sprintf("  count=%d", b.Count)
		}
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(harmless(line), " ")); err != nil {
			return err
		}
	}
	return nil
}
