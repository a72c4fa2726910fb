package attack_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// elsewhere are the checks that fail for a reason that would disturb others, each with the victim that it finds.
var elsewhere = map[string]string{
	"client.flood":       "", // nobody slows down
	"metadata.tls":       "introspects without TLS",
	"control.exchange":   "tires of plain exchanges",
	"control.delegation": "tires of actors",
	"control.again":      "tires of its own tokens",
}

// tired counts what is granted, and reports whether the victim has had enough of that kind of exchange. It bears what
// the suite does to find out what works at all.
func (v *victim) tired(form url.Values, subject map[string]any) bool {
	kind, bears := "tires of plain exchanges", 2
	switch {
	case form.Has("actor_token"):
		kind, bears = "tires of actors", 1
	case subject["iss"] == v.URL:
		kind, bears = "tires of its own tokens", 1
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.granted[kind]++
	return v.has(kind) && v.granted[kind] > bears
}

// TestTheOtherChecksCanFail shows it of the checks that TestEveryDefectIsFound leaves out.
func TestTheOtherChecksCanFail(t *testing.T) {
	for id, defect := range elsewhere {
		r := attackOn(t, bySecret, []string{id}, defect)
		i := slices.IndexFunc(r.Results, func(one findings.Result) bool { return one.ID == id })
		want := findings.Fail
		if strings.HasPrefix(id, "control.") {
			want = findings.Error // nothing can be told of a server that refuses what is good
		}
		if got := r.Results[i]; got.Verdict != want {
			t.Errorf("%s: %s: %s", id, got.Verdict, got.Reason)
		}
	}
}

// TestSlowingDownIsNoticed is the good half of what TestTheOtherChecksCanFail shows of guesses.
func TestSlowingDownIsNoticed(t *testing.T) {
	r := attackOn(t, bySecret, []string{"client.flood"}, "limits guesses")
	if len(r.Results) != 1 || r.Results[0].Verdict != findings.Pass {
		t.Errorf("%+v", r.Results)
	}
}
