package serve

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// timedStore is a store whose calls are counted and timed, but for Spend and those of sinks: no request waits for them,
// and the limiter and the sinks count their failures.
type timedStore struct {
	storage.Store
	took   map[string]prometheus.Observer
	failed map[string]prometheus.Counter
}

// timed are the calls of a store that are timed.
var timed = []string{"commit", "position", "rows", "cutoffs", "events", "claim"}

func newTimedStore(s storage.Store, r prometheus.Registerer) *timedStore {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "bursar_store_duration_seconds",
		Help:    "Duration of calls of the store by operation, whatever came of them.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"operation"})
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bursar_store_failures_total",
		Help: "Calls of the store by operation that it did not confirm.",
	}, []string{"operation"})
	r.MustRegister(took, failed)
	t := &timedStore{Store: s, took: map[string]prometheus.Observer{}, failed: map[string]prometheus.Counter{}}
	for _, operation := range timed {
		t.took[operation], t.failed[operation] = took.WithLabelValues(operation), failed.WithLabelValues(operation)
	}
	return t
}

// done counts a call that began at some time and has ended. What the store refuses with a reason, it has answered; what
// its caller gave up says nothing of the store.
func (t *timedStore) done(operation string, began time.Time, err error) {
	t.took[operation].Observe(time.Since(began).Seconds())
	if errors.Is(err, fault.ErrUnavailable) && !errors.Is(err, context.Canceled) {
		t.failed[operation].Inc()
	}
}

func (t *timedStore) Commit(ctx context.Context, id ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	began := time.Now()
	p, err := t.Store.Commit(ctx, id, c)
	t.done("commit", began, err)
	return p, err
}

func (t *timedStore) Position(ctx context.Context, id ledger.Tenant) (ledger.Position, error) {
	began := time.Now()
	p, err := t.Store.Position(ctx, id)
	t.done("position", began, err)
	return p, err
}

func (t *timedStore) Rows(ctx context.Context, id ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position,
	error) {
	began := time.Now()
	rows, p, err := t.Store.Rows(ctx, id, kinds...)
	t.done("rows", began, err)
	return rows, p, err
}

func (t *timedStore) Cutoffs(ctx context.Context, id ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position,
	error) {
	began := time.Now()
	cutoffs, p, err := t.Store.Cutoffs(ctx, id, after)
	t.done("cutoffs", began, err)
	return cutoffs, p, err
}

func (t *timedStore) Events(ctx context.Context, id ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	began := time.Now()
	entries, err := t.Store.Events(ctx, id, from, limit)
	t.done("events", began, err)
	return entries, err
}

func (t *timedStore) Claim(ctx context.Context, id ledger.Tenant, key string, until time.Time) (bool, error) {
	began := time.Now()
	fresh, err := t.Store.Claim(ctx, id, key, until)
	t.done("claim", began, err)
	return fresh, err
}
