package e2e_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// reconcile holds the logs of all tenants against the answers. after is how long each was before the rows.
func (x *acceptance) reconcile(t *testing.T, after map[string]int64) {
	t.Helper()
	for _, tenant := range tenants {
		log := x.awaitCounts(t, tenant, after[tenant])
		harness.CheckNumbers(t, log)
		if got := floods(log); !maps.Equal(got, x.counted[tenant]) {
			t.Errorf("counted refusals of %s: %v, want %v", tenant, got, x.counted[tenant])
		}
		for _, e := range log {
			if e.Name == "token.exchange" {
				x.settle(t, e)
			}
		}
	}
	for _, w := range x.expected {
		t.Errorf("%s: the refusal is not in the log", w.row)
	}
	for _, title := range x.issued {
		t.Errorf("%s: the token is not in the log", title)
	}
}

// settle crosses off what one event records, which must be what somebody was answered.
func (x *acceptance) settle(t *testing.T, e harness.Event) {
	t.Helper()
	if e.Outcome == "allowed" {
		if _, known := x.issued[e.Token.JTI]; !known {
			t.Errorf("event %d is about a token that nobody got", e.Index)
		}
		delete(x.issued, e.Token.JTI)
		return
	}
	w, known := x.expected[e.DecisionID]
	if !known {
		t.Errorf("event %d (%s %s) has no answer, or is one too many", e.Index, e.Outcome, e.Reason)
		return
	}
	if e.Outcome != w.outcome || e.Reason != w.reason {
		t.Errorf("%s: recorded as %s %s, want %s %s", w.row, e.Outcome, e.Reason, w.outcome, w.reason)
	}
	delete(x.expected, e.DecisionID)
}

// floods adds up the refusals that were only counted, by reason.
func floods(log []harness.Event) map[string]int {
	sums := map[string]int{}
	for _, e := range log {
		if e.Name == "deny.flood" {
			sums[e.Reason] += e.Count
		}
	}
	return sums
}

// awaitCounts returns a tenant's log once it holds as many counted refusals as were answered.
func (x *acceptance) awaitCounts(t *testing.T, tenant string, after int64) []harness.Event {
	t.Helper()
	total := 0
	for _, n := range x.counted[tenant] {
		total += n
	}
	return x.Await(t, tenant, after, fmt.Sprintf("%d refusals are counted", total), func(log []harness.Event) bool {
		sum := 0
		for _, n := range floods(log) {
			sum += n
		}
		return sum >= total
	})
}
