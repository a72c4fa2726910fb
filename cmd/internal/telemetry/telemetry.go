// Package telemetry traces requests with OpenTelemetry. It is the only package that knows OpenTelemetry's SDK; the rest
// of the house knows the interfaces server.Tracer and server.Span.
//
// Chance alone decides whether a request is traced, before anything else is done for it: a request that is not traced
// costs one random number. What a span says is decided by the list of attributes in span.go. Spans leave through a
// bounded queue; what the collector does not take in time is dropped and counted, and no request ever waits.
package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bursar-sts/bursar/server"
)

// Config says what is traced, and where that goes. Every field but Headers and RootCAs is required.
type Config struct {
	Endpoint string            // the collector's base URL; OTLP over HTTP goes to its path /v1/traces
	Headers  map[string]string // sent with every export
	RootCAs  *x509.CertPool    // whom the collector's certificate is trusted by; the system's
	Sample   float64           // the share of requests that are traced, from 0 to 1
	Version  string            // of the program
	Node     string            // name of this process
	Logger   *slog.Logger
}

// Tracer makes spans and sends them to a collector. It is safe for concurrent use.
type Tracer struct {
	sample   float64
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	queue    *queue
}

var _ server.Tracer = (*Tracer)(nil)

// New returns a Tracer. It asks nothing of the collector, which may be away. Close it.
func New(cfg Config) (*Tracer, error) {
	exporter, err := otlptrace.New(context.Background(), newClient(cfg))
	if err != nil {
		return nil, fmt.Errorf("prepare the export of traces: %w", err)
	}
	// The exporter has warnings of its own, which would go to standard error as plain text.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		cfg.Logger.Warn("OpenTelemetry", "error", err)
	}))
	q := newQueue(exporter, cfg.Logger)
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(q),
		sdk.WithSampler(sdk.AlwaysSample()), // of those that Start lets through
		sdk.WithRawSpanLimits(sdk.SpanLimits{AttributeCountLimit: 16, AttributeValueLengthLimit: 256}),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "bursar"),
			attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Node),
		)),
	)
	return &Tracer{sample: cfg.Sample, provider: provider, tracer: provider.Tracer("github.com/bursar-sts/bursar"),
		queue: q}, nil
}

// exportTime bounds one export; after a failure it is tried again for retryTime.
const (
	exportTime = 5 * time.Second
	retryTime  = 30 * time.Second
)

// newClient returns the client of the collector. Everything that OpenTelemetry would also take from the environment is
// set: the configuration file alone says where traces go and what goes with them.
func newClient(cfg Config) otlptrace.Client {
	headers := cfg.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	return otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(strings.TrimSuffix(cfg.Endpoint, "/")+"/v1/traces"),
		otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithTimeout(exportTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second,
			MaxInterval: 5 * time.Second, MaxElapsedTime: retryTime}),
		otlptracehttp.WithHTTPClient(&http.Client{
			Timeout: exportTime,
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
				IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
			},
			// The headers may hold a credential: it goes to the configured place and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	)
}

// Start begins the span of a request, if chance will have it.
func (t *Tracer) Start(ctx context.Context, b server.Begun) (context.Context, server.Span) {
	if rand.Float64() >= t.sample {
		return ctx, nil
	}
	s := t.begin(b)
	return context.WithValue(ctx, spanKey{}, s), s
}

// Span returns the span that ctx carries.
func (t *Tracer) Span(ctx context.Context) server.Span {
	if s := of(ctx); s != nil {
		return s
	}
	return nil
}

// spanKey is where a context carries a *span. It is not OpenTelemetry's own key: libraries that know that one would add
// spans of theirs, with attributes that nobody here has looked at.
type spanKey struct{}

func of(ctx context.Context) *span {
	s, _ := ctx.Value(spanKey{}).(*span)
	return s
}

// Stats returns what became of the spans that have ended.
func (t *Tracer) Stats() Stats { return t.queue.stats() }

// Close sends what is queued, for as long as ctx allows, and ends the tracer.
func (t *Tracer) Close(ctx context.Context) error {
	// The provider does nothing when ctx has ended, and what is queued then must be counted too.
	err := errors.Join(t.queue.Shutdown(ctx), t.provider.Shutdown(context.WithoutCancel(ctx)))
	if err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}
