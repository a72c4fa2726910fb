package tools

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	segmentTexts = rapid.SampledFrom([]string{"a", "b", "c"})
	aPath        = rapid.Custom(func(t *rapid.T) []string {
		path := rapid.SliceOfN(segmentTexts, 1, 4).Draw(t, "path")
		if rapid.Bool().Draw(t, "slash") {
			path = append(path, "")
		}
		return path
	})
	aTemplate = rapid.Custom(func(t *rapid.T) template {
		text := ""
		for _, s := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "{x}"}), 0, 3).Draw(t, "segments") {
			text += "/" + strings.Replace(s, "x", "x"+string(rune('a'+len(text))), 1)
		}
		text += rapid.SampledFrom([]string{"/a", "/{y}", "/{z...}", "/"}).Draw(t, "end")
		parsed, err := parseTemplate(text, false)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return parsed
	})
)

// TestTheMeetOfTwoTemplatesIsWhatBothMatch, and the more specific of two comes first.
func TestTheMeetOfTwoTemplatesIsWhatBothMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, path := aTemplate.Draw(t, "a"), aTemplate.Draw(t, "b"), aPath.Draw(t, "p")
		both, overlap := a.meet(b)
		if got, want := overlap && both.matches(path), a.matches(path) && b.matches(path); got != want {
			t.Fatalf("the meet of %s and %s, %s (%v), matches %q: %v, want %v", a, b, both, overlap, path, got, want)
		}
		if other, also := b.meet(a); also != overlap || overlap && !other.same(both) {
			t.Fatalf("%s and %s meet in %s (%v), and the other way in %s (%v)", a, b, both, overlap, other, also)
		}
		if overlap && both.same(a) && !a.same(b) && a.compare(b) >= 0 {
			t.Fatalf("%s is the more specific, and comes behind %s", a, b)
		}
		if (a.compare(b) < 0) != (b.compare(a) > 0) {
			t.Fatalf("%s and %s have no order", a, b)
		}
	})
}

// TestRulesWithoutMistakesHaveOneAnswer: whatever rules are accepted, the one that is found for a path is at or below
// every other that matches it, and does not depend on the order in which they are written.
func TestRulesWithoutMistakesHaveOneAnswer(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		u := &Upstream{}
		for _, x := range rapid.SliceOfN(aTemplate, 1, 5).Draw(t, "rules") {
			u.Allow = append(u.Allow, Rule{Action: "x", Methods: []string{"GET"}, Path: x.String()})
		}
		var p problems
		if u.checkRules(&p, &Tool{Name: "t", Actions: []string{"x"}}); len(p) > 0 {
			return
		}
		accepted++
		path := aPath.Draw(t, "path")
		raw := "/" + strings.Join(path, "/")
		m, err := u.Route("GET", raw, "")
		reversed := &Upstream{Allow: slices.Clone(u.Allow)}
		slices.Reverse(reversed.Allow)
		reversed.checkRules(&p, &Tool{Name: "t", Actions: []string{"x"}})
		n, also := reversed.Route("GET", raw, "")
		if (err == nil) != (also == nil) || err == nil && m.Rule.Path != n.Rule.Path {
			t.Fatalf("%s falls under %+v (%v), and in another order under %+v (%v)", raw, m, err, n, also)
		}
		for _, r := range u.routes {
			if !r.path.matches(path) {
				continue
			}
			if err != nil {
				t.Fatalf("%s is refused, and %s allows it", raw, r.rule.Path)
			}
			if both, _ := m.template.meet(r.path); !both.same(m.template) {
				t.Fatalf("%s falls under %s, which is not within %s", raw, m.Rule.Path, r.rule.Path)
			}
		}
	})
	if accepted == 0 {
		t.Error("no rules were accepted at all")
	}
}
