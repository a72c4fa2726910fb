package shimstats

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/decide"
)

// Decisions shows what front proxies were answered that ask in one form: "http" or "grpc".
func Decisions(form string, stats func() decide.Stats) prometheus.Collector {
	return decisions{stats, prometheus.NewDesc("bursar_proxy_decisions_total",
		"Questions of front proxies by form, http or grpc, and by answer: allowed (the key was handed over), "+
			"unauthenticated or refused.", []string{"answer"}, prometheus.Labels{"form": form})}
}

type decisions struct {
	stats func() decide.Stats
	desc  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (d decisions) Describe(to chan<- *prometheus.Desc) { to <- d.desc }

// Collect implements prometheus.Collector.
func (d decisions) Collect(to chan<- prometheus.Metric) {
	s := d.stats()
	for answer, n := range map[string]int64{
		"allowed": s.Allowed, "unauthenticated": s.Unauthenticated, "refused": s.Refused,
	} {
		to <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, float64(n), answer)
	}
}
