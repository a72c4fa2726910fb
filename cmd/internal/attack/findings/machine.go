package findings

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// JSON writes a report as one object.
func JSON(w io.Writer, r *Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Time     string   `xml:"time,attr"`
	Suites   []suite  `xml:"testsuite"`
}

type suite struct {
	Name      string     `xml:"name,attr"`
	Tests     int        `xml:"tests,attr"`
	Failures  int        `xml:"failures,attr"`
	Errors    int        `xml:"errors,attr"`
	Skipped   int        `xml:"skipped,attr"`
	Timestamp string     `xml:"timestamp,attr"`
	Cases     []testcase `xml:"testcase"`
}

type testcase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *message `xml:"failure"`
	Error   *message `xml:"error"`
	Skipped *message `xml:"skipped"`
	Out     string   `xml:"system-out,omitempty"`
}

type message struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes a report as the XML that CI systems read: a test suite for each group of checks. An observation that
// does not fail the run is a test that passes and says something.
func JUnit(w io.Writer, r *Report) error {
	all := suites{Name: r.Tool + " " + r.Target, Time: fmt.Sprintf("%.3f", r.Seconds)}
	for _, result := range r.Results {
		group, _, _ := strings.Cut(result.ID, ".")
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != group {
			all.Suites = append(all.Suites, suite{Name: group, Timestamp: r.Began.Format("2006-01-02T15:04:05")})
		}
		s := &all.Suites[len(all.Suites)-1]
		c := testcase{Class: "attack." + group, Name: result.ID + ": " + result.Title}
		detail := &message{Message: result.Reason, Text: story(result)}
		switch {
		case r.Finding(result):
			detail.Type = string(result.Severity)
			c.Failure = detail
			s.Failures++
		case result.Verdict == Fail:
			c.Out = "observation: " + result.Reason + "\n" + detail.Text
		case result.Verdict == Error:
			c.Error = detail
			s.Errors++
		case result.Verdict == Skip || result.Verdict == NotApplicable:
			c.Skipped = &message{Message: result.Reason}
			s.Skipped++
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	for _, s := range all.Suites {
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// story tells a result in lines.
func story(r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", r.Basis, strings.Join(r.Refs, " "))
	for _, t := range r.Tries {
		fmt.Fprintf(&b, "%s: %s: expected %s, got %s\n", t.Verdict, harmless(t.Sent), t.Expected, harmless(t.Got))
	}
	if r.Control != "" {
		fmt.Fprintf(&b, "control: %s\n", r.Control)
	}
	b.WriteString(r.Advice)
	return b.String()
}
