package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// offline runs a command for a store that no server uses, and starts the server again.
func (w *world) offline(t *testing.T, args ...string) string {
	t.Helper()
	w.Stop()
	out, err := w.Bursar(t, append(args, "--config", filepath.Join(w.Dir, "bursar.yaml"))...)
	if err != nil {
		t.Fatalf("bursar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// backUp writes a backup of acme.
func (w *world) backUp(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(w.Dir, name)
	out := w.run(t, "backup", "acme", "-o", path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(out, "entries of the log") {
		t.Fatalf("the backup has the mode %v, %v:\n%s", info.Mode(), err, out)
	}
	return path
}

// destroy makes the store an empty one, as if the machine had died.
func (w *world) destroy(t *testing.T) {
	t.Helper()
	harness.Eventually(t, "the heads of both logs are known outside the store", func() bool {
		saved, err := filepath.Glob(filepath.Join(w.Dir, "anchors", "*.json"))
		return err == nil && len(saved) >= 2
	})
	w.Kill()
	if w.Redis != nil {
		w.Redis.Command(t, "FLUSHALL")
		return
	}
	if err := os.Remove(filepath.Join(w.Dir, "bursar.db")); err != nil {
		t.Fatal(err)
	}
}

// A tenant is backed up, the store is lost, and the tenant is put into a new one: tokens, revocations and the log go
// on.
func TestATenantIsRestored(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		api := w.as(t, "payments-api")
		kept, revoked := w.acme().MustExchange(t, form), w.acme().MustExchange(t, form)
		if _, err := w.Operator.Revoke(t.Context(), "acme",
			operator.Target{Kind: operator.CutoffToken, Value: harness.ID(revoked)}); err != nil {
			t.Fatal(err)
		}
		outside := w.Auditor(t, "acme")
		file := w.backUp(t, "acme.backup")
		if w.Redis == nil {
			config := filepath.Join(w.Dir, "bursar.yaml")
			out, err := w.Bursar(t, "restore", file, "--config", config)
			if err == nil || !strings.Contains(out, "another bursar") {
				t.Errorf("while a server runs: %v\n%s", err, out)
			}
		}
		w.destroy(t)
		out := w.offline(t, "restore", file)
		if !strings.Contains(out, "restored tenant acme: ") {
			t.Errorf("it prints:\n%s", out)
		}
		w.Restart(t)
		if !api.Active(t, kept) || api.Active(t, revoked) {
			t.Error("a token is not what it was")
		}
		token := w.acme().MustExchange(t, form)
		outside.Passes(t, w.Server, kept, revoked, token)
		// The platform's log is another one; its anchor knows more.
		if out := w.run(t, "audit", "accept-loss", "--platform"); !strings.Contains(out, "/log/e2, from ") {
			t.Errorf("it prints:\n%s", out)
		}
		page, err := w.Operator.PlatformEvents(t.Context(), operator.EventQuery{Limit: operator.MaxEvents})
		if err != nil {
			t.Fatal(err)
		}
		recorded := 0
		for _, e := range page.Events {
			recorded += strings.Count(string(e.Claims), `"urn:bursar:event:admin.tenant.restore:v1"`)
		}
		if recorded != 1 {
			t.Errorf("%d events tell of the restoring", recorded)
		}
	})
}

// A backup that is older than what was signed is noticed at the next start: nothing is issued, revocations are made,
// and an operator who accepts the loss has the tenant go on. An older checkpoint shows it for ever.
func TestAnOlderBackupIsNoticed(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		form := harness.Form(w.workload(t), payments, readRefunds)
		kept := w.acme().MustExchange(t, form)
		file := w.backUp(t, "old.backup")
		for range 5 {
			w.acme().MustExchange(t, form)
		}
		outside := w.Auditor(t, "acme")
		w.Stop()
		config := filepath.Join(w.Dir, "bursar.yaml")
		if out, err := w.Bursar(t, "restore", file, "--config", config); err == nil ||
			!strings.Contains(out, "something newer") || !strings.Contains(out, "--replace") {
			t.Fatalf("without --replace: %v\n%s", err, out)
		}
		w.offline(t, "restore", file, "--replace")
		w.Restart(t)
		if a := w.acme().Exchange(t, form); a.Status != http.StatusServiceUnavailable {
			t.Fatalf("status %d %s", a.Status, a.Body)
		}
		if !strings.Contains(harness.Get(t, w.Metrics).Body, "bursar_log_halted_tenants 1") {
			t.Error("no metric tells of it")
		}
		w.run(t, "revoke", "acme", "--jti", harness.ID(kept))
		if out := w.run(t, "audit", "accept-loss", "acme"); !strings.Contains(out, "rolled back") {
			t.Errorf("it prints:\n%s", out)
		}
		token := w.acme().MustExchange(t, form)
		r := outside.Verify(t, w.Server, token)
		if r.Passed() || r.Integrity != auditor.Failed && !told(r, auditor.RolledBack, auditor.Forked) {
			t.Errorf("an older checkpoint shows nothing: %+v", r)
		}
		w.Auditor(t, "acme").Passes(t, w.Server, token)
	})
}

// told reports whether a report has a finding of one of the kinds.
func told(r *auditor.Report, kinds ...auditor.Kind) bool {
	for _, f := range r.Findings {
		for _, k := range kinds {
			if f.Kind == k {
				return true
			}
		}
	}
	return false
}

// What is no backup of this server is refused before anything is changed.
func TestABackupOfAnotherServerIsRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		file := w.backUp(t, "acme.backup")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w.Stop()
		config := filepath.Join(w.Dir, "bursar.yaml")
		master, err := os.ReadFile(filepath.Join(w.Dir, "master.key"))
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what, want string) {
			t.Helper()
			out, err := w.Bursar(t, "restore", file, "--config", config, "--replace")
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("%s: %v\n%s", what, err, out)
			}
		}
		write := func(name string, data []byte) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(w.Dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("acme.backup", text[:len(text)-1])
		refused("a file that is cut", "ends before its end")
		write("acme.backup", text)
		other := t.TempDir()
		w.run(t, "init", "--dir", other)
		foreign, err := os.ReadFile(filepath.Join(other, "master.key"))
		if err != nil {
			t.Fatal(err)
		}
		write("master.key", foreign)
		refused("another master key", "another master key")
		write("master.key", master)
		w.Restart(t)
		w.acme().MustExchange(t, harness.Form(w.workload(t), payments, readRefunds))
	})
}
