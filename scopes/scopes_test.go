package scopes_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/scopes"
)

func TestTheZeroSetGrantsNothing(t *testing.T) {
	var zero scopes.Set
	x := scopes.Scope{Tool: "payments", Action: "read"}
	if !zero.Empty() || zero.Has(x) || zero.Has(scopes.Scope{}) || zero.Covers(scopes.NewSet(x)) {
		t.Error("the zero Set grants something")
	}
	if zero.String() != "" || len(zero.Names()) != 0 || !zero.Meet(scopes.NewSet(x)).Empty() {
		t.Error("the zero Set holds something")
	}
}

func TestTheZeroScopeIsHeldByNothing(t *testing.T) {
	odd := scopes.NewSet(scopes.Scope{}, scopes.Scope{Tool: "a", Action: "b"})
	if odd.Has(scopes.Scope{}) || odd.Covers(odd) || odd.Meet(odd).String() != "a:b" {
		t.Error("the zero Scope was granted")
	}
}

func TestASetDoesNotChangeWithWhatItWasMadeOf(t *testing.T) {
	all := []scopes.Scope{{Tool: "b", Action: "x"}, {Tool: "a", Action: "x"}}
	s := scopes.NewSet(all...)
	all[0], all[1] = scopes.Scope{Tool: "c", Action: "x"}, scopes.Scope{Tool: "c", Action: "x"}
	if s.String() != "a:x b:x" {
		t.Errorf("%s", s)
	}
}

func TestActionsAreScopesOfOneTool(t *testing.T) {
	s := scopes.Actions("payments", "refunds.read", "payouts", "refunds.read")
	if got := s.String(); got != "payments:payouts payments:refunds.read" {
		t.Error(got)
	}
	if got := s.Names(); !slices.Equal(got, []string{"payouts", "refunds.read"}) {
		t.Errorf("%q", got)
	}
}

// every is what few draws from.
var every = func() (all []scopes.Scope) {
	for _, tool := range []string{"a", "a-b", "b"} {
		for _, action := range []string{"x", "x.y", "y"} {
			all = append(all, scopes.Scope{Tool: tool, Action: action})
		}
	}
	return all
}()

// few draws sets that often have something in common.
var few = rapid.Custom(func(t *rapid.T) scopes.Set {
	return scopes.NewSet(rapid.SliceOfN(rapid.SampledFrom(every), 0, 7).Draw(t, "scopes")...)
})

func TestMeetOnlyNarrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := few.Draw(t, "a"), few.Draw(t, "b"), few.Draw(t, "c")
		m := a.Meet(b)
		if !a.Covers(m) || !b.Covers(m) {
			t.Fatalf("%s is not within %s and %s", m, a, b)
		}
		for _, x := range every {
			if (a.Has(x) && b.Has(x)) != m.Has(x) {
				t.Fatalf("%s of %s and %s: %s", x, a, b, m)
			}
		}
		if b.Meet(a).String() != m.String() || m.Meet(c).String() != a.Meet(b.Meet(c)).String() {
			t.Fatal("the order of meeting matters")
		}
		if a.Covers(b) != (m.String() == b.String()) {
			t.Fatalf("%s covers %s: %v, yet they share %s", a, b, a.Covers(b), m)
		}
	})
}

func TestWhatASetWritesItReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := few.Draw(t, "s")
		words, err := scopes.Words(s.String())
		if err != nil || len(words) != len(s.Names()) {
			t.Fatalf("%q: %v", words, err)
		}
		var back []scopes.Scope
		for _, w := range words {
			x, err := scopes.Parse(w)
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, x)
		}
		if got := scopes.NewSet(back...); got.String() != s.String() || got.Empty() != (s.String() == "") {
			t.Fatalf("wrote %s, read %s", s, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"payments:refunds.read", "a:b", "a:b:c", ":", "a:", "A:b", "a:b\n", "a:.b", "é:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := scopes.Parse(s)
		if err != nil {
			if x != (scopes.Scope{}) {
				t.Fatalf("refused and returned %+v", x)
			}
			return
		}
		if x.String() != s {
			t.Fatalf("%q came back as %q", s, x)
		}
		if scopes.CheckSlug(x.Tool) != nil || scopes.CheckAction(x.Action) != nil {
			t.Fatalf("%+v has names that are none", x)
		}
		if words, err := scopes.Words(s); err != nil || !slices.Equal(words, []string{s}) {
			t.Fatalf("%q is a scope but no word: %q, %v", s, words, err)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "a", "b a b", " a", "a  b", "a\tb", `a"b`, "é", strings.Repeat("a ", 64) + "a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, param string) {
		words, err := scopes.Words(param)
		if err != nil {
			if words != nil {
				t.Fatalf("refused and returned %q", words)
			}
			return
		}
		distinct := len(slices.Compact(slices.Clone(words)))
		if !slices.IsSorted(words) || distinct != len(words) || len(words) > scopes.MaxRequested {
			t.Fatalf("%q", words)
		}
		given := strings.Split(param, " ")
		for _, w := range given {
			if w != "" && !slices.Contains(words, w) {
				t.Fatalf("%q was dropped", w)
			}
		}
		for _, w := range words {
			if w == "" || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Fatalf("%q is not a scope token", w)
			}
			if !slices.Contains(given, w) {
				t.Fatalf("%q was added", w)
			}
		}
		again, err := scopes.Words(strings.Join(words, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q came back as %q, %v", words, again, err)
		}
	})
}
