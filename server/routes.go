package server

import (
	"net/http"

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
	methodsMember,
	algsMember string // the metadata members of its client authentication
}

// table lists the routes of every tenant and of the server itself. Order does not matter.
func (s *Server) table() []route {
	read := []string{http.MethodGet, http.MethodHead}
	return []route{
		{name: "token", path: "/t/{tenant}/token", handler: http.HandlerFunc(s.oauth.Token), member: "token_endpoint",
			methodsMember: "token_endpoint_auth_methods_supported", algsMember: "token_endpoint_auth_signing_alg_values_supported"},
		{name: "introspect", path: "/t/{tenant}/introspect", handler: http.HandlerFunc(s.oauth.Introspect), member: "introspection_endpoint",
			methodsMember: "introspection_endpoint_auth_methods_supported", algsMember: "introspection_endpoint_auth_signing_alg_values_supported"},
		{name: "revoke", path: "/t/{tenant}/revoke", handler: http.HandlerFunc(s.oauth.Revoke), member: "revocation_endpoint",
			methodsMember: "revocation_endpoint_auth_methods_supported", algsMember: "revocation_endpoint_auth_signing_alg_values_supported"},
		{name: "jwks", path: "/t/{tenant}/jwks.json", handler: http.HandlerFunc(s.jwks), methods: read, open: true, member: "jwks_uri"},
		{name: "authorize", path: "/t/{tenant}/authorize", handler: s.known(web.Authorize()), methods: read, member: "authorization_endpoint"},

		{name: "metadata", path: "/.well-known/oauth-authorization-server/t/{tenant}", handler: s.metadata(oauthMetadata), methods: read, open: true},
		{name: "metadata", path: "/.well-known/openid-configuration/t/{tenant}", handler: s.metadata(openidMetadata), methods: read, open: true},
		{name: "metadata", path: "/t/{tenant}/.well-known/openid-configuration", handler: s.metadata(openidMetadata), methods: read, open: true},

		{name: "health", path: "/healthz", handler: http.HandlerFunc(healthy), methods: read},
		{name: "ready", path: "/readyz", handler: http.HandlerFunc(s.ready), methods: read},
	}
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
