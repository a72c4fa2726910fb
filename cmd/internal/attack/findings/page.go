package findings

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"join": func(refs []string) string { return strings.Join(refs, " ") },
	"word": func(mark string) string { return words[mark] },
	"sign": func(v Verdict) string { return map[Verdict]string{Pass: "✓", Fail: "✗", Error: "?"}[v] },
}).Parse(pageText))

// row is a result with the word that it is shown under.
type row struct {
	Result
	Mark string // pass, fail, note, error, skip or na
}

// Bad reports whether the row is one to look at first.
func (r row) Bad() bool { return r.Mark == "fail" || r.Mark == "note" || r.Mark == "error" }

// Weight is how its severity looks: it has colour where something was found.
func (r row) Weight() string {
	if r.Verdict == Fail {
		return string(r.Severity)
	}
	return "quiet"
}

// Amiss are the tries that did not go as expected, Fine the others.
func (r row) Amiss() []Try { return r.tries(func(t Try) bool { return t.Verdict != Pass }) }
func (r row) Fine() []Try  { return r.tries(func(t Try) bool { return t.Verdict == Pass }) }

func (r row) tries(which func(Try) bool) (chosen []Try) {
	for _, t := range r.Tries {
		if which(t) {
			chosen = append(chosen, t)
		}
	}
	return chosen
}

// group are the results whose ids begin alike.
type group struct {
	Name    string
	Results []row
}

// Marks are the words that its rows are shown under.
func (g group) Marks() string {
	var all []string
	for _, r := range g.Results {
		all = append(all, r.Mark)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// filter shows the rows of one mark, or hides them.
type filter struct {
	Mark, Word string
	N          int
	On         bool // at first
}

// view is a report as the page has it.
type view struct {
	*Report
	Filters []filter
	Groups  []group
	Bad     []row // what to look at: failures before notes before what could not tell, the gravest of each first
}

var words = map[string]string{"fail": "failed", "note": "noted", "error": "could not tell", "pass": "passed",
	"skip": "skipped", "na": "n/a"}

var marks = map[Verdict]string{Pass: "pass", Fail: "fail", Error: "error", Skip: "skip", NotApplicable: "na"}

func (r *Report) mark(result Result) string {
	if result.Verdict == Fail && !r.Finding(result) {
		return "note"
	}
	return marks[result.Verdict]
}

// Page writes a report as one HTML page that needs nothing else, no script either.
func Page(w io.Writer, r *Report) error {
	v := view{Report: r, Filters: []filter{
		{"fail", "Failed", r.Findings, true}, {"note", "Noted", r.Observed, true},
		{"error", "Could not tell", r.Counts[Error], true}, {"pass", "Passed", r.Counts[Pass], false},
		{"skip", "Skipped", r.Counts[Skip], false}, {"na", "Not applicable", r.Counts[NotApplicable], false},
	}}
	for _, result := range r.Results {
		name, _, _ := strings.Cut(result.ID, ".")
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Name != name {
			v.Groups = append(v.Groups, group{Name: name})
		}
		g := &v.Groups[len(v.Groups)-1]
		g.Results = append(g.Results, row{result, r.mark(result)})
		if one := (row{result, r.mark(result)}); one.Bad() {
			v.Bad = append(v.Bad, one)
		}
	}
	order := []string{"fail", "note", "error"}
	slices.SortStableFunc(v.Bad, func(a, b row) int {
		return cmp.Or(slices.Index(order, a.Mark)-slices.Index(order, b.Mark), b.Severity.Rank()-a.Severity.Rank())
	})
	return page.Execute(w, v)
}

// Unknown, Unoffered and Missing are how many checks could not tell, were skipped, and do not apply.
func (v view) Unknown() int   { return v.Counts[Error] }
func (v view) Unoffered() int { return v.Counts[Skip] }
func (v view) Missing() int   { return v.Counts[NotApplicable] }

// Skipped and Absent are why checks did not run.
func (v view) Skipped() []Cause { return v.Causes(Skip) }
func (v view) Absent() []Cause  { return v.Causes(NotApplicable) }

// Weights says how many findings there are of each severity, the gravest first.
func (v view) Weights() string {
	var parts []string
	for _, s := range []Severity{High, Medium, Low, Info} {
		n := 0
		for _, one := range v.Bad {
			if one.Mark == "fail" && one.Severity == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}
