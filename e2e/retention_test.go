package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// What an operator prunes is in the archive, which verifies by itself; what is left verifies too, and goes on.
func TestALogIsPruned(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if out, err := w.Bursar(t, "audit", "prune", "acme", "--before", "300"); err == nil ||
			!strings.Contains(out, "audit.retention.archive") {
			t.Errorf("without a place for it: %v\n%s", err, out)
		}
		w.Reconfigure(t, "audit: {retention: {keep: 90d, archive: kept}}\n")
		form := harness.Form(w.workload(t), payments, readRefunds)
		for range 30 { // all at once would be more than a busy machine records in time
			all(20, func(int) { _ = w.acme().MustExchange(t, form) })
		}
		outside := w.Auditor(t, "acme")
		key := w.key(t, "acme")
		before := w.run(t, "audit", "export", "acme", "-o", filepath.Join(w.Dir, "before.tar"), "--json")

		out := w.run(t, "audit", "prune", "acme", "--before", "600")
		if !strings.Contains(out, "the log begins with entry 512 now") {
			t.Errorf("it prints %s", out)
		}
		token := w.acme().MustExchange(t, form)
		archive := filepath.Join(w.Dir, "kept", strings.TrimPrefix(w.Issuer("acme"), "http://"), "log")
		if out := w.run(t, "audit", "verify", archive, "--key", key); !strings.Contains(out, "512") {
			t.Errorf("of the archive it prints:\n%s", out)
		}
		export := filepath.Join(w.Dir, "after.tar.gz")
		w.run(t, "audit", "export", "acme", "-o", export)
		issued := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(issued, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		w.run(t, "audit", "verify", export, "--key", key, "--token", issued)
		w.run(t, "audit", "prove", "acme", "--index", "550")
		if out, err := w.Bursar(t, "audit", "prove", "acme", "--index", "5"); err == nil {
			t.Errorf("an entry that is gone is proved:\n%s\n%s", out, before)
		}
		outside.Consistent(t, w.Server)
		page, err := w.Operator.Events(t.Context(), "acme", operator.EventQuery{Limit: 3})
		if err != nil || len(page.Events) != 3 || page.Events[0].Index != 512 || page.Next != 515 {
			t.Errorf("the first page is %+v, %v", page, err)
		}
		if a := harness.Get(t, w.Metrics); a.Status != http.StatusOK ||
			!strings.Contains(a.Body, "bursar_log_pruned_events_total 512") {
			t.Error("no metric counts them")
		}
		w.Kill()
		w.Restart(t)
		w.acme().MustExchange(t, form)
		w.run(t, "audit", "export", "acme", "-o", filepath.Join(w.Dir, "last.tar"))
		w.run(t, "audit", "verify", filepath.Join(w.Dir, "last.tar"), "--key", key)
	})
}

// key returns the key of a tenant's log.
func (w *world) key(t *testing.T, slug string) string {
	t.Helper()
	keys, err := w.Operator.Log(slug).VerifierKeys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("the keys of the log are %q, %v", keys, err)
	}
	return keys[0]
}
