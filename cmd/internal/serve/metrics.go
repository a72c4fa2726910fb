package serve

import (
	"runtime"

	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/server/witness"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/limit"
)

// newRegistry returns a registry with what a process shows of itself.
func newRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bursar_build_info", Help: "Always 1; its labels say what runs.",
			ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// fetches returns what counts the fetches of trusted issuers' keys.
func fetches(r prometheus.Registerer) func(error) {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bursar_issuer_fetches_total",
		Help: "Fetches of the keys of trusted issuers and of clients, by outcome: ok or failed.",
	}, []string{"outcome"})
	r.MustRegister(all)
	ok, failed := all.WithLabelValues("ok"), all.WithLabelValues("failed")
	return func(err error) {
		if err != nil {
			failed.Inc()
			return
		}
		ok.Inc()
	}
}

// newUnkept returns what counts the rounds of maintenance in which not all keys could be looked after.
func newUnkept(r prometheus.Registerer) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "bursar_key_maintenance_failures_total",
		Help: "Rounds of maintenance in which the signing keys of some tenant could not be looked after.",
	})
	r.MustRegister(c)
	return c
}

// logCollector shows what a log counts. It has no label: the tenants of a server are without bound.
type logCollector struct {
	stats func() audit.Stats
}

// figures lists what is shown of s.
func figures(s audit.Stats) []prometheus.Metric {
	count, now := prometheus.CounterValue, prometheus.GaugeValue
	var all []prometheus.Metric
	add := func(kind prometheus.ValueType, name, help string, value float64) {
		desc := prometheus.NewDesc("bursar_log_"+name, help, nil, nil)
		all = append(all, prometheus.MustNewConstMetric(desc, kind, value))
	}
	add(count, "events_total", "Events that the store confirmed.", float64(s.Recorded))
	add(count, "commits_total", "Commits that those events were in.", float64(s.Commits))
	add(count, "refused_total", "Decisions and changes that were refused because they could not be recorded.",
		float64(s.Refused))
	add(count, "unreleased_total", "Events recorded so late that their callers had been refused.", float64(s.Unreleased))
	add(count, "lost_total", "Unauthenticated refusals that no event counts.", float64(s.Lost))
	add(now, "queued", "Calls that wait for the store.", float64(s.Queued))
	add(now, "down_tenants", "Tenants whose store does not answer; nothing of theirs is issued or changed.",
		float64(s.Down))
	add(now, "frozen_tenants",
		"Tenants that this process records nothing of until a restart, or until their loss is accepted.", float64(s.Frozen))
	return all
}

// Describe implements prometheus.Collector.
func (c logCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range figures(audit.Stats{}) {
		to <- m.Desc()
	}
}

// Collect implements prometheus.Collector.
func (c logCollector) Collect(to chan<- prometheus.Metric) {
	for _, m := range figures(c.stats()) {
		to <- m
	}
}

// treeCollector shows what the trees of the logs count.
type treeCollector struct{ stats func() tree.Stats }

var (
	treeHeads = prometheus.NewDesc("bursar_log_heads_total", "Signed heads of logs that were stored.", nil, nil)
	treeLost  = prometheus.NewDesc("bursar_log_head_conflicts_total",
		"Heads that another server was faster with.", nil, nil)
	treeFailed = prometheus.NewDesc("bursar_log_head_failures_total",
		"Attempts to sign a head of a log that failed.", nil, nil)
	treeUncovered = prometheus.NewDesc("bursar_log_uncovered",
		"Events that no signed head covers yet.", nil, nil)
	treeOldest = prometheus.NewDesc("bursar_log_uncovered_seconds",
		"How long the oldest event has waited for a signed head; nothing is issued in its log from a minute on.", nil, nil)
	treeHalted = prometheus.NewDesc("bursar_log_halted_tenants",
		"Logs that the store has lost events of, or others than were signed; nothing is issued in them.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c treeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{treeHeads, treeLost, treeFailed, treeUncovered, treeOldest, treeHalted} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c treeCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	count := func(desc *prometheus.Desc, value int64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value))
	}
	now := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	count(treeHeads, s.Heads)
	count(treeLost, s.Conflicts)
	count(treeFailed, s.Failures)
	now(treeUncovered, float64(s.Uncovered))
	now(treeOldest, s.Oldest.Seconds())
	now(treeHalted, float64(s.Halted))
}

// witnessCollector shows what witnesses do.
type witnessCollector struct{ stats func() witness.Stats }

var (
	witnessSigned = prometheus.NewDesc("bursar_log_witness_signatures_total",
		"Signatures of witnesses on heads of logs.", nil, nil)
	witnessFailed = prometheus.NewDesc("bursar_log_witness_failures_total",
		"Heads of logs that a witness was asked to sign and did not.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c witnessCollector) Describe(to chan<- *prometheus.Desc) {
	to <- witnessSigned
	to <- witnessFailed
}

// Collect implements prometheus.Collector.
func (c witnessCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	to <- prometheus.MustNewConstMetric(witnessSigned, prometheus.CounterValue, float64(s.Signed))
	to <- prometheus.MustNewConstMetric(witnessFailed, prometheus.CounterValue, float64(s.Failed))
}

// limitCollector shows what a limiter counts.
type limitCollector struct {
	stats func() limit.Stats
}

var (
	limited = prometheus.NewDesc("bursar_limited_total",
		"Requests refused with 429 by what was asked too often: address, client, tenant, or secret for wrong secrets.",
		[]string{"kind"}, nil)
	limitsForgotten = prometheus.NewDesc("bursar_limit_forgotten_total",
		"Counts that were dropped early because there were too many others; some callers could ask more often.", nil, nil)
	limitsUnshared = prometheus.NewDesc("bursar_limit_share_failures_total",
		"Rounds in which the servers could not tell each other what was asked; each kept to its own count.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c limitCollector) Describe(to chan<- *prometheus.Desc) {
	to <- limited
	to <- limitsForgotten
	to <- limitsUnshared
}

// Collect implements prometheus.Collector.
func (c limitCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	count := func(desc *prometheus.Desc, value int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	count(limited, s.Address, "address")
	count(limited, s.Client, "client")
	count(limited, s.Tenant, "tenant")
	count(limited, s.Secret, "secret")
	count(limitsForgotten, s.Forgotten)
	count(limitsUnshared, s.Unshared)
}
