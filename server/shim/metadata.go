package shim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/fault"
)

// wellKnown is where the metadata of protected resources begin (RFC 9728 §3).
const wellKnown = "/.well-known/oauth-protected-resource"

// resource is the metadata of a protected resource (RFC 9728 §2).
type resource struct {
	Resource      string   `json:"resource"`
	Servers       []string `json:"authorization_servers"`
	Scopes        []string `json:"scopes_supported"`
	BearerMethods []string `json:"bearer_methods_supported"`
	Name          string   `json:"resource_name"`
	Bound         bool     `json:"tls_client_certificate_bound_access_tokens"`
}

// metadata serves the metadata of a tool that may be discovered; false if the path is none of theirs.
func (s *Shim) metadata(w http.ResponseWriter, r *http.Request) bool {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), wellKnown+s.prefix+"/t/")
	if !ok {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	document, found, err := s.describe(r, path)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case err != nil:
		refusalOf(fault.As(err)).write(w, r)
		return true
	case !found:
		nothing(w)
		return true
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=60")
	_, _ = w.Write(document)
	return true
}

func (s *Shim) describe(r *http.Request, path string) (document []byte, found bool, err error) {
	slug, name, ok := strings.Cut(path, "/")
	if !ok || scopes.CheckSlug(slug) != nil || scopes.CheckSlug(name) != nil {
		return nil, false, nil
	}
	v, err := s.cfg.Tenants.Fresh(r.Context(), slug)
	if err != nil {
		return nil, false, dropNotFound(err)
	}
	tool, ok := v.Tools.Named(name)
	if !ok || !tool.Discoverable || tool.Disabled || tool.Upstream == nil {
		return nil, false, nil
	}
	document, err = json.Marshal(resource{
		Resource: tool.Resource, Servers: []string{v.Issuer}, BearerMethods: []string{"header"}, Name: tool.Name,
		Scopes: strings.Fields(tool.Scope(scopes.Actions(tool.Name, slices.Sorted(slices.Values(tool.Actions))...))),
	})
	return document, true, err
}

// nothing answers where there is nothing, and says nothing of what there is.
func nothing(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"error":"not_found"}`))
}

// challenge is what RFC 6750 §3 and RFC 9728 §5.1 want beside a refusal of a token.
func (s *Shim) challenge(c Call, presented bool, code, scope string) string {
	where := s.origin + wellKnown + s.prefix + "/t/" + c.Slug + "/" + c.Tool
	text := `Bearer realm="bursar", resource_metadata="` + where + `"`
	if presented { // RFC 6750 §3.1: without a token there is no error
		text += `, error="` + code + `"`
	}
	if scope != "" {
		text += `, scope="` + scope + `"`
	}
	return text
}
