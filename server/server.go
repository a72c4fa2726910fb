// Package server assembles the surfaces into one HTTP handler. What is mounted is a table of routes; the metadata that
// clients discover (RFC 8414) is derived from it. It is the only package that knows gorilla/mux.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/oauth"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what the server needs. Every field but Logs, Tracer and Now is required.
type Config struct {
	BaseURL   string // an origin, without a trailing slash
	Directory *tenant.Directory
	Exchanger *exchange.Exchanger
	Admin     http.Handler // serves /admin/v1/; nil where the admin API has a listener of its own
	Logs      http.Handler // serves /log/ and /t/{tenant}/log/; nil serves no logs
	// Ready reports why the server cannot serve: its store does not answer.
	Ready func(context.Context) error
	// Vouch reports why a tenant's rows may be others than they were: its log is not what was signed. Nil vouches for all.
	Vouch   func(context.Context, audit.Origin) error
	Metrics prometheus.Registerer
	Logger  *slog.Logger
	Tracer  Tracer           // nil traces nothing
	Now     func() time.Time // default time.Now
}

// Server is the HTTP handler of all tenants.
type Server struct {
	cfg     Config
	oauth   *oauth.Endpoints
	metrics *metrics
	routes  []route
	handler http.Handler
}

// New returns the handler.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Metrics)}
	s.oauth = oauth.New(oauth.Config{Exchanger: cfg.Exchanger, Slug: slug, Logger: cfg.Logger,
		Trace: s.trace, Observe: s.decided, Now: cfg.Now})
	s.routes = s.table()
	s.handler = s.mount()
	return s
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// mount makes the router. Paths are matched as they were sent: nothing is cleaned, decoded or redirected.
func (s *Server) mount() http.Handler {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, route := range s.routes {
		router.Handle(route.path, s.wrap(route))
	}
	if s.cfg.Admin != nil {
		router.PathPrefix("/admin/v1/").Handler(s.wrap(routeFor("admin", s.cfg.Admin)))
	}
	if s.cfg.Logs != nil {
		router.PathPrefix("/log/").Handler(s.wrap(routeFor("log", s.cfg.Logs)))
		router.PathPrefix("/t/{tenant}/log/").Handler(s.wrap(routeFor("log", s.cfg.Logs)))
	}
	router.NotFoundHandler = s.wrap(routeFor("none", http.HandlerFunc(notFound)))
	return router
}

// Apart returns what serves h on a listener of its own, with what all routes have.
func (s *Server) Apart(name string, h http.Handler) http.Handler { return s.wrap(routeFor(name, h)) }

// slug returns the tenant that the URL names.
func slug(r *http.Request) string { return mux.Vars(r)["tenant"] }

// view returns the tenant of the request for a public document; if it cannot, it has answered. The store is asked each
// time, because another process may have begun to sign with a new key, or revoked one; while it does not answer, what
// is known is better than nothing.
func (s *Server) view(w http.ResponseWriter, r *http.Request) (*tenant.View, bool) {
	v, err := s.cfg.Directory.Fresh(r.Context(), slug(r))
	if err != nil && fault.As(err).Kind == fault.Unavailable {
		v, err = s.cfg.Directory.View(r.Context(), slug(r))
	}
	if err == nil {
		return v, true
	}
	switch f := fault.As(err); f.Kind {
	case fault.NotFound:
		notFound(w, r)
	default:
		s.cfg.Logger.ErrorContext(r.Context(), "read tenant", "tenant", slug(r), "error", err)
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, "no-store", []byte(`{"error":"temporarily_unavailable"}`))
	}
	return nil, false
}

// notFound answers for everything that does not exist, and says nothing of what does.
func notFound(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusNotFound, "no-store", []byte(`{"error":"not_found"}`))
}

func writeJSON(w http.ResponseWriter, status int, cache string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", cache)
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
