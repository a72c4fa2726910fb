package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/outpost"
)

// tenantCollector shows how many tenants can be served.
type tenantCollector struct{ stats func() outpost.Stats }

var (
	tenantsOf = prometheus.NewDesc("bursar_shim_tenants", "Tenants that the key of the standalone shim is for.", nil, nil)
	usable    = prometheus.NewDesc("bursar_shim_tenants_usable",
		"Of those, the tenants that could be read; the calls of the others are answered with 503.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c tenantCollector) Describe(to chan<- *prometheus.Desc) {
	to <- tenantsOf
	to <- usable
}

// Collect implements prometheus.Collector.
func (c tenantCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	to <- prometheus.MustNewConstMetric(tenantsOf, prometheus.GaugeValue, float64(s.Tenants))
	to <- prometheus.MustNewConstMetric(usable, prometheus.GaugeValue, float64(s.Usable))
}
