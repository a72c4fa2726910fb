package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the server does. No label holds a tenant, client or token: their number is unbounded, and the log
// has them.
type metrics struct {
	decisions *prometheus.CounterVec
	requests  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bursar_decisions_total",
			Help: "Requests to the OAuth endpoints by endpoint and outcome: ok, inactive, or the reason of the refusal.",
		}, []string{"endpoint", "outcome"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bursar_http_request_duration_seconds",
			Help:    "Duration of requests by route and status.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"route", "status"}),
	}
	r.MustRegister(m.decisions, m.requests)
	return m
}

func (m *metrics) decided(endpoint, outcome string) {
	m.decisions.WithLabelValues(endpoint, outcome).Inc()
}

func (m *metrics) served(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}
