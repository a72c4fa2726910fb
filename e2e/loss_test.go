package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// A store that is put back as it was earlier is noticed at the next start: nothing is issued and nothing changes, but
// for revocations, until an operator accepts the loss.
func TestAStoreThatWasRolledBackIssuesNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		kept := w.acme().MustExchange(t, form)
		restore := w.SaveStore(t)
		w.Restart(t)
		for range 3 {
			w.acme().MustExchange(t, form)
		}
		w.Apply(t, "apiVersion: bursar/v1\ntenant: globex\n") // in the platform's log
		restore()
		w.Restart(t)
		if a := w.acme().Exchange(t, form); a.Status != http.StatusServiceUnavailable {
			t.Fatalf("status %d %s", a.Status, a.Body)
		}
		if _, err := w.TryApply(t, strings.Replace(w.file(t, "acme.yaml"), "ttl: 5m", "ttl: 4m", 1)); err == nil {
			t.Error("the configuration was changed")
		}
		if !strings.Contains(harness.Get(t, w.Metrics).Body, "bursar_log_halted_tenants 2") { // and the platform's
			t.Error("no metric tells of it")
		}
		token := operator.Target{Kind: operator.CutoffToken, Value: harness.ID(kept)}
		if _, err := w.Operator.Revoke(t.Context(), "acme", token); err != nil {
			t.Errorf("revoke: %v", err)
		}

		out := w.run(t, "audit", "accept-loss", "acme")
		host := strings.TrimPrefix(w.BaseURL, "http://")
		for _, want := range []string{"found: ", "rolled back", "lost: the entries from ", host + "/t/acme/log/e2, from ",
			"keep as evidence", "\n— " + host + "/t/acme/log "} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in what it prints:\n%s", want, out)
			}
		}
		w.acme().MustExchange(t, form)
		if out := w.run(t, "audit", "accept-loss", "--platform"); !strings.Contains(out, host+"/log/e2, from ") {
			t.Errorf("of the platform's log it prints:\n%s", out)
		}
		if out, err := w.Bursar(t, "audit", "accept-loss", "acme"); err == nil || !strings.Contains(out, "misses nothing") {
			t.Errorf("once more: %v\n%s", err, out)
		}
		if out, err := w.Bursar(t, "audit", "accept-loss"); err == nil || !strings.Contains(out, "--platform") {
			t.Errorf("of no log: %v\n%s", err, out)
		}
		last := w.Await(t, "acme", 0, "an exchange in the new epoch", func(all []harness.Event) bool {
			return len(harness.Exchanges(all)) == 2
		})
		var names []string
		for _, e := range last {
			names = append(names, e.Name)
		}
		if !strings.Contains(strings.Join(names, " "), "cutoff.set log.epoch") {
			t.Errorf("recorded %q", names)
		}
		w.Stop()
		w.Restart(t)
		w.acme().MustExchange(t, form)
	})
}
