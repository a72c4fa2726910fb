package findings

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"join": func(refs []string) string { return strings.Join(refs, " ") },
}).Parse(pageText))

// group are the results whose ids begin alike.
type group struct {
	Name    string
	Results []row
}

// row is a result with the word that it is shown under.
type row struct {
	Result
	Mark string // pass, fail, note, error, skip or na
}

var marks = map[Verdict]string{Pass: "pass", Fail: "fail", Error: "error", Skip: "skip", NotApplicable: "na"}

func (r *Report) mark(result Result) string {
	if result.Verdict == Fail && !r.Finding(result) {
		return "note"
	}
	return marks[result.Verdict]
}

// Page writes a report as one HTML page that needs nothing else.
func Page(w io.Writer, r *Report) error {
	type count struct {
		Mark, Word string
		N          int
	}
	data := struct {
		*Report
		Counted []count
		Groups  []group
		Clean   bool
	}{Report: r, Clean: r.Findings == 0 && r.Counts[Error] == 0, Counted: []count{
		{"fail", "failed", r.Findings}, {"note", "noted", r.Observed}, {"error", "could not tell", r.Counts[Error]},
		{"pass", "passed", r.Counts[Pass]}, {"skip", "skipped", r.Counts[Skip]},
		{"na", "not applicable", r.Counts[NotApplicable]},
	}}
	for _, result := range r.Results {
		name, _, _ := strings.Cut(result.ID, ".")
		if n := len(data.Groups); n == 0 || data.Groups[n-1].Name != name {
			data.Groups = append(data.Groups, group{Name: name})
		}
		g := &data.Groups[len(data.Groups)-1]
		g.Results = append(g.Results, row{result, r.mark(result)})
	}
	return page.Execute(w, data)
}
