package server

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Tracer makes the spans of requests.
type Tracer interface {
	// Start begins the span of a request, and returns it with a context that carries it. For a request that is not
	// traced it returns the context as it is, and nil.
	Start(ctx context.Context, b Begun) (context.Context, Span)
	// Span returns the span that ctx carries; nil if there is none.
	Span(ctx context.Context) Span
}

// Span is a request that is traced. It is used by one goroutine, until End.
type Span interface {
	// Trace returns the id of the trace that the span is part of: 32 hexadecimal digits.
	Trace() string
	// Decide notes what an OAuth endpoint answered: "ok", "inactive", or the code of a refusal.
	Decide(outcome string)
	// End ends the span.
	End(e Ended)
}

// Begun is what is known of a request that begins.
type Begun struct {
	Name   string // of the route, such as "token"
	Path   string // the route's template, such as "/t/{tenant}/token"; empty where no route matches
	Method string // as the caller wrote it
	Parent Parent
	Time   time.Time
}

// Ended is what is known of a request that ends.
type Ended struct {
	Status int
	Tenant string // the slug of a tenant that exists, or empty
	Time   time.Time
}

// Parent is the span that a caller says its request belongs to (W3C Trace Context §3.2). Its zero value is none.
type Parent struct {
	Trace [16]byte
	Span  [8]byte
}

// parent reads the traceparent header. What is not exactly of its form is none. The flags in it are not read: they ask
// to be traced, and a caller whom nobody knows yet does not decide that. Nor is tracestate, which is the caller's text.
func parent(h http.Header) Parent {
	values := h["Traceparent"]
	if len(values) != 1 {
		return Parent{}
	}
	version, rest, _ := strings.Cut(values[0], "-")
	trace, rest, _ := strings.Cut(rest, "-")
	span, flags, _ := strings.Cut(rest, "-")
	if version != "00" { // a later version may append to what the first one has
		flags, _, _ = strings.Cut(flags, "-")
	}
	if !isHex(version, 1) || version == "ff" || !isHex(trace, 16) || !isHex(span, 8) || !isHex(flags, 1) {
		return Parent{}
	}
	var p Parent
	_, _ = hex.Decode(p.Trace[:], []byte(trace)) // checked above
	_, _ = hex.Decode(p.Span[:], []byte(span))
	if p.Trace == [16]byte{} || p.Span == [8]byte{} {
		return Parent{}
	}
	return p
}

// isHex reports whether s is n bytes in lower-case hexadecimal digits, the only ones that are allowed.
func isHex(s string, n int) bool {
	return len(s) == 2*n && strings.Trim(s, "0123456789abcdef") == ""
}

// start begins the span of a request. Without a tracer, and for a request that is not traced, it does nothing.
func (s *Server) start(r *http.Request, route *route, began time.Time) (*http.Request, Span) {
	if s.cfg.Tracer == nil {
		return r, nil
	}
	ctx, span := s.cfg.Tracer.Start(r.Context(), Begun{Name: route.name, Path: route.path, Method: r.Method,
		Parent: parent(r.Header), Time: began})
	if span == nil {
		return r, nil
	}
	return r.WithContext(ctx), span
}

// span returns the span of a request, nil if it is not traced.
func (s *Server) span(r *http.Request) Span {
	if s.cfg.Tracer == nil {
		return nil
	}
	return s.cfg.Tracer.Span(r.Context())
}

// trace returns the id by which the record of a request is found from its trace: that of its own span, or else of the
// caller's; empty without either. A span is in its caller's trace, so the two never differ where there are both.
func (s *Server) trace(r *http.Request) string {
	if span := s.span(r); span != nil {
		return span.Trace()
	}
	if p := parent(r.Header); p != (Parent{}) {
		return hex.EncodeToString(p.Trace[:])
	}
	return ""
}

// decided counts what an OAuth endpoint answered.
func (s *Server) decided(r *http.Request, endpoint, outcome string) {
	span := s.span(r)
	if span != nil {
		span.Decide(outcome)
	}
	s.metrics.decided(endpoint, outcome, span)
}

// ended ends the span of a request, if it has one. A tenant is named only if there is one: what stands in its place
// otherwise is the caller's text.
func (s *Server) ended(r *http.Request, span Span, status int, now time.Time) {
	if span == nil {
		return
	}
	e := Ended{Status: status, Time: now}
	if name := slug(r); s.cfg.Directory.Knows(name) {
		e.Tenant = name
	}
	span.End(e)
}
