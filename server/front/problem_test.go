package front_test

import (
	"net/http/httptest"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/front"
)

func TestEveryFaultHasASurface(t *testing.T) {
	statuses := map[string]int{}
	for _, k := range fault.Kinds() {
		status, code, ok := front.SurfaceOf(k)
		if !ok || status < 400 || statuses[code] != 0 && statuses[code] != status {
			t.Errorf("%v is %d %s", k, status, code)
		}
		statuses[code] = status
	}
	for code, status := range map[string]int{
		"invalid_request": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404, "method_not_allowed": 405,
		"conflict": 409, "gone": 410, "too_large": 413, "invalid": 422, "too_many_requests": 429, "internal": 500,
		"unavailable": 503,
	} {
		if statuses[code] != status || front.StatusOf(code) != status {
			t.Errorf("%s has the status %d, want %d", code, statuses[code], status)
		}
	}
	if status, code, ok := front.SurfaceOf(255); ok || status != 500 || code != "internal" {
		t.Errorf("an unknown kind is %d %s", status, code)
	}
}

// A front without a desk is a mistake, and must not be an open door.
func TestTheZeroFrontSignsNobodyIn(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer x")
	_, err := new(front.Front).Operator(w, r, "acme")
	if fault.As(err).Kind != fault.Unauthenticated ||
		w.Header().Get("WWW-Authenticate") != `Bearer realm="bursar admin", error="invalid_token"` {
		t.Errorf("answered %v %v", err, w.Header())
	}
}
