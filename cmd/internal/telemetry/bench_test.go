package telemetry_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
)

// BenchmarkExchange shows what tracing costs an exchange: CPU time of the process, everything included that sends the
// spans, and the answer of a collector that reads nothing.
//
//	go test ./cmd/internal/telemetry -run '^$' -bench Exchange -benchtime 4000x -count 10
func BenchmarkExchange(b *testing.B) {
	w := servertest.New(b, servertest.Options{})
	w.Create(servertest.Acme())
	c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(c.Close)
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {w.Workload("ap-bot")},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {"payments"}}.Encode()
	for _, row := range []struct {
		name   string
		sample float64
	}{{"off", -1}, {"0", 0}, {"0.05", 0.05}, {"1", 1}} {
		var tracer *telemetry.Tracer
		if row.sample >= 0 {
			var err error
			if tracer, err = telemetry.New(telemetry.Config{Endpoint: c.URL, Sample: row.sample,
				Logger: slog.New(slog.DiscardHandler)}); err != nil {
				b.Fatal(err)
			}
		}
		s := benchServer(w, tracer)
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64) // so that they share commits, as they do under load
			began := cpu()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodPost, "/t/acme/token", strings.NewReader(form))
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					rec := httptest.NewRecorder()
					if s.ServeHTTP(rec, r); rec.Code != http.StatusOK {
						b.Errorf("answered %d %s", rec.Code, rec.Body)
					}
				}
			})
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
		})
		if tracer != nil {
			_ = tracer.Close(context.WithoutCancel(b.Context()))
		}
	}
}

// BenchmarkTrace shows what a traced request costs more than one that is not: nine spans, made, packed and sent. Their
// number must stay below what the queue holds, or those that it drops cost nothing:
//
//	go test ./cmd/internal/telemetry -run '^$' -bench Trace -benchtime 400x -count 10
func BenchmarkTrace(b *testing.B) {
	c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(c.Close)
	tracer, err := telemetry.New(telemetry.Config{Endpoint: c.URL, Sample: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	d := exchange.Decided{Tenant: "acme", DecisionID: ledger.NewID(now), ClientID: "ap-bot", Txn: ledger.NewID(now),
		Outcome: audit.Allowed}
	for _, step := range strings.Fields("client subject target scope policy lifetime mint record") {
		d.Steps = append(d.Steps, exchange.Step{Name: step, Began: now, Ended: now})
	}
	b.ReportAllocs()
	began := cpu()
	for range b.N {
		ctx, span := tracer.Start(b.Context(), begun)
		tracer.Decided(ctx, d)
		span.Decide("ok")
		span.End(server.Ended{Status: http.StatusOK, Tenant: "acme", Time: now})
	}
	if err := tracer.Close(context.WithoutCancel(b.Context())); err != nil || tracer.Stats().Dropped > 0 {
		b.Fatalf("counted %+v: %v", tracer.Stats(), err)
	}
	b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
}

// benchServer returns a server over the world's store, which traces unless tracer is nil.
func benchServer(w *servertest.World, tracer *telemetry.Tracer) *server.Server {
	deciding := exchange.Config{Directory: w.Directory, Log: w.Log, Claims: w.Store}
	cfg := server.Config{BaseURL: servertest.BaseURL, Directory: w.Directory, Metrics: prometheus.NewRegistry(),
		Ready: func(context.Context) error { return nil }, Logger: slog.New(slog.DiscardHandler)}
	if tracer != nil {
		cfg.Tracer, deciding.Watch, deciding.Watches = tracer, tracer.Decided, tracer.Watches
	}
	cfg.Exchanger = exchange.New(deciding)
	return server.New(cfg)
}

// cpu is what the process has used so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
