package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
)

// What is not exactly a traceparent of W3C Trace Context is none, and never reaches the log.
func TestTheRecordNamesTheCallersTrace(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	rows := []struct {
		name    string
		headers []string
		want    string
	}{
		{"of version 00", []string{"00-" + trace + "-" + span + "-01"}, trace},
		{"that asks not to be traced", []string{"00-" + trace + "-" + span + "-00"}, trace},
		{"of a later version, which may be longer", []string{"cc-" + trace + "-" + span + "-01-more"}, trace},
		{"of version 00 that is longer", []string{"00-" + trace + "-" + span + "-01-more"}, ""},
		{"of the version that is none", []string{"ff-" + trace + "-" + span + "-01"}, ""},
		{"in capitals", []string{"00-" + strings.ToUpper(trace) + "-" + span + "-01"}, ""},
		{"whose trace id is zero", []string{"00-" + strings.Repeat("0", 32) + "-" + span + "-01"}, ""},
		{"whose parent is zero", []string{"00-" + trace + "-" + strings.Repeat("0", 16) + "-01"}, ""},
		{"with a short trace id", []string{"00-" + trace[1:] + "-" + span + "-01"}, ""},
		{"without a parent", []string{"00-" + trace + "--01"}, ""},
		{"without flags", []string{"00-" + trace + "-" + span}, ""},
		{"twice", []string{"00-" + trace + "-" + span + "-01", "00-" + trace + "-" + span + "-01"}, ""},
		{"that is text", []string{"a token"}, ""},
		{"not at all", nil, ""},
	}
	w := newWorld(t)
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {"payments"}}
	for i, row := range rows {
		form.Set("subject_token", w.Workload("ap-bot"))
		rec := send(w.Server, "POST", "/t/acme/token", func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header["Traceparent"] = row.headers
			r.Body = io.NopCloser(strings.NewReader(form.Encode()))
		})
		if rec.Code != http.StatusOK {
			t.Fatalf("%s: answered %d %s", row.name, rec.Code, rec.Body)
		}
		if got := w.Records("acme")[i].Body.Request.Trace; got != row.want {
			t.Errorf("a traceparent %s: recorded %q, want %q", row.name, got, row.want)
		}
	}
}

// A server that traces nothing pays nothing for that it could.
func TestWithoutATracerNothingIsAllocated(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	r := httptest.NewRequest(http.MethodPost, "/t/acme/token", nil)
	if n := testing.AllocsPerRun(100, func() { w.Server.Untraced(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
