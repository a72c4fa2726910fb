package serve

import (
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/server/witness"
	"github.com/prometheus/client_golang/prometheus"
)

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
