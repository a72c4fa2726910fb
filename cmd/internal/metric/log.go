package metric

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/audit"
)

// Log shows what a log counts. It has no label: the tenants of a server are without bound.
type Log struct{ Stats func() audit.Stats }

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
func (c Log) Describe(to chan<- *prometheus.Desc) {
	for _, m := range figures(audit.Stats{}) {
		to <- m.Desc()
	}
}

// Collect implements prometheus.Collector.
func (c Log) Collect(to chan<- prometheus.Metric) {
	for _, m := range figures(c.Stats()) {
		to <- m
	}
}
