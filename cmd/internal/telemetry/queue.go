package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Bounds of the queue. A span takes about 1 KB.
const (
	maxQueued = 4096            // spans that wait
	maxBatch  = 512             // spans in one export
	linger    = 2 * time.Second // how long a span waits for others
)

// queue sends spans that have ended to an exporter, many at a time. It never makes anybody wait: a span for which there
// is no room is dropped. OpenTelemetry's own does the same and tells nobody how many those were.
type queue struct {
	exporter sdk.SpanExporter
	logger   *slog.Logger
	counters [results]atomic.Int64

	spans   chan sdk.ReadOnlySpan
	flushes chan chan struct{} // each is closed when what was queued before has been sent
	life    context.Context    // ends when the worker must give up
	end     context.CancelFunc
	closing chan struct{} // closed: no span is taken any more
	once    sync.Once
	done    chan struct{} // closed by the worker
}

var _ sdk.SpanProcessor = (*queue)(nil)

// result is what can become of a span that has ended.
type result int

const (
	exported result = iota // the collector has it
	dropped                // there was no room in the queue
	failed                 // the collector did not take it
	results
)

// Stats counts spans that have ended, by what became of them.
type Stats struct{ Exported, Dropped, Failed int64 }

func newQueue(e sdk.SpanExporter, logger *slog.Logger) *queue {
	q := &queue{exporter: e, logger: logger, spans: make(chan sdk.ReadOnlySpan, maxQueued),
		flushes: make(chan chan struct{}), closing: make(chan struct{}), done: make(chan struct{})}
	q.life, q.end = context.WithCancel(context.Background())
	go q.run()
	return q
}

// OnStart does nothing: a span is looked at when it has ended.
func (q *queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd queues a span, or drops it.
func (q *queue) OnEnd(s sdk.ReadOnlySpan) {
	select {
	case <-q.closing:
		q.counters[dropped].Add(1)
		return
	default:
	}
	select {
	case q.spans <- s:
	default:
		q.counters[dropped].Add(1)
	}
}

// run sends until the queue is closed and empty.
func (q *queue) run() {
	defer close(q.done)
	ticker := time.NewTicker(linger)
	defer ticker.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, maxBatch)
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) == maxBatch {
				batch = q.send(batch)
			}
		case <-ticker.C:
			batch = q.send(batch)
		case flushed := <-q.flushes:
			batch = q.rest(batch)
			close(flushed)
		case <-q.closing:
			q.rest(batch)
			return
		}
	}
}

// rest sends the batch and everything that is queued by now.
func (q *queue) rest(batch []sdk.ReadOnlySpan) []sdk.ReadOnlySpan {
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) == maxBatch {
				batch = q.send(batch)
			}
		default:
			return q.send(batch)
		}
	}
}

// send exports a batch and returns it empty.
func (q *queue) send(batch []sdk.ReadOnlySpan) []sdk.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	became := exported
	if err := q.exporter.ExportSpans(q.life, batch); err != nil {
		became = failed
		q.logger.Warn("traces could not be sent", "spans", len(batch), "error", err)
	}
	q.counters[became].Add(int64(len(batch)))
	clear(batch) // or the spans would live until they are overwritten
	return batch[:0]
}

// ForceFlush sends what is queued, and returns when that is done or ctx ends.
func (q *queue) ForceFlush(ctx context.Context) error {
	flushed := make(chan struct{})
	select {
	case q.flushes <- flushed:
	case <-q.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown sends what is queued and ends the exporter. When ctx ends first, what is left is given up.
func (q *queue) Shutdown(ctx context.Context) error {
	q.once.Do(func() { close(q.closing) })
	select {
	case <-q.done:
	case <-ctx.Done():
		q.end()
		<-q.done
	}
	q.end()
	return q.exporter.Shutdown(context.WithoutCancel(ctx))
}

func (q *queue) stats() Stats {
	return Stats{Exported: q.counters[exported].Load(), Dropped: q.counters[dropped].Load(),
		Failed: q.counters[failed].Load()}
}
