package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the server does. No label holds a tenant, client or token: their number is unbounded, and the log
// has them. What is counted of a request that is traced leads to its trace, by an exemplar of OpenMetrics.
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

// decided counts a decision; span is nil if its request is not traced.
func (m *metrics) decided(endpoint, outcome string, span Span) {
	c := m.decisions.WithLabelValues(endpoint, outcome)
	if adder, ok := c.(prometheus.ExemplarAdder); ok && span != nil {
		adder.AddWithExemplar(1, exemplar(span))
		return
	}
	c.Inc()
}

// served observes a request; span is nil if it is not traced.
func (m *metrics) served(route string, status int, took time.Duration, span Span) {
	o := m.requests.WithLabelValues(route, strconv.Itoa(status))
	if observer, ok := o.(prometheus.ExemplarObserver); ok && span != nil {
		observer.ObserveWithExemplar(took.Seconds(), exemplar(span))
		return
	}
	o.Observe(took.Seconds())
}

func exemplar(span Span) prometheus.Labels { return prometheus.Labels{"trace_id": span.Trace()} }
