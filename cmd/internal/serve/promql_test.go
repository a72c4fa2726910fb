package serve

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selector is a metric in an expression of PromQL, with the labels that are matched.
type selector struct {
	metric string
	labels []string
}

var (
	literal  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*(?:\([^)]*\))?`)
	word     = regexp.MustCompile(`([A-Za-z0-9_:.]+)(\{[^}]*\})?(\s*\()?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
)

// keywords are words of PromQL that are neither functions nor metrics.
var keywords = strings.Fields("and or unless offset bool")

// selectors finds the metrics of an expression: the words that are no functions, keywords, numbers or durations.
func selectors(expr string) (all []selector) {
	for _, noise := range []*regexp.Regexp{literal, window, grouping} {
		expr = noise.ReplaceAllString(expr, " ")
	}
	for _, w := range word.FindAllStringSubmatch(expr, -1) {
		name, braces, call := w[1], w[2], w[3]
		if call != "" || name[0] >= '0' && name[0] <= '9' || slices.Contains(keywords, name) {
			continue
		}
		s := selector{metric: name}
		for _, m := range matcher.FindAllStringSubmatch(braces, -1) {
			s.labels = append(s.labels, m[1])
		}
		all = append(all, s)
	}
	return all
}

func TestMetricsOfAnExpressionAreFound(t *testing.T) {
	const expr = `1 - sum by (a, b) (rate(x_total{l="m{n}", k!~"o(p)"}[5m])) / on(c) group_left y_count offset 15m
		and histogram_quantile(0.99, sum(label_replace(z:bucket, "q", "$1", "r", "s"))) > 7 * 86400`
	want := []selector{{"x_total", []string{"l", "k"}}, {"y_count", nil}, {"z:bucket", nil}}
	got := selectors(expr)
	if !slices.EqualFunc(got, want, func(a, b selector) bool {
		return a.metric == b.metric && slices.Equal(a.labels, b.labels)
	}) {
		t.Errorf("found %v", got)
	}
}

// series are the metrics of a scrape, with the labels of each.
type series map[string]map[string]bool

var (
	sample = regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? `)
	label  = regexp.MustCompile(`([a-z_]+)="`)
)

// parseScrape reads the text format of Prometheus.
func parseScrape(text string) series {
	all := series{}
	for _, line := range sample.FindAllStringSubmatch(text, -1) {
		if all[line[1]] == nil {
			all[line[1]] = map[string]bool{}
		}
		for _, l := range label.FindAllStringSubmatch(line[2], -1) {
			all[line[1]][l[1]] = true
		}
	}
	return all
}

// check fails the test for each metric and label of an expression that no server shows. What a scraper adds is known.
func (s series) check(t *testing.T, where, expr string) {
	t.Helper()
	found := selectors(expr)
	if len(found) == 0 {
		t.Errorf("%s: there is no metric in %s", where, expr)
	}
	for _, f := range found {
		labels, shown := s[f.metric]
		if !shown && f.metric != "up" {
			t.Errorf("%s: no server shows %s", where, f.metric)
		}
		for _, l := range f.labels {
			if !labels[l] && l != "job" && l != "instance" {
				t.Errorf("%s: %s has no label %s", where, f.metric, l)
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: the parentheses of %s do not match", where, expr)
	}
}
