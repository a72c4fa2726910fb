package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server"
)

// collector is one that takes OTLP over HTTP. What it took comes out of batches.
type collector struct {
	url     string
	batches chan []*tracepb.Span
	headers chan http.Header
}

// newCollector starts a collector that answers as before says, or takes everything.
func newCollector(t *testing.T, before http.HandlerFunc) *collector {
	c := &collector{batches: make(chan []*tracepb.Span, 100), headers: make(chan http.Header, 100)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before != nil {
			before(w, r)
			return
		}
		body, err := io.ReadAll(plain(r))
		var request coltrace.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
			t.Errorf("exported %s %s: %v", r.Method, r.URL, err)
		}
		var spans []*tracepb.Span
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				spans = append(spans, scope.Spans...)
			}
		}
		c.headers <- r.Header
		c.batches <- spans
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func newTracer(t *testing.T, cfg telemetry.Config) *telemetry.Tracer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	tracer, err := telemetry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, tracer, time.Millisecond) })
	return tracer
}

// closeIt lets the tracer send what it has, for as long as it may take.
func closeIt(t *testing.T, tracer *telemetry.Tracer, most time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), most)
	defer cancel()
	_ = tracer.Close(ctx) // a collector that a test broke takes nothing
}

// request traces one request.
func request(t *testing.T, tracer *telemetry.Tracer, b server.Begun) {
	t.Helper()
	_, span := tracer.Start(t.Context(), b)
	if span == nil {
		t.Fatal("the request is not traced")
	}
	span.Decide("ok")
	span.End(server.Ended{Status: 200, Tenant: "acme", Time: b.Time.Add(time.Second)})
}

var begun = server.Begun{Name: "token", Path: "/t/{tenant}/token", Method: "POST", Time: time.Unix(1700000000, 0)}

func TestASpanSaysWhatIsKnownAndNothingElse(t *testing.T) {
	c := newCollector(t, nil)
	tracer := newTracer(t, telemetry.Config{Endpoint: c.url + "/", Sample: 1,
		Headers: map[string]string{"authorization": "Basic abc"}})
	strange := begun
	strange.Method, strange.Path = "eyJhbGciOiJub25lIn0", ""
	request(t, tracer, begun)
	request(t, tracer, strange)
	closeIt(t, tracer, time.Minute)
	spans := <-c.batches
	if got := (<-c.headers).Get("Authorization"); got != "Basic abc" {
		t.Errorf("the collector was sent the header %q", got)
	}
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	want := []string{
		"token bursar.answer=ok bursar.tenant=acme http.request.method=POST http.response.status_code=200 " +
			"http.route=/t/{tenant}/token",
		"token bursar.answer=ok bursar.tenant=acme http.request.method=_OTHER http.response.status_code=200"}
	for i, s := range spans {
		if got := describe(s); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
		if s.Kind != tracepb.Span_SPAN_KIND_SERVER || s.StartTimeUnixNano != 1700000000e9 ||
			s.EndTimeUnixNano != 1700000001e9 || len(s.ParentSpanId) != 0 || s.TraceState != "" {
			t.Errorf("span %v", s)
		}
	}
	if tracer.Stats() != (telemetry.Stats{Exported: 2}) {
		t.Errorf("counted %+v", tracer.Stats())
	}
}

// describe returns a span as its name and its attributes, sorted.
func describe(s *tracepb.Span) string {
	var all []string
	for _, a := range s.Attributes {
		value := a.Value.GetStringValue()
		if n := a.Value.GetIntValue(); n != 0 {
			value = strings.TrimSpace(a.Value.String()[len("int_value:"):])
		}
		all = append(all, a.Key+"="+value)
	}
	slices.Sort(all)
	return s.Name + " " + strings.Join(all, " ")
}

// The trace is the caller's, so that both ends of the call are found together; whether it is kept is not.
func TestACallerJoinsATraceAndCannotForceOne(t *testing.T) {
	c := newCollector(t, nil)
	caller := begun
	caller.Parent = server.Parent{Trace: [16]byte{15: 1}, Span: [8]byte{7: 2}} // a ratio of ids would take or leave it
	never := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 0})
	for range 1000 {
		if ctx, span := never.Start(t.Context(), caller); span != nil || ctx != t.Context() {
			t.Fatal("a caller was traced that chance did not pick")
		}
	}
	seldom := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 0.5})
	taken := 0
	for range 1000 {
		if _, span := seldom.Start(t.Context(), caller); span != nil {
			taken++
		}
	}
	if taken == 0 || taken == 1000 {
		t.Errorf("of one trace id, %d of 1000 requests are traced", taken)
	}
	always := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 1})
	request(t, always, caller)
	closeIt(t, always, time.Minute)
	s := (<-c.batches)[0]
	if !bytes.Equal(s.TraceId, caller.Parent.Trace[:]) || !bytes.Equal(s.ParentSpanId, caller.Parent.Span[:]) {
		t.Errorf("trace %x, parent %x", s.TraceId, s.ParentSpanId)
	}
}

