package telemetry_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server/deliver"
)

// logCollector takes log records as every OpenTelemetry collector does: OTLP over HTTP.
type logCollector struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*collogs.ExportLogsServiceRequest
	headers  []http.Header
	// answer says what is done with the records of a request: how many of them are rejected, or another answer (true).
	answer func(w http.ResponseWriter, records []*logspb.LogRecord) (rejected int64, answered bool)
	taken  []*logspb.LogRecord
}

func newLogCollector(t *testing.T) *logCollector {
	c := new(logCollector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(plain(r))
		request := new(collogs.ExportLogsServiceRequest)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/logs" || proto.Unmarshal(body, request) != nil ||
			r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("exported %s %s: %v", r.Method, r.URL, err)
			return
		}
		c.take(t, w, request, r.Header)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *logCollector) take(t *testing.T, w http.ResponseWriter, request *collogs.ExportLogsServiceRequest,
	header http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.headers = append(c.requests, request), append(c.headers, header)
	records := request.ResourceLogs[0].ScopeLogs[0].LogRecords
	response := new(collogs.ExportLogsServiceResponse)
	if c.answer != nil {
		rejected, answered := c.answer(w, records)
		if answered {
			return
		}
		response.PartialSuccess = &collogs.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: "canary"}
	}
	if response.PartialSuccess.GetRejectedLogRecords() == 0 {
		c.taken = append(c.taken, records...)
	}
	body, err := proto.Marshal(response)
	if err != nil {
		t.Error(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func (c *logCollector) sink() *telemetry.Logs {
	return telemetry.NewLogs(telemetry.LogsConfig{Endpoint: c.URL + "/", Version: "v1.2.3", Node: "node-1",
		Headers: map[string]string{"authorization": "Bearer canary"}})
}

// indexes returns the log indexes of what was taken.
func (c *logCollector) indexes() (all []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.taken {
		all = append(all, index(r))
	}
	return all
}

func index(r *logspb.LogRecord) int64 { return find(r.Attributes, "bursar.log.index").GetIntValue() }

func find(attributes []*commonpb.KeyValue, key string) *commonpb.AnyValue {
	for _, a := range attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

const traceID = "0af7651916cd43dd8448eb211c80319c"

func eventsOf(outcomes ...string) deliver.Batch {
	b := deliver.Batch{Log: deliver.Log{Tenant: "t", Slug: "acme"}, Origin: "sts.example/t/acme/log"}
	for i, outcome := range outcomes {
		claims := fmt.Sprintf(`{"jti":"id-%d","iat":1790000001,"toe":1790000000,"events":`+
			`{"urn:bursar:event:token.exchange:v1":{"outcome":%q,"request":{"trace":%q}}}}`, i, outcome, traceID)
		b.Events = append(b.Events, deliver.Event{Name: "token.exchange",
			Record: deliver.Record{Index: int64(i), SET: "x.y.z", Claims: json.RawMessage(claims)}})
	}
	return b
}

// TestARecordSaysWhatTheEventSays: its claims as they are, and what one searches by as attributes.
func TestARecordSaysWhatTheEventSays(t *testing.T) {
	c := newLogCollector(t)
	sink, b := c.sink(), eventsOf("allowed", "denied", "error")
	if n, err := sink.Give(t.Context(), b); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if got := c.headers[0].Get("Authorization"); got != "Bearer canary" {
		t.Errorf("authorization %q", got)
	}
	resource := c.requests[0].ResourceLogs[0].Resource.Attributes
	for key, want := range map[string]string{"service.name": "bursar", "service.version": "v1.2.3",
		"service.instance.id": "node-1"} {
		if got := find(resource, key).GetStringValue(); got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	severities := []logspb.SeverityNumber{9, 13, 17}
	for i, r := range c.taken {
		for key, want := range map[string]string{
			"event.name": "token.exchange", "log.record.uid": fmt.Sprintf("id-%d", i), "bursar.tenant": "acme",
			"bursar.log.origin": "sts.example/t/acme/log", "bursar.outcome": []string{"allowed", "denied", "error"}[i],
		} {
			if got := find(r.Attributes, key).GetStringValue(); got != want {
				t.Errorf("record %d: %s is %q", i, key, got)
			}
		}
		if index(r) != int64(i) || r.EventName != "token.exchange" || r.SeverityNumber != severities[i] ||
			r.TimeUnixNano != 1790000000e9 || r.ObservedTimeUnixNano != 1790000001e9 ||
			hex.EncodeToString(r.TraceId) != traceID || r.Body.GetStringValue() != string(b.Events[i].Claims) {
			t.Errorf("record %d is %v", i, r)
		}
	}
	b.Log.Slug = "" // the platform's log has no tenant
	if _, err := sink.Give(t.Context(), b); err != nil || find(c.taken[3].Attributes, "bursar.tenant") != nil {
		t.Error(err, c.taken[3])
	}
}

// TestWhatACollectorDoesNotConfirmIsNotGiven: not a status that is no success, not a success that is none of a
// collector, not a connection that ends.
func TestWhatACollectorDoesNotConfirmIsNotGiven(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"unavailable":        func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"bad request":        func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
		"accepted, not done": func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"a page":             func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>welcome</html>") },
		"elsewhere": func(w http.ResponseWriter) {
			w.Header().Set("Location", "/v2/logs")
			w.WriteHeader(http.StatusPermanentRedirect)
		},
		"half an answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "\x0a")
		},
	} {
		c := newLogCollector(t)
		c.answer = func(w http.ResponseWriter, _ []*logspb.LogRecord) (int64, bool) { answer(w); return 0, true }
		n, err := c.sink().Give(t.Context(), eventsOf("allowed", "allowed"))
		if n != 0 || err == nil || errors.As(err, new(*deliver.Refused)) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %d %v", name, n, err)
		}
	}
	c := newLogCollector(t)
	c.answer = func(w http.ResponseWriter, _ []*logspb.LogRecord) (int64, bool) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
		return 0, true
	}
	_, err := c.sink().Give(t.Context(), eventsOf("allowed"))
	if later, ok := errors.AsType[*deliver.Later](err); !ok || later.After != time.Minute {
		t.Errorf("%v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := newLogCollector(t).sink().Give(over, eventsOf("allowed")); n != 0 || err == nil {
		t.Error(n, err)
	}
}

// TestTheRecordThatIsRejectedIsFound, though a collector tells of a request how many it rejects and not which.
func TestTheRecordThatIsRejectedIsFound(t *testing.T) {
	c := newLogCollector(t)
	c.answer = func(_ http.ResponseWriter, records []*logspb.LogRecord) (rejected int64, _ bool) {
		for _, r := range records {
			if index(r)%3 == 1 {
				rejected++
			}
		}
		return rejected, false
	}
	sink, b := c.sink(), eventsOf(slices.Repeat([]string{"allowed"}, 8)...)
	var dead []int64
	for len(b.Events) > 0 {
		n, err := sink.Give(t.Context(), b)
		b.Events = b.Events[n:]
		if err == nil {
			continue
		}
		if refused, ok := errors.AsType[*deliver.Refused](err); !ok || refused.Code != "rejected" {
			t.Fatal(err)
		}
		dead = append(dead, b.Events[0].Index)
		b.Events = b.Events[1:]
	}
	if got := c.indexes(); !slices.Equal(dead, []int64{1, 4, 7}) || !slices.Equal(got, []int64{0, 2, 3, 5, 6}) {
		t.Errorf("taken %v, rejected %v", got, dead)
	}
}
