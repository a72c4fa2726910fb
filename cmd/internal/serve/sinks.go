package serve

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/deliver"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/server/witness"
)

// deliver begins to copy the logs to the sinks, if there are any.
func (s *Server) deliver() error {
	if len(s.cfg.Audit.Sinks) == 0 {
		return nil
	}
	var targets []deliver.Target
	for _, sink := range s.cfg.Audit.Sinks {
		to, err := s.newSink(sink)
		if err != nil {
			for _, t := range targets {
				_ = t.Sink.Close()
			}
			return fmt.Errorf("open sink %s: %w", sink.Name, err)
		}
		targets = append(targets, deliver.Target{Name: sink.Name, Sink: to, All: sink.All(), Tenants: sink.Tenants,
			Platform: sink.OfPlatform(), Events: sink.Events})
	}
	logs := logs{log: s.log, trees: s.trees, directory: s.directory}
	sinks := deliver.New(deliver.Config{Store: s.store, Source: logs, Heads: logs, Targets: targets,
		Logger: s.cfg.Logger})
	s.sinks.Store(sinks)
	s.registry.MustRegister(sinkCollector{sinks.Status})
	return nil
}

// moved tells the sinks and the witnesses of a head of a log. The first look at a log is before they are there.
func (s *Server) moved(o audit.Origin, h ledger.Head) {
	if sinks := s.sinks.Load(); sinks != nil {
		sinks.Advanced(o.Tenant, covered(h))
	}
	if witnesses := s.witnesses.Load(); witnesses != nil {
		witnesses.Moved(o)
	}
}

// witness begins to have the heads of the logs witnessed, if there are witnesses.
func (s *Server) witness() error {
	var all []witness.Witness
	for i, w := range s.cfg.Audit.Witnesses {
		verifier, err := auditor.NewWitness(w.Key)
		if err != nil {
			return fmt.Errorf("witness %s: %w", w.URL, err)
		}
		all = append(all, witness.Witness{URL: w.URL, Verifier: verifier,
			Client: deliver.NewClient(s.cfg.Secrets.Witnesses[i].Roots)})
	}
	if len(all) > 0 {
		witnesses := witness.New(witness.Config{Trees: s.trees, Witnesses: all, Logger: s.cfg.Logger})
		s.witnesses.Store(witnesses)
		s.registry.MustRegister(witnessCollector{witnesses.Stats})
	}
	return nil
}

func covered(h ledger.Head) deliver.Covered {
	return deliver.Covered{Epoch: h.Epoch, First: h.First, Size: h.Size}
}

func (s *Server) newSink(sink config.Sink) (deliver.Sink, error) {
	reach := s.cfg.Secrets.Sinks[sink.Name]
	switch sink.Kind {
	case config.SinkFile:
		return deliver.NewFile(sink.Path, deliver.Format(sink.Format)), nil
	case config.SinkStdout:
		out, err := standardOutput()
		if err != nil {
			return nil, err
		}
		return deliver.NewStream(out, deliver.Format(sink.Format)), nil
	case config.SinkWebhook:
		return deliver.NewWebhook(deliver.WebhookConfig{URL: sink.URL, Headers: reach.Headers, RootCAs: reach.Roots}), nil
	case config.SinkOTLP:
		return telemetry.NewLogs(telemetry.LogsConfig{Endpoint: sink.URL, Headers: reach.Headers, RootCAs: reach.Roots,
			Version: s.cfg.Version, Node: node()}), nil
	}
	return nil, fmt.Errorf("there is no kind %q", sink.Kind)
}

// standardOutput returns another file of the same. When nobody reads any more, a write to standard output itself ends
// the process (os/signal, SIGPIPE); one to the other file is an error, and a sink may fail.
func standardOutput() (io.WriteCloser, error) {
	fd, err := syscall.Dup(int(os.Stdout.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "stdout"), nil
}

// logs is what sinks are given: everything that a signed head covers.
type logs struct {
	log       *audit.Log
	trees     *tree.Trees
	directory *tenant.Directory
}

// Logs returns the platform's log and those of all tenants.
func (l logs) Logs(ctx context.Context) ([]deliver.Log, error) {
	tenants, err := l.directory.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	all := []deliver.Log{{Tenant: ledger.Platform}}
	for _, slug := range slices.Sorted(maps.Keys(tenants)) {
		all = append(all, deliver.Log{Tenant: tenants[slug].ID, Slug: slug})
	}
	return all, nil
}

// Covered returns what the newest head covers.
func (l logs) Covered(ctx context.Context, of deliver.Log) (deliver.Covered, error) {
	h, err := l.trees.Latest(ctx, audit.Origin{Tenant: of.Tenant, Issuer: l.issuer(of)})
	return covered(h), err
}

// Origin returns the origin of a log in an epoch.
func (l logs) Origin(of deliver.Log, epoch int64) string { return auditor.Origin(l.issuer(of), epoch) }

func (l logs) issuer(of deliver.Log) string {
	if of.Slug == "" {
		return l.directory.PlatformOrigin().Issuer
	}
	return l.directory.IssuerURL(of.Slug)
}

// Read returns records of a log.
func (l logs) Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]deliver.Record, error) {
	records, err := l.log.Read(ctx, t, from, limit)
	if err != nil {
		return nil, err
	}
	all := make([]deliver.Record, len(records))
	for i, r := range records {
		all[i] = deliver.Record{Index: r.Index, SET: r.SET, Claims: r.Claims}
	}
	return all, nil
}

// sinkCollector shows how sinks are doing.
type sinkCollector struct {
	status func() []deliver.Status
}

var (
	sinkLag = prometheus.NewDesc("bursar_sink_lag_events",
		"Events that a sink does not have yet, of all logs, as far as this process knows.", []string{"sink"}, nil)
	sinkWaiting = prometheus.NewDesc("bursar_sink_waiting_logs",
		"Logs of which the last attempt of this process to copy them to a sink failed.", []string{"sink"}, nil)
	sinkDelivered = prometheus.NewDesc("bursar_sink_delivered_total",
		"Events that this process has given to a sink.", []string{"sink"}, nil)
	sinkRetries = prometheus.NewDesc("bursar_sink_retries_total",
		"Attempts to give events to a sink that failed, and were or will be made again.", []string{"sink"}, nil)
	sinkDead = prometheus.NewDesc("bursar_sink_dead_letters_total",
		"Events that a sink refused for good.", []string{"sink"}, nil)
)

// Describe implements prometheus.Collector.
func (c sinkCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sinkLag, sinkWaiting, sinkDelivered, sinkRetries, sinkDead} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c sinkCollector) Collect(to chan<- prometheus.Metric) {
	count, now := prometheus.CounterValue, prometheus.GaugeValue
	for _, s := range c.status() {
		for _, m := range []struct {
			desc  *prometheus.Desc
			kind  prometheus.ValueType
			value int64
		}{{sinkLag, now, s.Behind}, {sinkWaiting, now, int64(s.Waiting)}, {sinkDelivered, count, s.Delivered},
			{sinkRetries, count, s.Retries}, {sinkDead, count, s.Dead}} {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value), s.Name)
		}
	}
}
