package server

import (
	"cmp"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// wrap gives a route what all of them have: headers, methods, a count, a span, and an answer when the handler panics.
func (s *Server) wrap(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.cfg.Now()
		rec := &recorder{ResponseWriter: w}
		r, span := s.start(r, &route, began)
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler {
				// The value of a panic can be anything, a token too; its place is enough to find it.
				s.cfg.Logger.ErrorContext(r.Context(), "panic", "route", route.name, "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeJSON(rec, http.StatusInternalServerError, "no-store", []byte(`{"error":"server_error"}`))
				}
			}
			status, now := cmp.Or(rec.status, http.StatusOK), s.cfg.Now()
			s.metrics.served(route.name, status, now.Sub(began), span)
			s.ended(r, span, status, now)
			if p == http.ErrAbortHandler { // the handler wants the connection to be cut
				panic(p)
			}
		}()
		h := rec.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if strings.HasPrefix(s.cfg.BaseURL, "https://") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if route.open {
			h.Set("Access-Control-Allow-Origin", "*")
		}
		switch {
		case r.Method == http.MethodOptions && route.path != "":
			rec.WriteHeader(http.StatusNoContent)
		case route.methods != nil && !slices.Contains(route.methods, r.Method):
			h.Set("Allow", strings.Join(route.methods, ", "))
			writeJSON(rec, http.StatusMethodNotAllowed, "no-store", []byte(`{"error":"method_not_allowed"}`))
		default:
			route.handler.ServeHTTP(rec, r)
		}
	})
}

// recorder remembers the status of a response.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
