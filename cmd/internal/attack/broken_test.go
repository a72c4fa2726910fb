package attack

import (
	"context"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// TestACheckThatBreaksDownCouldNotTell lets a check panic where it runs and where it says what it needs.
func TestACheckThatBreaksDownCouldNotTell(t *testing.T) {
	s := newSuite(Config{Profile: &Profile{}})
	var none []int
	runs := check{run: func(context.Context, *probe) { none[len(none)] = 1 }}
	needs := check{needs: []need{func(context.Context, *suite) (findings.Verdict, string) { panic("a secret") }}}
	for want, c := range map[string]check{"broken_test.go:15 (runtime error: index": runs, "broken_test.go:16": needs} {
		r := s.run(t.Context(), c)
		if r.Verdict != findings.Error || !strings.Contains(r.Reason, want) || strings.Contains(r.Reason, "secret") {
			t.Errorf("%s: %s, want one that says %s", r.Verdict, r.Reason, want)
		}
	}
}
