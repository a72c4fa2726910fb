package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
)

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
		Use struct {
			Phase    string   `json:"phase"`
			Secrets  []string `json:"secrets"`
			Method   string   `json:"method"`
			Rule     string   `json:"rule"`
			Status   int      `json:"status"`
			Scrubbed int      `json:"scrubbed"`
		} `json:"use"`
		Secret struct {
			Version     int    `json:"version"`
			State       string `json:"state"`
			Fingerprint string `json:"fingerprint"`
			Name        string `json:"name"`
		} `json:"secret"`
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

var outcomeColors = map[string]string{"allowed": green, "denied": yellow, "error": red}

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
		if b.Secret.Name != "" {
			b.Change.Object, b.Change.ID = "secret", b.Secret.Name
		}
		version := b.Server.Version + number(b.Secret.Version)
		line := fmt.Sprintf("%6d  %s  %-16s  ", e.Index, stamp(time.Unix(r.Issued, 0)), name)
		outcome, rest := fmt.Sprintf("%-7s", b.Outcome), ""
		for _, f := range []struct{ label, value string }{
			{"phase", b.Use.Phase}, {"reason", b.Reason}, {"client", b.ClientID}, {"tool", b.Tool},
			{"actions", strings.Join(b.Actions, ",")},
			{"requested", strings.Join(b.Asked, ",")},
			{"method", b.Use.Method}, {"rule", b.Use.Rule}, {"secret", strings.Join(b.Use.Secrets, ",")},
			{"status", number(b.Use.Status)}, {"scrubbed", number(b.Use.Scrubbed)},
			{"jti", b.Token.JTI}, {"decision", b.Decision}, {b.Change.Object, b.Change.ID}, {b.Cutoff.Kind, b.Cutoff.Value},
			{"cause", b.Cutoff.Cause}, {"key", b.LogKey.KeyID}, {"use", b.LogKey.Use}, {"action", b.LogKey.Action},
			{"version", version}, {"state", b.Secret.State}, {"fingerprint", b.Secret.Fingerprint},
			{"by", b.Operator.ID}, {"role", b.Operator.Role}, {"address", b.Request.IP},
		} {
			if f.value != "" {
				rest += "  " + f.label + "=" + f.value
			}
		}
		if b.Count > 0 {
			rest += fmt.Sprintf("  count=%d", b.Count)
		}
		if color := outcomeColors[b.Outcome]; p.outColor && color != "" {
			line = harmless(line) + p.paint(color, outcome) + harmless(rest)
		} else {
			line = harmless(line + outcome + rest)
		}
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
