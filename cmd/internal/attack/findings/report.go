// Package findings is what came of an attack, and the forms in which it is told: text for a terminal, JSON, JUnit XML
// and one HTML page. It never holds a token or a secret.
package findings

import (
	"slices"
	"time"
)

// Verdict is what came of a check.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	Skip          Verdict = "skip"           // the profile does not offer what it needs
	NotApplicable Verdict = "not_applicable" // the server does not have what it is about
	Error         Verdict = "error"          // it could not tell
)

// Verdicts are all of them, the worst first.
var Verdicts = []Verdict{Fail, Error, Pass, Skip, NotApplicable}

// Severity says how bad it is when a check fails.
type Severity string

// The severities.
const (
	High   Severity = "high"   // somebody gets what is not theirs
	Medium Severity = "medium" // a defence is missing, or clients are misled
	Low    Severity = "low"    // the protocol is spoken wrongly
	Info   Severity = "info"
)

// Class says who demands what a check holds the server against.
type Class string

// The classes.
const (
	Must    Class = "must"    // a specification, or security that no specification needs to ask for
	Profile Class = "profile" // the stricter choice where specifications leave one; fails the run if that is asked for
)

// Check is what is known of a check before it runs.
type Check struct {
	ID       string   `json:"id"`   // stable, such as subject.alg-none
	Refs     []string `json:"refs"` // rows of the acceptance table (A14) and named attacks (T-22)
	Title    string   `json:"title"`
	Class    Class    `json:"class"`
	Severity Severity `json:"severity"`
	Basis    string   `json:"basis"`  // where the demand comes from
	Advice   string   `json:"advice"` // what to do about a finding
}

// Try is one request of a check.
type Try struct {
	Sent     string  `json:"sent"` // what was changed; never what it was changed to if that is a token
	Expected string  `json:"expected"`
	Got      string  `json:"got"`
	Verdict  Verdict `json:"verdict"`
}

// Result is what came of a check. Class and Severity are those of the finding where it is a lesser one than the check
// looks for.
type Result struct {
	Check
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // a sentence; empty if it passed
	Control string  `json:"control,omitempty"`
	Tries   []Try   `json:"tries,omitempty"`
}

// Report is what came of a run.
type Report struct {
	Tool     string          `json:"tool"`
	Version  string          `json:"version"`
	Target   string          `json:"target"`
	Endpoint string          `json:"token_endpoint"`
	Profile  string          `json:"profile"`
	Began    time.Time       `json:"began"`
	Seconds  float64         `json:"seconds"`
	Requests int             `json:"requests"`
	Strict   bool            `json:"strict"`
	Counts   map[Verdict]int `json:"counts"`
	Findings int             `json:"findings"`          // failed checks that fail the run
	Observed int             `json:"observed"`          // failed checks that do not
	Stopped  string          `json:"stopped,omitempty"` // why the run did not come to its end
	Results  []Result        `json:"results"`
}

// Finding reports whether the result fails the run.
func (r *Report) Finding(result Result) bool {
	return result.Verdict == Fail && (r.Strict || result.Class == Must)
}

// Count sets what is counted from the results.
func (r *Report) Count() {
	r.Counts, r.Findings, r.Observed = map[Verdict]int{}, 0, 0
	for _, v := range Verdicts {
		r.Counts[v] = 0
	}
	for _, result := range r.Results {
		r.Counts[result.Verdict]++
		switch {
		case r.Finding(result):
			r.Findings++
		case result.Verdict == Fail:
			r.Observed++
		}
	}
}

// Ran is how many checks ran. Of what the others are about nothing is known.
func (r *Report) Ran() int { return len(r.Results) - r.Counts[Skip] - r.Counts[NotApplicable] }

// Cause is a reason that several results share.
type Cause struct {
	Reason string
	N      int
}

// Causes are the reasons of the results with a verdict, the most frequent first.
func (r *Report) Causes(v Verdict) []Cause {
	var causes []Cause
	for _, result := range r.Results {
		if result.Verdict != v {
			continue
		}
		i := slices.IndexFunc(causes, func(c Cause) bool { return c.Reason == result.Reason })
		if i < 0 {
			i, causes = len(causes), append(causes, Cause{Reason: result.Reason})
		}
		causes[i].N++
	}
	slices.SortStableFunc(causes, func(a, b Cause) int { return b.N - a.N })
	return causes
}

// Rank orders severities; the greatest is the worst.
func (s Severity) Rank() int {
	return map[Severity]int{Info: 1, Low: 2, Medium: 3, High: 4}[s]
}
