package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/bursar-sts/bursar/server/oauth"
	"github.com/bursar-sts/bursar/server/tenant"
)

// document is one form of a tenant's metadata.
type document func(v *tenant.View, members map[string]any)

// metadata serves a tenant's metadata (RFC 8414 §3.2). Its endpoints are those that the route table mounts.
func (s *Server) metadata(form document) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := s.view(w, r)
		if !ok {
			return
		}
		members := map[string]any{
			"issuer": v.Issuer,
			// Nothing here has an authorization response. The member is required (RFC 8414 §2), empty or not.
			"response_types_supported": []string{},
			"grant_types_supported":    oauth.Grants(),
		}
		for _, route := range s.routes {
			route.announce(members, s.cfg.BaseURL+strings.Replace(route.path, "{tenant}", v.Slug, 1))
		}
		form(v, members)
		text, err := json.Marshal(members)
		if err != nil {
			panic(err) // strings and lists of strings marshal
		}
		writeJSON(w, http.StatusOK, "public, max-age=300", text)
	})
}

// oauthMetadata is the form of RFC 8414.
func oauthMetadata(*tenant.View, map[string]any) {}

// openidMetadata is the form that OpenID Connect clients probe. No ID tokens are issued; its list of algorithms is how
// widely used verifiers learn what signs the access tokens.
func openidMetadata(v *tenant.View, members map[string]any) {
	members["subject_types_supported"] = []string{"public"}
	members["id_token_signing_alg_values_supported"] = v.Ring.Algs()
}
