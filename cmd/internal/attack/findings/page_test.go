package findings_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// report has one result of each kind, and two failures, the graver of them last.
func report(t *testing.T, strict bool) *findings.Report {
	t.Helper()
	r := &findings.Report{Tool: "bursar attack", Target: "https://sts.example", Strict: strict}
	add := func(id string, v findings.Verdict, c findings.Class, s findings.Severity, reason string) {
		tries := []findings.Try{{Sent: "one <b>", Expected: "400", Got: "200", Verdict: v},
			{Sent: "two", Expected: "400", Got: "400", Verdict: findings.Pass}}
		r.Results = append(r.Results, findings.Result{Verdict: v, Reason: reason, Tries: tries,
			Check: findings.Check{ID: id, Title: "title of " + id, Class: c, Severity: s}})
	}
	add("a.passed", findings.Pass, findings.Must, findings.High, "")
	add("a.noted", findings.Fail, findings.Profile, findings.High, "laxer")
	add("b.low", findings.Fail, findings.Must, findings.Low, "wrong")
	add("b.unknown", findings.Error, findings.Must, findings.High, "no answer")
	add("c.high", findings.Fail, findings.Must, findings.High, "open")
	add("c.skipped", findings.Skip, findings.Must, findings.High, "no actor")
	add("d.rare", findings.Skip, findings.Must, findings.High, "no secret")
	add("d.skipped", findings.Skip, findings.Must, findings.High, "no actor")
	add("d.absent", findings.NotApplicable, findings.Must, findings.High, "no metadata")
	r.Count()
	return r
}

func written(t *testing.T, r *findings.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := findings.Page(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// all are what a pattern's group finds, in order.
func all(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func TestThePageBeginsWithTheGravestFinding(t *testing.T) {
	page := written(t, report(t, false))
	links := all(`<a href="#([a-z]+\.[a-z]+)"`, page)
	if want := []string{"c.high", "b.low", "a.noted", "b.unknown"}; !slices.Equal(links, want) {
		t.Errorf("it begins with %v, want %v", links, want)
	}
	for _, anchor := range all(`href="#([^"]+)"`, page) {
		if !strings.Contains(page, `id="`+anchor+`"`) {
			t.Errorf("there is no %s to go to", anchor)
		}
	}
	if want := "2 of 5 checks failed: 1 high, 1 low."; !strings.Contains(page, want) {
		t.Errorf("it does not say %q", want)
	}
	links = all(`<a href="#([a-z]+\.[a-z]+)"`, written(t, report(t, true)))
	if want := []string{"a.noted", "c.high", "b.low", "b.unknown"}; !slices.Equal(links, want) {
		t.Errorf("a strict page begins with %v, want %v", links, want)
	}
}

func TestThePageOpensWhatIsToLookAtAlone(t *testing.T) {
	page := written(t, report(t, false))
	for pattern, want := range map[string][]string{
		`id="([^"]+)" open`:          {"a.noted", "b.low", "b.unknown", "c.high"},
		`id="show-([a-z]+)" checked`: {"fail", "note", "error"},
	} {
		if got := all(pattern, page); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	page := written(t, report(t, false))
	for _, bad := range []string{"<script", "src=", "<link", "@import", "url(", "one <b>"} {
		if strings.Contains(page, bad) {
			t.Errorf("it has %s", bad)
		}
	}
}

// TestWhatDidNotRunIsSaid holds of a clean report too, in every form for people.
func TestWhatDidNotRunIsSaid(t *testing.T) {
	r := report(t, false)
	r.Results = slices.DeleteFunc(r.Results, func(one findings.Result) bool {
		return one.Verdict == findings.Fail || one.Verdict == findings.Error
	})
	r.Count()
	page := written(t, r)
	for _, want := range []string{"Nothing was found by the checks that ran: 1 of 5.", "3 of 5 checks did not run",
		"Not applicable to this server: 1.", "<b>2</b><span>no actor</span>", "<b>1</b><span>no secret</span>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	var b strings.Builder
	if err := (&findings.Text{W: &b}).Summary(r); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("1 of 5 checks ran.*\n3 did not run,.*:\n%6d  no actor\n%6d  no secret\n1 did not run", 2, 1)
	if !regexp.MustCompile(want).MatchString(b.String()) {
		t.Errorf("the terminal gets %q", b.String())
	}
}

// TestTheTerminalIsNotToldEveryReason lets twelve checks want for something, two of them for the same.
func TestTheTerminalIsNotToldEveryReason(t *testing.T) {
	r := &findings.Report{}
	for i := range 11 {
		r.Results = append(r.Results, findings.Result{Verdict: findings.Skip, Reason: fmt.Sprint("reason ", i)})
	}
	r.Results = append(r.Results, r.Results[4])
	r.Count()
	var b strings.Builder
	if err := (&findings.Text{W: &b}).Summary(r); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`12 did not run,.*:\n +2  reason 4\n( +1  reason \d\n){7} +3  for 3 other reasons`)
	if !want.MatchString(b.String()) {
		t.Errorf("it gets %q", b.String())
	}
}
