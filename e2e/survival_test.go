package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// T-54, T-55: a revocation is a moment. What was issued up to it is dead, within the same second too, and stays so
// through crashes of the server and of Redis; what is issued after it was lifted lives, and survives them as well.
func TestRevocationsSurviveCrashes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, bot, alice := w.as(t, "payments-api"), w.workload(t), w.corp.Mint(t, harness.Mint{})
		forUser := harness.For(alice, bot, payments, readRefunds)
		dead := []string{w.acme().MustExchange(t, forUser)}
		subject := operator.Target{Kind: operator.CutoffSubject, Value: "corp:alice"}
		receipt, err := w.Operator.Revoke(t.Context(), "acme", subject)
		if err != nil {
			t.Fatal(err)
		}
		if at := harness.Claims(t, dead[0])["iat"].(float64); time.Unix(int64(at), 0).After(receipt.At) {
			t.Errorf("a token of %v was issued before a cutoff of %v", at, receipt.At)
		}
		single := w.token(t)
		if _, err := w.Operator.Revoke(t.Context(), "acme",
			operator.Target{Kind: operator.CutoffToken, Value: harness.ID(single)}); err != nil {
			t.Fatal(err)
		}
		dead = append(dead, single)
		crash := func() {
			t.Helper()
			w.Kill()
			if w.Redis != nil {
				w.Redis.Kill()
				w.Redis.Restart(t)
			}
			w.Restart(t)
			for _, token := range dead {
				if api.Active(t, token) {
					t.Error("a revoked token is active after a crash")
				}
			}
		}
		crash()
		refused(t, w.acme(), forUser, http.StatusBadRequest, "invalid_request", "revoked.subject")
		if _, err := w.Operator.Enable(t.Context(), "acme", subject); err != nil {
			t.Fatal(err)
		}
		fresh := w.acme().MustExchange(t, forUser)
		crash()
		if !api.Active(t, fresh) || !api.Active(t, w.acme().MustExchange(t, forUser)) {
			t.Error("a token of after the enabling is not active")
		}
	})
}
