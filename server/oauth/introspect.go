package oauth

import (
	"errors"
	"net/http"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
)

// Introspect serves POST /introspect (RFC 7662). Every token that is not active for this caller is answered alike.
func (e *Endpoints) Introspect(w http.ResponseWriter, r *http.Request) {
	q, ok := e.question(w, r, "introspect")
	if !ok {
		return
	}
	r, cancel := hurry(r)
	defer cancel()
	claims, err := e.cfg.Exchanger.Introspect(r.Context(), e.cfg.Slug(r), q)
	switch {
	case errors.Is(err, clients.ErrNone):
		// A caller that presents nothing gets 400, one that fails 401 (RFC 9701 §5, RFC 7662 §2.3).
		e.cfg.Observe(r, "introspect", clients.ReasonNone)
		writeJSON(w, http.StatusBadRequest, body{
			Error: table[fault.InvalidClient].code, Description: legible(fault.As(err).Public)})
		return
	case err != nil:
		e.refuse(w, r, "introspect", err)
		return
	case claims == nil:
		e.cfg.Observe(r, "introspect", "inactive")
		writeJSON(w, http.StatusOK, inactive{})
		return
	}
	e.cfg.Observe(r, "introspect", "ok")
	writeActive(w, claims.Marshal())
}

// inactive is the answer for every token that is not active, whatever the reason (RFC 7662 §2.2).
type inactive struct {
	Active bool `json:"active"`
}

// writeActive answers with the claims and what introspection adds to them. The claims are a JSON object already.
func writeActive(w http.ResponseWriter, claims []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	_, _ = w.Write([]byte(`{"active":true,"token_type":"Bearer",`))
	_, _ = w.Write(claims[1:])
}
