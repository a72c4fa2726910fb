package shim_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

// A call that ends while its intent is being recorded is refused for that, and not as if the log were away.
func TestACallThatEndsBeforeItsIntentIsToldWhy(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "limits: {agent_concurrent: 3}", "timeouts: {total: 1ms}")
	w.upstream.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for range 5 {
		if response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", ""); response.StatusCode != 504 {
			t.Errorf("answered %d %s", response.StatusCode, body)
		}
	}
}

func TestACallThatComesAfterTheEndIsEnded(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	w.shim.Stop()
	if response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", ""); response.StatusCode != 503 {
		t.Errorf("answered %d %s", response.StatusCode, body)
	}
}

// slow are tenants that are not read before the call ends.
type slow struct{ shim.Tenants }

func (slow) At(ctx context.Context, _ string, _ ledger.Position) (*shim.View, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestACallThatEndsAmidItsIntentIsToldWhy(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "limits: {agent_concurrent: 3}", "timeouts: {total: 200ms}")
	s, err := shim.New(shim.Config{URL: "https://sts.example/shim", Tenants: slow{w.Process.ShimTenants()},
		Log: w.Process.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w.front.Config.Handler = s
	if response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", ""); response.StatusCode != 504 {
		t.Errorf("answered %d %s", response.StatusCode, body)
	}
	if got := w.uses(t, 2); got[1] != "error outcome upstream.timeout legacy-key:1" {
		t.Errorf("recorded %q", got)
	}
}
