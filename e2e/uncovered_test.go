package e2e_test

import (
	"errors"
	"net/http"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// While events can be stored and heads cannot, exchanges go on until 10,000 events have none; then nothing is issued in
// that log, and nothing changed, but for revocations. When heads can be stored again it goes on by itself.
func TestNothingIsIssuedWhenHeadsStayAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.Start(t, "redis"))
	w.withGlobex(t)
	spared := w.globexForm(t)
	kept := w.token(t)
	outside := w.Auditor(t, "acme")
	c := goredis.NewClient(&goredis.Options{Addr: w.Redis.Addr})
	defer func() { _ = c.Close() }()
	tiles := inRedis(t, c, "acme").prefix + "aud:tile"
	w.Redis.Command(t, "RENAME "+tiles+" aside")
	w.Redis.Command(t, "SET "+tiles+" x") // so that storing a tile fails, and nothing else

	l := new(load)
	l.start(t, w, 64)
	l.await(t, "refusals", &l.refusals, 64)
	l.stop()
	if n := l.tokens.Load(); n < 9_000 || n > 10_000+64+100 {
		t.Errorf("%d tokens were issued without a head", n)
	}
	form := harness.Form(w.workload(t), payments, readRefunds)
	a := w.acme().Exchange(t, form)
	if a.Status != http.StatusServiceUnavailable || a.Token() != "" || a.Header.Get("Retry-After") == "" {
		t.Errorf("status %d %s", a.Status, a.Body)
	}
	_, err := w.Operator.CreateSecret(t.Context(), "acme", "payments-api")
	if p, ok := errors.AsType[*operator.Problem](err); !ok || p.Status != http.StatusServiceUnavailable {
		t.Errorf("a secret was made: %v", err)
	}
	one := operator.Target{Kind: operator.CutoffToken, Value: harness.ID(kept)}
	if _, err := w.Operator.Revoke(t.Context(), "acme", one); err != nil {
		t.Errorf("revoke: %v", err)
	}
	w.At("globex").MustExchange(t, spared)

	w.Redis.Command(t, "DEL "+tiles)
	w.Redis.Command(t, "RENAME aside "+tiles)
	harness.Eventually(t, "it issues again", func() bool { return w.acme().Exchange(t, form).Status == http.StatusOK })
	outside.Passes(t, w.Server, l.received...)
}
