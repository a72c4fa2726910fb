// Package shimstats shows what a shim counts, in both programs that run one.
package shimstats

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/shim"
)

// Collector shows the counts of a shim. It has no label: tenants and tools are without bound.
type Collector struct{ Stats func() shim.Stats }

// Describe implements prometheus.Collector.
func (c Collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range figures(shim.Stats{}) {
		to <- m.Desc()
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(to chan<- prometheus.Metric) {
	for _, m := range figures(c.Stats()) {
		to <- m
	}
}

// figures lists what is shown of s.
func figures(s shim.Stats) []prometheus.Metric {
	count, now := prometheus.CounterValue, prometheus.GaugeValue
	var all []prometheus.Metric
	add := func(kind prometheus.ValueType, name, help string, value float64) {
		desc := prometheus.NewDesc("bursar_shim_"+name, help, nil, nil)
		all = append(all, prometheus.MustNewConstMetric(desc, kind, value))
	}
	add(count, "answered_total", "Calls whose answer was passed on whole.", float64(s.Answered))
	add(count, "refused_total", "Calls that were answered with a problem.", float64(s.Refused))
	add(count, "failed_total", "Calls whose answer was not passed on whole.", float64(s.Failed))
	add(count, "cut_total", "Calls that were ended because they were revoked, or took too long.", float64(s.Cut))
	add(count, "scrubbed_total", "Places in answers where a key was masked.", float64(s.Scrubbed))
	add(count, "unrecorded_total", "Outcomes of calls that could not be recorded.", float64(s.Unrecorded))
	add(now, "calls", "Calls under way.", float64(s.Calls))
	add(now, "streams", "WebSockets that are open.", float64(s.Streams))
	return all
}
