package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// The colours of outcomes on a terminal.
const (
	green, yellow, red = "32", "33", "31"
)

// paint colours a text on standard output, if that may be coloured.
func (p *program) paint(color, text string) string {
	if !p.outColor {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// shownFindings bounds what is told of a log that was changed in many places.
const shownFindings = 20

// printReport says whether the log passed, what is wrong with it and where, and what was not looked at.
func (p *program) printReport(r *auditor.Report) error {
	var b strings.Builder
	verdict, color, text := verdictOf(r)
	fmt.Fprintf(&b, "%s: %s\n", p.paint(color, verdict), harmless(text))
	for i, f := range r.Findings {
		if i == shownFindings {
			fmt.Fprintf(&b, "\nand %s more, which --json lists\n", plural(int64(len(r.Findings)-i), "finding"))
			break
		}
		color := red
		if f.Severity == auditor.Warning {
			color = yellow
		}
		fmt.Fprintf(&b, "\n%s: %s (%s)\n  %s\n", p.paint(color, string(f.Severity)), told(f), f.Code, harmless(f.Message))
		for i, signed := range f.Evidence {
			fmt.Fprintf(&b, "  evidence: %s\n", []string{"the older checkpoint", "the checkpoint of the export"}[min(i, 1)])
			for line := range strings.Lines(signed) {
				b.WriteString(strings.TrimRight("    | "+harmless(strings.TrimSuffix(line, "\n")), " ") + "\n")
			}
		}
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "\nand %s that are not listed; what follows them was not looked at\n", plural(r.More, "finding"))
	}
	if r.Origin != "" {
		b.WriteString("\n" + facts(r))
	}
	if len(r.NotChecked) > 0 {
		b.WriteString("\nnot checked:\n")
	}
	for _, what := range r.NotChecked {
		fmt.Fprintf(&b, "- %s\n", harmless(what))
	}
	_, err := fmt.Fprint(p.out, b.String())
	return err
}

// verdictOf is the report in one line.
func verdictOf(r *auditor.Report) (verdict, color, text string) {
	first := r.FirstError()
	for i := range r.Findings {
		if r.Findings[i].Code == auditor.BadCheckpointSig { // then the rest means little
			first = &r.Findings[i]
		}
	}
	switch {
	case r.Checkpoint == "" && r.Entries == 0:
		return "could not tell", yellow, "there is no log to verify"
	case first != nil:
		text = told(*first)
		if n := errorsIn(r); n > 1 {
			text += fmt.Sprintf(", and %s more", plural(n-1, "error"))
		}
		return "FAILED", red, text
	case !r.Passed():
		return "could not tell", yellow, "the log agrees with itself; without --key, whoever made it can have made it up"
	case r.Completeness != auditor.OK:
		return "passed", green, fmt.Sprintf("%s of %s, as they were signed; see what was not checked",
			plural(r.Entries, "event"), r.Origin)
	}
	return "passed", green, fmt.Sprintf("%s of %s, as they were signed, and none is missing",
		plural(r.Entries, "event"), r.Origin)
}

func errorsIn(r *auditor.Report) (n int64) {
	for _, f := range r.Findings {
		if f.Severity == auditor.Error {
			n++
		}
	}
	return n + r.More
}

// told is what was done to the log, and where.
func told(f auditor.Finding) string {
	kind := string(f.Kind)
	switch {
	case f.Index < 0:
		return kind
	case f.To == 0:
		return fmt.Sprintf("%s, entry %d", kind, f.Index)
	case f.Kind == auditor.Reordered:
		return fmt.Sprintf("%s, entries %d and %d", kind, f.Index, f.To)
	}
	return fmt.Sprintf("%s, entries %d to %d", kind, f.Index, f.To)
}

// facts is what the log is.
func facts(r *auditor.Report) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, harmless(fmt.Sprintf(format, args...)))
	}
	line("log", "%s", r.Origin)
	line("checkpoint", "%s, root %s", plural(r.Size, "event"), r.Root)
	text := plural(r.Entries, "event")
	if r.First > 0 {
		text += fmt.Sprintf(", from entry %d on", r.First)
	}
	if r.LastTime > 0 {
		text += fmt.Sprintf(", %s to %s", stamp(time.Unix(r.FirstTime, 0)), stamp(time.Unix(r.LastTime, 0)))
	}
	line("export", "%s, by %s", text, plural(int64(r.Writers), "writer"))
	line("integrity", "%s", r.Integrity)
	line("completeness", "%s", r.Completeness)
	for _, w := range r.Witnesses {
		line("witness", "%s signed at %s", w.Name, stamp(time.Unix(w.Time, 0)))
	}
	for _, t := range r.Tokens {
		line("token", "%s is on record, entry %d", t.ID, t.Index)
	}
	return b.String()
}
