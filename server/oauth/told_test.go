package oauth

import (
	"strconv"
	"testing"
	"time"
)

// TestFailuresAreToldOnceASecond: each of them, however many others there are, and never for ever.
func TestFailuresAreToldOnceASecond(t *testing.T) {
	var told told
	now := time.Unix(1795390000, 0)
	if !told.first("a", now) || !told.first("b", now) {
		t.Error("a new failure was not told")
	}
	if told.first("a", now.Add(999*time.Millisecond)) {
		t.Error("a failure was told again within a second")
	}
	if !told.first("a", now.Add(time.Second)) {
		t.Error("a failure was not told again after a second")
	}
	for i := range 3 * maxTold {
		told.first(strconv.Itoa(i), now)
	}
	if len(told.last) > maxTold {
		t.Errorf("%d failures are remembered", len(told.last))
	}
}
