package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
)

// Watches reports whether ctx is of a request that is traced: an exchange.Config's Watches.
func (t *Tracer) Watches(ctx context.Context) bool { return of(ctx) != nil }

// Decided adds what an exchange came to, and its steps as children, to the span of its request: an exchange.Config's
// Watch.
func (t *Tracer) Decided(ctx context.Context, d exchange.Decided) {
	s := of(ctx)
	if s == nil {
		return
	}
	s.span.SetAttributes(decided(d)...)
	parent := trace.ContextWithSpan(context.Background(), s.span)
	for i, step := range d.Steps {
		_, child := t.tracer.Start(parent, "exchange."+step.Name, trace.WithTimestamp(step.Began))
		if last := i == len(d.Steps)-1; last && d.Reason != "" {
			child.SetAttributes(keyReason.String(d.Reason))
			if d.Outcome == audit.Failed {
				child.SetStatus(codes.Error, "")
			}
		}
		child.End(trace.WithTimestamp(step.Ended))
	}
}

// decided are the attributes of an exchange. One by nobody in particular is counted and not recorded: its id leads
// nowhere.
func decided(d exchange.Decided) []attribute.KeyValue {
	all := []attribute.KeyValue{keyOutcome.String(string(d.Outcome)), keyTxn.String(d.Txn)}
	if d.ClientID != "" {
		all = append(all, keyClient.String(d.ClientID), keyDecision.String(d.DecisionID))
	}
	if d.Reason != "" {
		all = append(all, keyReason.String(d.Reason))
	}
	return all
}
