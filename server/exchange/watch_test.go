package exchange_test

import (
	"context"
	"slices"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/servertest"
)

// unwatched marks the context of an attempt that is not watched.
type unwatched struct{}

// TestWatchIsToldOfEveryAttempt: once, with its steps up to where it ended.
func TestWatchIsToldOfEveryAttempt(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	var seen []exchange.Decided
	x := exchange.New(exchange.Config{Directory: w.Directory, Log: w.Log, Claims: w.Store,
		Watch:   func(_ context.Context, d exchange.Decided) { seen = append(seen, d) },
		Watches: func(ctx context.Context) bool { return ctx.Value(unwatched{}) == nil }})
	alone := context.WithValue(t.Context(), unwatched{}, true)
	if _, err := run(alone, x, "acme", self(w.Workload("ap-bot"))); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), x, "acme", self(w.Workload("ap-bot"))); err != nil {
		t.Fatal(err)
	}
	for _, r := range []exchange.Request{self("garbage"), withScope(self(w.Workload("ap-bot")), "payments:refunds.burn"),
		self(w.Workload("other-bot"))} {
		if _, err := run(t.Context(), x, "acme", r); err == nil {
			t.Fatal("nothing was refused")
		}
	}
	want := []struct {
		client  string
		outcome audit.Outcome
		reason  string
		steps   []string
	}{
		{"ap-bot", audit.Allowed, "",
			[]string{"client", "subject", "target", "scope", "policy", "lifetime", "mint", "record"}},
		{"", audit.Denied, "subject.not_canonical", []string{"client"}},
		{"ap-bot", audit.Denied, "scope.unknown", []string{"client", "subject", "target", "scope"}},
		{"other-bot", audit.Denied, "policy.no_rule", []string{"client", "subject", "target", "scope", "policy"}},
	}
	if len(seen) != len(want) {
		t.Fatalf("told %d times: %+v", len(seen), seen)
	}
	for i, d := range seen {
		var names []string
		for _, s := range d.Steps {
			if s.Ended.Before(s.Began) {
				t.Errorf("step %s ends before it begins", s.Name)
			}
			names = append(names, s.Name)
		}
		if d.Tenant != "acme" || d.ClientID != want[i].client || d.Outcome != want[i].outcome || d.Reason != want[i].reason ||
			d.DecisionID == "" || !slices.Equal(names, want[i].steps) {
			t.Errorf("told %+v of %q, want %+v", d, names, want[i])
		}
	}
}
