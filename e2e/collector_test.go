package e2e_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// collector takes traces as every OpenTelemetry collector does: OTLP over HTTP. A server that was stopped has sent all.
type collector struct {
	mu    sync.Mutex
	bytes []byte // everything received, headers too
	spans []*tracepb.Span
}

// traced lets a server trace every request to a new collector.
func traced(t *testing.T, s *harness.Server) *collector {
	t.Helper()
	c := new(collector)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			t.Errorf("export: %v", err)
		}
	}))
	t.Cleanup(receiver.Close)
	s.Reconfigure(t, fmt.Sprintf("traces: {otlp: %q, sample: 1}\n", receiver.URL))
	return c
}

func (c *collector) take(r *http.Request) error {
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		return err
	}
	var request collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = fmt.Append(append(c.bytes, body...), r.URL, r.Header)
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	return nil
}

// received returns every byte that was sent.
func (c *collector) received() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.bytes)
}

// all returns every span, in the order in which they began.
func (c *collector) all() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := slices.Clone(c.spans)
	slices.SortStableFunc(spans, func(a, b *tracepb.Span) int {
		return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano))
	})
	return spans
}

// of returns the spans of one trace.
func (c *collector) of(trace string) []*tracepb.Span {
	return slices.DeleteFunc(c.all(), func(s *tracepb.Span) bool { return fmt.Sprintf("%x", s.TraceId) != trace })
}

// attribute returns an attribute of a span as text, empty if there is none.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}
