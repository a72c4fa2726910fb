package scopes_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// FuzzDuration reads what time.ParseDuration reads, and writes it so that it is read again.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"90s", "2m", "1h0m0s", "-5m", "1.5h", "9223372036854775807ns", "1e3s", "", "24h ",
		"µs"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again scopes.Duration
		err := d.UnmarshalText([]byte(text))
		standard, standardErr := time.ParseDuration(text)
		if (err == nil) != (standardErr == nil) || err == nil && time.Duration(d) != standard {
			t.Fatalf("%q is %v (%v), for package time %v (%v)", text, d, err, standard, standardErr)
		}
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Errorf("the error repeats %q", text)
			}
			return
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is written as %q: %v", text, d, err)
		}
	})
}

var (
	slugForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	actionForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// FuzzNames holds the checks of names against their definitions.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"a", "ap-bot", "-a", "a-", "a.b", "a..b", ".", "A", "a\n", strings.Repeat("a", 64),
		"é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := scopes.CheckSlug(s); (err == nil) != slugForm.MatchString(s) {
			t.Errorf("slug %q: %v", s, err)
		}
		want := len(s) <= scopes.MaxName && actionForm.MatchString(s)
		if err := scopes.CheckAction(s); (err == nil) != want {
			t.Errorf("action %q: %v", s, err)
		}
	})
}
