package findings

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Text writes results one by one as they come, and then the report in a few lines, for a terminal.
type Text struct {
	W      io.Writer
	Color  bool
	Strict bool
}

var colors = map[string]string{"FAIL": "31;1", "NOTE": "33", "ERROR": "35", "pass": "32", "skip": "90", "n/a": "90"}

func (t *Text) label(r Result) string {
	word := map[Verdict]string{Pass: "pass", Fail: "FAIL", Skip: "skip", NotApplicable: "n/a", Error: "ERROR"}[r.Verdict]
	if r.Verdict == Fail && r.Class == Profile && !t.Strict {
		word = "NOTE"
	}
	padded := fmt.Sprintf("%-5s", word)
	if t.Color {
		return "\x1b[" + colors[word] + "m" + padded + "\x1b[0m"
	}
	return padded
}

// Line writes one result in a line, and what is wrong below it.
func (t *Text) Line(r Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-24s %s\n", t.label(r), r.ID, r.Title)
	switch r.Verdict {
	case Skip, NotApplicable, Error:
		fmt.Fprintf(&b, "       %s\n", harmless(r.Reason))
	case Fail:
		fmt.Fprintf(&b, "       %s, %s\n", r.Severity, r.Basis)
		for _, try := range r.Tries {
			if try.Verdict == Fail {
				fmt.Fprintf(&b, "       - %s: expected %s, got %s\n", harmless(try.Sent), try.Expected, harmless(try.Got))
			}
		}
		fmt.Fprintf(&b, "       %s\n", r.Advice)
	}
	_, err := io.WriteString(t.W, b.String())
	return err
}

// maxCauses is how many reasons a terminal is told at the end.
const maxCauses = 8

// Summary writes the report in a few lines. The last ones say what was not run, so that nobody takes it for passed.
func (t *Text) Summary(r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d of %d checks ran at %s, with %d requests in %.1f s: %d passed, %d failed", r.Ran(),
		len(r.Results), harmless(r.Endpoint), r.Requests, r.Seconds, r.Counts[Pass], r.Findings)
	if r.Observed > 0 {
		fmt.Fprintf(&b, ", %d noted", r.Observed)
	}
	fmt.Fprintf(&b, ", %d could not tell\n", r.Counts[Error])
	if skipped := r.Counts[Skip]; skipped > 0 {
		fmt.Fprintf(&b, "%d did not run, because the profile does not offer what they need:\n", skipped)
		causes := r.Causes(Skip)
		most := causes[:min(len(causes), maxCauses)]
		for _, c := range most {
			fmt.Fprintf(&b, "%6d  %s\n", c.N, harmless(c.Reason))
			skipped -= c.N
		}
		if skipped > 0 {
			fmt.Fprintf(&b, "%6d  for %d other reasons, which stand above\n", skipped, len(causes)-len(most))
		}
	}
	if absent := r.Counts[NotApplicable]; absent > 0 {
		fmt.Fprintf(&b, "%d did not run, because the server does not have what they are about\n", absent)
	}
	_, err := io.WriteString(t.W, b.String())
	return err
}

// harmless replaces what a terminal would obey or hide.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
}
