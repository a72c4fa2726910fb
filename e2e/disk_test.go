package e2e_test

import (
	"net/http"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// A disk that is full lets no token out, and loses none that is. The embedded store goes on after a restart; a Redis
// that syncs each write ends and is started again; one that syncs each second refuses meanwhile, and goes on by itself.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, store, sync string
		mend              func(*testing.T, *world)
	}{
		{"embedded", "bolt", "", func(t *testing.T, w *world) { w.Kill(); w.Restart(t) }},
		{"redis, always", "redis", "always", func(t *testing.T, w *world) { w.Redis.Kill(); w.Redis.Restart(t) }},
		{"redis, everysec", "redis", "everysec", func(*testing.T, *world) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, harness.Start(t, c.store))
			w.token(t) // the tenant's log has a key
			outside := w.Auditor(t, "acme")
			disk := w.SmallDisk(t, "24")
			if c.sync != "" {
				w.Redis.Command(t, "CONFIG SET appendfsync "+c.sync)
			}
			outside.Watch(t, w.Server)
			l := new(load)
			l.start(t, w, 8)
			l.await(t, "tokens before the disk is full", &l.tokens, 50)
			disk.Fill(t)
			l.await(t, "refusals", &l.refusals, 50)
			form := harness.Form(w.workload(t), payments, readRefunds)
			for range 20 {
				a := w.acme().Exchange(t, form)
				if a.Status != http.StatusServiceUnavailable || a.Token() != "" || a.Header.Get("Retry-After") == "" {
					t.Errorf("with a full disk: status %d %s", a.Status, a.Body)
				}
			}
			if _, err := w.TryApply(t, "apiVersion: bursar/v1\ntenant: globex\n"); err == nil {
				t.Error("with a full disk a tenant was made")
			}
			one := operator.Target{Kind: operator.CutoffToken, Value: harness.ID(l.last())}
			if _, err := w.Operator.Revoke(t.Context(), "acme", one); err == nil {
				t.Error("with a full disk a revocation was confirmed")
			}
			l.stop()
			disk.Free(t)
			c.mend(t, w)
			harness.Eventually(t, "it serves again", func() bool {
				_, err := w.Operator.Revoke(t.Context(), "acme", one)
				return err == nil
			})
			var again load
			again.start(t, w, 8)
			again.await(t, "tokens after there is space", &again.tokens, 50)
			again.stop()
			outside.Passes(t, w.Server, append(l.received, again.received...)...)
		})
	}
}
