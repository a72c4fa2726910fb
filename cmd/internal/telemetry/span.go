package telemetry

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/bursar-sts/bursar/server"
)

// The attributes of spans: these and no others. Their values are words of ours, numbers, ids that we made, and slugs of
// what an operator has registered; never what a caller sent.
const (
	keyMethod   = attribute.Key("http.request.method") // or _OTHER
	keyRoute    = attribute.Key("http.route")          // the template
	keyStatus   = attribute.Key("http.response.status_code")
	keyTenant   = attribute.Key("bursar.tenant")      // slug, of a tenant that exists
	keyClient   = attribute.Key("bursar.client_id")   // slug, of a client that proved itself
	keyDecision = attribute.Key("bursar.decision_id") // leads to the record in the log
	keyTxn      = attribute.Key("bursar.txn")         // the run
	keyOutcome  = attribute.Key("bursar.outcome")     // of the record: allowed, denied, error
	keyReason   = attribute.Key("bursar.reason")      // a code, such as policy.action
	keyAnswer   = attribute.Key("bursar.answer")      // ok, inactive, or the code of the refusal
)

// span is the span of a request.
type span struct {
	span trace.Span
}

// begin begins the span of a request. It is a child of what the caller says is its parent, so that the caller's trace
// and ours are one; nothing else of the caller's is taken over.
func (t *Tracer) begin(b server.Begun) *span {
	ctx := context.Background()
	if b.Parent != (server.Parent{}) {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: b.Parent.Trace, SpanID: b.Parent.Span, Remote: true}))
	}
	attributes := []attribute.KeyValue{keyMethod.String(method(b.Method))}
	if b.Path != "" {
		attributes = append(attributes, keyRoute.String(b.Path))
	}
	_, s := t.tracer.Start(ctx, b.Name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(b.Time),
		trace.WithAttributes(attributes...))
	return &span{s}
}

// methods are those that HTTP knows; any other is the caller's text.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace}

func method(m string) string {
	if slices.Contains(methods, m) {
		return m
	}
	return "_OTHER"
}

// Trace returns the id of the span's trace.
func (s *span) Trace() string { return s.span.SpanContext().TraceID().String() }

// Decide notes what an endpoint answered.
func (s *span) Decide(outcome string) { s.span.SetAttributes(keyAnswer.String(outcome)) }

// End ends the span. A refusal is no error: it is what the server is for.
func (s *span) End(e server.Ended) {
	s.span.SetAttributes(keyStatus.Int(e.Status))
	if e.Tenant != "" {
		s.span.SetAttributes(keyTenant.String(e.Tenant))
	}
	if e.Status >= http.StatusInternalServerError {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End(trace.WithTimestamp(e.Time))
}
