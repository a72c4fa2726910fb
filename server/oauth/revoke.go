package oauth

import "net/http"

// Revoke serves POST /revoke (RFC 7009). 200 means that the token is revoked, or was never valid; a revocation that
// could not be recorded is 503.
func (e *Endpoints) Revoke(w http.ResponseWriter, r *http.Request) {
	q, ok := e.question(w, r, "revoke")
	if !ok {
		return
	}
	r, cancel := hurry(r)
	defer cancel()
	if err := e.cfg.Exchanger.Revoke(r.Context(), e.cfg.Slug(r), q); err != nil {
		e.refuse(w, r, "revoke", err)
		return
	}
	e.cfg.Observe(r, "revoke", "ok")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}
