package metric

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/limit"
)

// Limits shows what a limiter counts.
type Limits struct{ Stats func() limit.Stats }

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
func (c Limits) Describe(to chan<- *prometheus.Desc) {
	to <- limited
	to <- limitsForgotten
	to <- limitsUnshared
}

// Collect implements prometheus.Collector.
func (c Limits) Collect(to chan<- prometheus.Metric) {
	s := c.Stats()
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
