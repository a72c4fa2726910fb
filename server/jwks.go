package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/server/keys"
)

// RevisionHeader says of which revision of a tenant's rows an answer to "?revision=N" is. Whoever has seen revision N
// in the store, as a standalone shim does, tells by it an answer that something on the way kept from one that is new
// enough. It is missing while the store is not what was signed of the tenant's log: then it may be one from before.
const RevisionHeader = "Bursar-Revision"

// jwks serves a tenant's public keys (RFC 7517 §5): the active ones, the next ones before they are used, and retired
// ones until the last token that they signed has expired.
func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	v, ok := s.view(w, r)
	if !ok {
		return
	}
	set := v.Ring.JWKS(s.cfg.Directory.Now())
	sum := sha256.Sum256(set)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("ETag", tag)
	if r.URL.Query().Has("revision") && (s.cfg.Vouch == nil || s.cfg.Vouch(r.Context(), v.Origin()) == nil) {
		h.Set(RevisionHeader, strconv.FormatInt(v.Revision, 10))
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(keys.JWKSMaxAge.Seconds())))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(set))
}
