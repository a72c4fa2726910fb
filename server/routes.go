package server

import (
	"net/http"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/web"
)

// route is one thing that the server answers.
type route struct {
	name    string // names it in metrics
	path    string // a mux template
	handler http.Handler
	methods []string // allowed methods; nil where the handler decides
	open    bool     // scripts of any origin may read it (CORS): public documents only
	member  string   // the metadata member that announces it, "" for none
	client  string   // where clients authenticate: what the names of its metadata members begin with
}

// announce adds the route to a tenant's metadata, under its address.
func (r route) announce(members map[string]any, address string) {
	if r.member != "" {
		members[r.member] = address
	}
	if r.client != "" {
		members[r.client+"_endpoint"] = address
		members[r.client+"_endpoint_auth_methods_supported"] = clients.Methods()
		members[r.client+"_endpoint_auth_signing_alg_values_supported"] = clients.AssertionAlgorithms()
	}
}

// table lists the routes of every tenant and of the server itself. Order does not matter.
func (s *Server) table() []route {
	read := []string{http.MethodGet, http.MethodHead}
	all := []route{
		{name: "token", client: "token", path: "/t/{tenant}/token", handler: http.HandlerFunc(s.oauth.Token)},
		{name: "introspect", client: "introspection", path: "/t/{tenant}/introspect",
			handler: http.HandlerFunc(s.oauth.Introspect)},
		{name: "revoke", client: "revocation", path: "/t/{tenant}/revoke", handler: http.HandlerFunc(s.oauth.Revoke)},
		{name: "jwks", member: "jwks_uri", path: "/t/{tenant}/jwks.json",
			handler: http.HandlerFunc(s.jwks), methods: read, open: true},
		{name: "authorize", member: "authorization_endpoint", path: "/t/{tenant}/authorize",
			handler: s.known(web.Authorize()), methods: read},

		{name: "metadata", path: "/.well-known/oauth-authorization-server/t/{tenant}",
			handler: s.metadata(oauthMetadata), methods: read, open: true},
		{name: "metadata", path: "/.well-known/openid-configuration/t/{tenant}",
			handler: s.metadata(openidMetadata), methods: read, open: true},
		{name: "metadata", path: "/t/{tenant}/.well-known/openid-configuration",
			handler: s.metadata(openidMetadata), methods: read, open: true},

		{name: "health", path: "/healthz", handler: http.HandlerFunc(healthy), methods: read},
		{name: "ready", path: "/readyz", handler: http.HandlerFunc(s.ready), methods: read},
	}
	if s.cfg.Logs != nil { // whose public keys everybody may read; the rest of a log is mounted as the admin API is
		all = append(all,
			route{name: "log_keys", path: "/t/{tenant}/log/{document:vkey|keys}", handler: s.known(s.cfg.Logs),
				methods: read, open: true},
			route{name: "log_keys", path: "/log/{document:vkey|keys}", handler: s.cfg.Logs, methods: read, open: true})
	}
	return all
}

func routeFor(name string, h http.Handler) route { return route{name: name, handler: h} }

// known serves h only for tenants that exist.
func (s *Server) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.view(w, r); ok {
			h.ServeHTTP(w, r)
		}
	})
}
