package exchange

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
)

// Line is one step of a decision as an operator reads it: what it had, what it left, and by what.
type Line struct {
	Step    string
	By      string   // a rule, a method, a limit: whatever narrowed here; empty if nothing did
	Had     []string // before the step; empty where that says nothing
	Left    []string // after it; nothing if it refused
	Refused string   // the reason, if the decision ended here, or if the rule in By did not pass: the step of the policy
}

// Explain takes the record of an exchange apart into its steps, in order, up to the one that refused. It says nothing
// that the record does not, so an old decision is explained by what held then.
func Explain(b audit.Body) []Line {
	if b.Reason == audit.NotReleased {
		b.Step = stepRecord // where the log itself says so, it does not know the steps
	}
	var lines []Line
	for _, step := range []struct {
		name    string
		explain func(*audit.Body) []Line
	}{
		{stepClient, explainClient}, {stepSubject, explainSubject}, {stepTarget, explainTarget}, {stepScope, explainScope},
		{stepPolicy, explainPolicy}, {stepLifetime, explainLifetime}, {stepMint, explainMint}, {stepRecord, explainRecord},
	} {
		ends := b.Step == step.name
		found := step.explain(&b)
		if ends {
			last := Line{Had: had(found), Refused: b.Reason}
			found = append(slices.DeleteFunc(found, func(l Line) bool { return l.Refused == "" }), last)
		}
		for i := range found {
			found[i].Step = step.name
		}
		lines = append(lines, found...)
		if ends {
			break
		}
	}
	return lines
}

// had is what the last of a step's lines began with.
func had(lines []Line) []string {
	if len(lines) == 0 {
		return nil
	}
	return lines[len(lines)-1].Had
}

func explainClient(b *audit.Body) []Line { return []Line{{By: b.Method, Left: some(b.ClientID)}} }

// explainSubject tells the chain from whom the token is about to who asks.
func explainSubject(b *audit.Body) []Line {
	chain := slices.Clone(b.Actor.Chain)
	slices.Reverse(chain)
	line := Line{Had: some(b.Subject.Issuer), Left: chain}
	if len(b.Lineage) > 0 {
		line.By = fmt.Sprintf("a token of ours, %d from its root", len(b.Lineage))
	}
	return []Line{line}
}

func explainTarget(b *audit.Body) []Line { return []Line{{Had: some(b.Resource), Left: some(b.Tool)}} }

func explainScope(b *audit.Body) []Line {
	line := Line{Had: b.Requested, Left: b.Requested}
	switch {
	case b.Reason == "scope.malformed" || b.Reason == "scope.unknown": // of a request in earnest the words are not kept
		line.Left = nil
		if len(b.Requested) == 0 {
			line.Had = []string{"(no scope of the tool)"}
		}
	case len(b.Requested) == 0:
		line.Had, line.Left = []string{"(no scope)"}, []string{"(the defaults)"}
	}
	if len(b.Within) > 0 {
		line.By = "within " + strings.Join(b.Within, " ")
	}
	return []Line{line}
}

// explainPolicy tells of each rule that was considered what became of it, and then what all of them left.
func explainPolicy(b *audit.Body) []Line {
	var lines []Line
	for _, over := range b.Policy.Considered {
		rule, denial, _ := strings.Cut(over, ":")
		lines = append(lines, Line{By: rule, Refused: denial})
	}
	had := b.Requested
	if len(had) == 0 {
		had = []string{"(the defaults)"}
	}
	return append(lines, Line{By: strings.Join(b.Policy.Rules, " "), Had: had, Left: b.Actions})
}

// explainLifetime tells everything that bounds the life of the token; the first to end counts.
func explainLifetime(b *audit.Body) []Line {
	var bounds []string
	for _, l := range []struct {
		name  string
		value int64
	}{{"policy", b.Limits.Policy}, {"tool", b.Limits.Tool}} {
		if l.value != 0 {
			bounds = append(bounds, l.name+" "+(time.Duration(l.value)*time.Second).String())
		}
	}
	for _, l := range []struct {
		name  string
		value int64
	}{{"subject", b.Limits.Subject}, {"actor", b.Limits.Actor}, {"assertion", b.Limits.Assertion}} {
		if l.value != 0 {
			bounds = append(bounds, l.name+" until "+clock(l.value))
		}
	}
	line := Line{Had: bounds}
	if b.Token.Expiry != 0 {
		line.Left = []string{"until " + clock(b.Token.Expiry)}
	}
	return []Line{line}
}

func explainMint(b *audit.Body) []Line {
	if b.Token.JTI == "" {
		return nil
	}
	return []Line{{Left: []string{b.Token.JTI}}}
}

func explainRecord(*audit.Body) []Line { return nil }

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
