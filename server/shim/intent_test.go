package shim_test

import (
	"net/http"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
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
