// Package metric shows what a process and its log count, in both programs.
package metric

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry with what a process shows of itself.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bursar_build_info", Help: "Always 1; its labels say what runs.",
			ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// ShowExpiry shows when the certificate of the listeners expires.
func ShowExpiry(r prometheus.Registerer, expiry func() time.Time) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bursar_certificate_expiry_timestamp_seconds",
		Help: "When the TLS certificate of the server expires, Unix seconds.",
	}, func() float64 { return float64(expiry().Unix()) }))
}
