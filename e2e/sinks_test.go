package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// A copy of the log has every event, in order, and what each says, whatever dies meanwhile: the server, in the middle
// of a batch, and the receiver. On Redis two servers share the sinks.
func TestCopiesOfTheLogSurviveCrashes(t *testing.T) {
	const concurrent = 100
	eachWorld(t, func(t *testing.T, w *world) {
		otel := newLogReceiver(t)
		path := filepath.Join(w.Dir, "copy.ndjson")
		w.Reconfigure(t, fmt.Sprintf("audit:\n  sinks:\n    - {name: file, kind: file, path: %q}\n"+
			"    - {name: out, kind: stdout, tenants: [acme]}\n    - {name: otel, kind: otlp, url: %q}\n", path, otel.URL))
		servers := []*harness.Server{w.Server}
		if w.Redis != nil {
			servers = append(servers, w.Twin(t))
		}
		form := harness.Form(w.workload(t), payments, readRefunds)
		for round := range 3 {
			otel.away(round == 1)
			killDuring(t, w, form, concurrent, concurrent*round/3)
			w.Restart(t)
		}
		otel.away(false)
		w.acme().MustExchange(t, form)
		if log := w.Events(t, "acme", 0); len(log) < concurrent/2 {
			t.Fatalf("there are only %d events", len(log))
		}
		for name, slug := range map[string]string{"/t/acme/log": "acme", "/log": ""} {
			origin := strings.TrimPrefix(w.BaseURL, "http://") + name
			want := claimsOf(t, w.Server, slug)
			copied(t, "the file", origin, want, func() []copiedEvent { return linesOf(t, path) })
			copied(t, "the collector", origin, want, otel.events)
			if slug != "" {
				copied(t, "standard output", origin, want, func() (all []copiedEvent) {
					for _, s := range servers {
						all = append(all, linesOf(t, s.Output())...)
					}
					return all
				})
			}
		}
	})
}

// copiedEvent is an event in a copy.
type copiedEvent struct {
	Origin string          `json:"origin"`
	Index  int64           `json:"index"`
	Claims json.RawMessage `json:"claims"`
}

// copied waits until a copy has every event, and fails the test if one says something else, or came before one that it
// follows had come.
func copied(t *testing.T, what, origin string, want []string, read func() []copiedEvent) {
	t.Helper()
	var got []copiedEvent
	harness.Eventually(t, what+" has everything of "+origin, func() bool {
		got = got[:0]
		has := map[int64]bool{}
		for _, e := range read() {
			if e.Origin == origin {
				got, has[e.Index] = append(got, e), true
			}
		}
		return len(has) >= len(want)
	})
	next := int64(0)
	for _, e := range got {
		if e.Index > next && what != "standard output" { // which is two files on Redis
			t.Fatalf("%s has event %d of %s before event %d", what, e.Index, origin, next)
		}
		next = max(next, e.Index+1)
		if e.Index < int64(len(want)) && string(e.Claims) != want[e.Index] {
			t.Fatalf("%s has %s as event %d of %s, which is %s", what, e.Claims, e.Index, origin, want[e.Index])
		}
	}
}

// claimsOf returns the log of a tenant, or the platform's.
func claimsOf(t *testing.T, s *harness.Server, slug string) (all []string) {
	t.Helper()
	for {
		q := operator.EventQuery{After: int64(len(all)), Limit: operator.MaxEvents}
		page, err := s.Operator.PlatformEvents(t.Context(), q)
		if slug != "" {
			page, err = s.Operator.Events(t.Context(), slug, q)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) == 0 {
			return all
		}
		for _, e := range page.Events {
			all = append(all, string(e.Claims))
		}
	}
}

// linesOf returns the lines of a file that are copies of events. Others are the server's own log, or were torn.
func linesOf(t *testing.T, path string) (all []copiedEvent) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e copiedEvent
		if json.Unmarshal(line, &e) == nil && e.Origin != "" {
			all = append(all, e)
		}
	}
	return all
}

// logReceiver takes log records as every OpenTelemetry collector does: OTLP over HTTP.
type logReceiver struct {
	*httptest.Server
	mu     sync.Mutex
	gone   bool
	copies []copiedEvent
}

func newLogReceiver(t *testing.T) *logReceiver {
	r := new(logReceiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gone {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err := r.take(request); err != nil {
			t.Errorf("export: %v", err)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *logReceiver) take(request *http.Request) error {
	unpacked, err := gzip.NewReader(request.Body)
	if err != nil {
		return nil // the server died
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		return nil
	}
	var export collectorpb.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		return err
	}
	for _, record := range export.ResourceLogs[0].ScopeLogs[0].LogRecords {
		e := copiedEvent{Claims: json.RawMessage(record.Body.GetStringValue())}
		for _, a := range record.Attributes {
			switch a.Key {
			case "bursar.log.origin":
				e.Origin = a.Value.GetStringValue()
			case "bursar.log.index":
				e.Index = a.Value.GetIntValue()
			}
		}
		r.copies = append(r.copies, e)
	}
	return nil
}

// away says whether the collector is away.
func (r *logReceiver) away(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

func (r *logReceiver) events() []copiedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]copiedEvent(nil), r.copies...)
}
