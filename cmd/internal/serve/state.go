package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/cmd/internal/telemetry"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/tenant"
)

// tenantCollector shows in what state the tenants are that a process holds in memory: sums and extremes, because their
// number is without bound.
type tenantCollector struct {
	held   func() []*tenant.View
	period time.Duration // how long a key is to sign
	now    func() time.Time
}

var (
	descHeld = prometheus.NewDesc("bursar_tenants_held",
		"Tenants that this process holds in memory; it forgets those that nobody asks for.", nil, nil)
	descUnreadable = prometheus.NewDesc("bursar_tenants_unreadable",
		"Tenants of those whose stored configuration cannot be used; nothing of theirs is issued.", nil, nil)
	descKeyAge = prometheus.NewDesc("bursar_signing_key_age_seconds",
		"How long the oldest key has been signing, of all tenants in memory.", nil, nil)
	descKeyPeriod = prometheus.NewDesc("bursar_signing_key_period_seconds",
		"How long a key is to sign before the next one takes over (keys.rotate_every).", nil, nil)
)

// Describe implements prometheus.Collector.
func (c tenantCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHeld, descUnreadable, descKeyAge, descKeyPeriod} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c tenantCollector) Collect(to chan<- prometheus.Metric) {
	held, now := c.held(), c.now()
	unreadable := 0
	oldest := now
	for _, v := range held {
		if !v.Readable() {
			unreadable++
			continue
		}
		for _, k := range v.Ring.Info(now) {
			if k.State == keys.StateActive && k.ActiveFrom.Before(oldest) {
				oldest = k.ActiveFrom
			}
		}
	}
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(descHeld, float64(len(held)))
	gauge(descUnreadable, float64(unreadable))
	gauge(descKeyAge, now.Sub(oldest).Seconds())
	gauge(descKeyPeriod, c.period.Seconds())
}

// spanCollector shows what became of the spans that have ended.
type spanCollector struct {
	stats func() telemetry.Stats
}

var descSpans = prometheus.NewDesc("bursar_spans_total",
	"Spans that have ended, by what became of them: exported, dropped for want of room, or failed to be sent.",
	[]string{"result"}, nil)

// Describe implements prometheus.Collector.
func (c spanCollector) Describe(to chan<- *prometheus.Desc) { to <- descSpans }

// Collect implements prometheus.Collector.
func (c spanCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	for result, n := range map[string]int64{"exported": s.Exported, "dropped": s.Dropped, "failed": s.Failed} {
		to <- prometheus.MustNewConstMetric(descSpans, prometheus.CounterValue, float64(n), result)
	}
}
