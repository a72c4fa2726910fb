package server

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/bursar-sts/bursar/server/keys"
)

// jwks serves a tenant's public keys (RFC 7517 §5): the active ones, the next ones before they are used, and retired ones
// until the last token that they signed has expired.
func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	v, ok := s.view(w, r)
	if !ok {
		return
	}
	set := v.Ring.JWKS(s.cfg.Now())
	sum := sha256.Sum256(set)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	cache := fmt.Sprintf("public, max-age=%d", int(keys.JWKSMaxAge.Seconds()))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.Header().Set("Cache-Control", cache)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeJSON(w, http.StatusOK, cache, set)
}
