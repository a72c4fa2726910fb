package shim_test

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

// panicking is a log that fails where nobody expects it: when an answer was passed on, or before.
type panicking struct {
	shim.Log
	post bool
}

func (p panicking) Post(o audit.Origin, e audit.Event) error {
	if p.post {
		panic("the key is " + key)
	}
	return p.Log.Post(o, e)
}

func (p panicking) Refuse(audit.Origin, string, netip.Addr) { panic("the key is " + key) }

// A fault of ours ends a call that has been answered in part, so that nobody takes the part for the whole, and tells
// nothing of what it was.
func TestAPanicIsNoAnswer(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(func(rw http.ResponseWriter, _ *http.Request) {
		rw.(http.Flusher).Flush() // so that the length is not known
		_, _ = io.WriteString(rw, "half")
	})
	w.front.Config.Handler = w.newShim(t, w.Process, panicking{w.Process.Log, true})
	if response, body := w.call(t, w.token(), "GET", "/v1/feed", ""); response.StatusCode == 200 &&
		!strings.Contains(body, "[cut: ") {
		t.Errorf("answered %s %q", response.Status, body)
	}
	response, body := w.call(t, "rubbish", "GET", "/v1/feed", "")
	if response.StatusCode != 500 || strings.Contains(body+w.logs.String(), key) {
		t.Errorf("answered %s %q, and logged %s", response.Status, body, w.logs)
	}
}
