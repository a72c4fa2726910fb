package policy_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/scopes/policy"
)

// TestGlobStaysWithinASegment (T-31, T-33): a pattern is anchored at both ends, has no alternatives, and its * crosses
// neither / nor :.
func TestGlobStaysWithinASegment(t *testing.T) {
	for _, row := range []struct {
		name, pattern, s string
		want             bool
	}{
		{"a pattern without * is the whole string", "ann@acme.example", "ann@acme.example", true},
		{"and not its beginning", "ann", "ann@acme.example", false},
		{"nor its end", "acme.example", "ann@acme.example", false},
		{"a lone * is any single segment", "*", "ann@acme.example", true},
		{"a space is printable", "*", "Ann Onym", true},
		{"a letter of any script is printable", "*", "안나", true},
		{"but it is not nothing", "*", "", false},
		{"nor two segments of a path", "*", "acme/app", false},
		{"nor two segments of a name", "*", "admin:ann", false},
		{"nor a trailing separator", "*", "ann/", false},
		{"each * is one segment", "repo:acme/*:ref:refs/heads/*", "repo:acme/app:ref:refs/heads/main", true},
		{"and does not reach into the next", "repo:acme/*", "repo:acme/app:ref:refs/heads/main", false},
		{"nor into a deeper path", "repo:acme/app:ref:refs/heads/*", "repo:acme/app:ref:refs/heads/a/b", false},
		{"a prefix of another organisation is not it", "repo:acme/*", "repo:acme-evil/app", false},
		{"what precedes the pattern counts", "repo:acme/*", "evil/repo:acme/app", false},
		{"what follows the pattern counts", "repo:*/app:ref:main", "repo:acme/app:ref:main-evil", false},
		{"a * stands for at least one character", "app-*", "app-", false},
		{"at the beginning too", "*-app", "-app", false},
		{"in the middle too", "a*b", "ab", false},
		{"a * within a word", "a*b", "a--b", true},
		{"what follows a * may come twice", "*ab*ab", "xabxabxab", true},
		{"and may overlap itself", "*aa*", "aaaa", true},
		{"but needs room on both sides", "*aa*", "aaa", false},
		{"case counts", "system:*", "System:ap-bot", false},
		{"case counts in what is literal only", "system:*", "system:AP-BOT", true},
		{"a newline is in no segment", "*", "ann\nroot", false},
		{"not even at the end", "ann*", "ann1\n", false},
		{"nor a carriage return", "*", "ann\r", false},
		{"nor NUL", "*", "ann\x00", false},
		{"nor the next-line control", "*", "ann\u0085", false},
		{"nor a line separator", "*", "ann\u2028root", false},
		{"nor an invisible joiner", "*", "ann\u200d", false},
		{"nor a right-to-left override", "*", "ann\u202eroot", false},
		{"a look-alike letter is another letter", "repo:acme/*", "repo:\u0430cme/app", false},
		{"a look-alike colon is no separator to the pattern", "repo:*", "repo\uff1aapp", false},
		{"nor does a full-width slash split a segment", "*", "a\uff0fb", true},
		{"broken UTF-8 is nothing", "*", "ann\xff", false},
		{"nor can the pattern spell it", "ann\xff", "ann\xff", false},
		{"a question mark is a question mark", "a?c", "abc", false},
		{"brackets are brackets", "[a]", "a", false},
		{"a backslash is a backslash", `\*`, `*`, false},
		{"an alternative is none", "a|b*", "a", false},
		{"nor at the end of a longer one", "repo:acme/foo:ref:refs/heads/main|repo:acme/bar:ref:refs/heads/main",
			"repo:acme/bar:ref:refs/heads/main", false},
		{"nor does it loosen the ends", "repo:acme/foo:ref:refs/heads/main|repo:acme/bar:ref:refs/heads/main",
			"repo:acme/foo:ref:refs/heads/main-evil", false},
		{"a bracket does not open a group", "x)|(.*", "anything", false},
		{"the empty pattern describes nothing", "", "", false},
		{"** describes nothing", "**", "ab", false},
		{"** does not cross either", "repo:**", "repo:acme/app", false},
	} {
		if got := policy.Glob(row.pattern, row.s); got != row.want {
			t.Errorf("%s: Glob(%q, %q) = %v", row.name, row.pattern, row.s, got)
		}
	}
}

func TestCheckGlobRefusesWhatMeansSomethingElsewhere(t *testing.T) {
	for pattern, hint := range map[string]string{
		"": "is empty", "repo:**": "never crosses", "a***": "never crosses", "a\nb": "not printable",
		"a\x00": "not printable", "a\u200db*": "not printable", "a\xff": "not UTF-8",
		strings.Repeat("a", policy.MaxGlob+1): "at most 2048",
	} {
		if err := policy.CheckGlob(pattern); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"*", "*:*", "a*b*c", strings.Repeat("a", policy.MaxGlob)} {
		if err := policy.CheckGlob(pattern); err != nil {
			t.Errorf("%.20q: %v", pattern, err)
		}
	}
}

// slowGlob says the same by trying every length of every *.
func slowGlob(pattern, s string) bool {
	literal, after, star := strings.Cut(pattern, "*")
	rest, ok := strings.CutPrefix(s, literal)
	if !ok || !star {
		return ok && rest == ""
	}
	for i, r := range rest {
		if r == '/' || r == ':' || !unicode.IsPrint(r) {
			return false
		}
		if slowGlob(after, rest[i+utf8.RuneLen(r):]) {
			return true
		}
	}
	return false
}

func agree(t interface{ Fatalf(string, ...any) }, pattern, s string) {
	want := policy.CheckGlob(pattern) == nil && utf8.ValidString(s) && slowGlob(pattern, s)
	if got := policy.Glob(pattern, s); got != want {
		t.Fatalf("Glob(%q, %q) = %v", pattern, s, got)
	}
}

func TestGlobAgreesWithTryingEverything(t *testing.T) {
	letters := rapid.SampledFrom([]rune("ab/:é\n"))
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(letters, 0, 12).Draw(t, "s"))
		// A pattern made from s is likely to describe it: some runs of letters become a *.
		var pattern strings.Builder
		for _, r := range s {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				if !strings.HasSuffix(pattern.String(), "*") {
					pattern.WriteByte('*')
				}
			case 2:
				pattern.WriteRune(letters.Draw(t, "letter"))
			default:
				pattern.WriteRune(r)
			}
		}
		agree(t, pattern.String(), s)
	})
}

func TestGlobTakesNoTimeToRefuse(t *testing.T) {
	// By trying everything this would outlast the universe.
	if policy.Glob(strings.Repeat("a*", policy.MaxGlob/2-1)+"b", strings.Repeat("a", 16<<10)) {
		t.Error("matched")
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("*", "ann")
	f.Add("*aa*", "aaaa")
	f.Add("repo:*/*:ref:*", "repo:acme/app:ref:main")
	f.Add("a*\xff", "a\u2028\xff")
	f.Add("**", "a")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if strings.Count(pattern, "*") > 6 || len(s) > 200 {
			t.Skip("too slow to try everything")
		}
		agree(t, pattern, s)
	})
}
