package telemetry

import (
	"context"
	"log/slog"
)

// Handler returns a handler that adds to each line the id of the trace that its context belongs to, as trace_id.
func Handler(h slog.Handler) slog.Handler { return handler{h} }

type handler struct{ slog.Handler }

// Handle adds the id and passes the line on.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if s := of(ctx); s != nil {
		r.AddAttrs(slog.String("trace_id", s.Trace()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler whose lines have these attributes too.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup returns a handler whose lines are in a group; the id is, too.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