// A collector that does not answer costs spans, never time: what has no room is dropped, and counted.
func TestACollectorThatHangsHoldsNobodyUp(t *testing.T) {
	hang, hangs := make(chan struct{}), make(chan struct{}, 100)
	c := newCollector(t, func(http.ResponseWriter, *http.Request) { hangs <- struct{}{}; <-hang })
	t.Cleanup(func() { close(hang) })
	tracer := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 1})
	request(t, tracer, begun)
	<-hangs // the first export is under way, and stays so
	const many = 10_000
	for range many {
		request(t, tracer, begun)
	}
	if dropped := tracer.Stats().Dropped; dropped == 0 || dropped > many {
		t.Errorf("%d spans were dropped", dropped)
	}
	closeIt(t, tracer, 0)
	if s := tracer.Stats(); s.Exported != 0 || s.Failed+s.Dropped != many+1 {
		t.Errorf("counted %+v of %d", s, many+1)
	}
}

func TestACollectorThatRefusesIsCounted(t *testing.T) {
	c := newCollector(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	var log bytes.Buffer
	tracer := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 1, Headers: map[string]string{"x-key": "canary"},
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	request(t, tracer, begun)
	closeIt(t, tracer, time.Minute)
	if tracer.Stats() != (telemetry.Stats{Failed: 1}) || !strings.Contains(log.String(), "403") ||
		strings.Contains(log.String(), "canary") {
		t.Errorf("counted %+v, logged %s", tracer.Stats(), &log)
	}
}

// The credential of the collector goes to the collector alone.
func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := newCollector(t, nil)
	c := newCollector(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.url+"/v1/traces", http.StatusTemporaryRedirect)
	})
	tracer := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 1, Headers: map[string]string{"x-key": "canary"}})
	request(t, tracer, begun)
	closeIt(t, tracer, time.Minute)
	if len(elsewhere.headers) != 0 || tracer.Stats() != (telemetry.Stats{Failed: 1}) {
		t.Errorf("counted %+v", tracer.Stats())
	}
}

// The configuration alone says where traces go.
func TestTheEnvironmentDoesNotMoveTraces(t *testing.T) {
	elsewhere := newCollector(t, nil)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", elsewhere.url)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", elsewhere.url)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-more=1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
	c := newCollector(t, nil)
	tracer := newTracer(t, telemetry.Config{Endpoint: c.url, Sample: 1})
	request(t, tracer, begun)
	closeIt(t, tracer, time.Minute)
	if len(c.batches) != 1 || len(elsewhere.batches) != 0 || (<-c.headers).Get("X-More") != "" {
		t.Fatal("the environment decided")
	}
	if s := (<-c.batches)[0]; len(s.Attributes) != 5 {
		t.Errorf("the environment left %s", describe(s))
	}
}

func TestARequestThatIsNotTracedAllocatesNothing(t *testing.T) {
	tracer := newTracer(t, telemetry.Config{Endpoint: "http://127.0.0.1:1", Sample: 0})
	ctx := t.Context()
	n := testing.AllocsPerRun(1000, func() {
		ctx, span := tracer.Start(ctx, begun)
		if span != nil || tracer.Span(ctx) != nil {
			t.Error("the request is traced")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLinesNameTheirTrace(t *testing.T) {
	tracer := newTracer(t, telemetry.Config{Endpoint: "http://127.0.0.1:1", Sample: 1})
	var log bytes.Buffer
	logger := slog.New(telemetry.Handler(slog.NewJSONHandler(&log, nil))).With("a", 1)
	logger.InfoContext(t.Context(), "outside")
	if strings.Contains(log.String(), "trace_id") {
		t.Errorf("logged %s", &log)
	}
	with := begun
	with.Parent = server.Parent{Trace: [16]byte{0: 0xab, 15: 1}, Span: [8]byte{7: 2}}
	ctx, _ := tracer.Start(t.Context(), with)
	logger.InfoContext(ctx, "inside")
	if want := `"trace_id":"` + hex.EncodeToString(with.Parent.Trace[:]) + `"`; !strings.Contains(log.String(), want) {
		t.Errorf("logged %s without %s", &log, want)
	}
}
