package shimstats

import "github.com/prometheus/client_golang/prometheus"

// Tenants shows how many tenants a standalone shim is for, and how many of them it can serve.
func Tenants(stats func() (all, usable int)) prometheus.Collector {
	return tenants{stats: stats,
		all: prometheus.NewDesc("bursar_shim_tenants", "Tenants that the key of the standalone shim is for.", nil, nil),
		usable: prometheus.NewDesc("bursar_shim_tenants_usable",
			"Of those, the tenants that could be read; the calls of the others are answered with 503.", nil, nil)}
}

type tenants struct {
	stats       func() (all, usable int)
	all, usable *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (t tenants) Describe(to chan<- *prometheus.Desc) {
	to <- t.all
	to <- t.usable
}

// Collect implements prometheus.Collector.
func (t tenants) Collect(to chan<- prometheus.Metric) {
	all, usable := t.stats()
	to <- prometheus.MustNewConstMetric(t.all, prometheus.GaugeValue, float64(all))
	to <- prometheus.MustNewConstMetric(t.usable, prometheus.GaugeValue, float64(usable))
}
