package serve

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/retain"
)

// sweeps is how often the logs are looked at for what is older than it is to be kept.
const sweeps = 10 * time.Minute

// newRetainer returns what prunes the logs; nil if nobody said what becomes of what is pruned.
func (s *Server) newRetainer() *retain.Retainer {
	c := s.cfg.Audit.Retention
	if c.Archive == "" {
		return nil
	}
	folder := c.Archive
	if folder == config.NoArchive {
		folder = ""
	}
	return retain.New(retain.Config{Store: s.store, Trees: s.trees, Keys: s.trees, Recorder: s.log, Logs: s.retained,
		Archive: folder, Keep: time.Duration(c.Keep), Logger: s.cfg.Logger})
}

// pruner is the retainer as admin wants it: a nil *retain.Retainer in it would be one.
func (s *Server) pruner() admin.Pruner {
	if s.retainer == nil {
		return nil
	}
	return s.retainer
}

// retained lists the logs, with the sinks that each is given to.
func (s *Server) retained(ctx context.Context) ([]retain.Log, error) {
	tenants, err := s.directory.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	all := []retain.Log{{Origin: s.directory.PlatformOrigin(), Sinks: s.sinksOf(config.Sink.OfPlatform)}}
	for _, slug := range slices.Sorted(maps.Keys(tenants)) {
		all = append(all, retain.Log{
			Origin: audit.Origin{Tenant: tenants[slug].ID, Issuer: s.directory.IssuerURL(slug)},
			Sinks:  s.sinksOf(func(k config.Sink) bool { return k.All() || slices.Contains(k.Tenants, slug) }),
		})
	}
	return all, nil
}

func (s *Server) sinksOf(given func(config.Sink) bool) (names []string) {
	for _, k := range s.cfg.Audit.Sinks {
		if given(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// retain drops what is old, every so often, until ctx ends.
func (s *Server) retain(ctx context.Context) {
	ticker := time.NewTicker(sweeps)
	defer ticker.Stop()
	for {
		if err := s.retainer.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
			s.cfg.Logger.WarnContext(ctx, "prune the logs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// retainCollector shows what was pruned.
type retainCollector struct {
	stats func() retain.Stats
}

var (
	retainDropped = prometheus.NewDesc("bursar_log_pruned_events_total",
		"Events that were older than they are to be kept, and were dropped from the store.", nil, nil)
	retainFailed = prometheus.NewDesc("bursar_log_prune_failures_total",
		"Logs that could not be pruned when it was their time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c retainCollector) Describe(to chan<- *prometheus.Desc) {
	to <- retainDropped
	to <- retainFailed
}

// Collect implements prometheus.Collector.
func (c retainCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	to <- prometheus.MustNewConstMetric(retainDropped, prometheus.CounterValue, float64(s.Dropped))
	to <- prometheus.MustNewConstMetric(retainFailed, prometheus.CounterValue, float64(s.Failed))
}
