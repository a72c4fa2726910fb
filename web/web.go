// Package web holds the pages that people see.
package web

import (
	_ "embed"
	"net/http"
)

//go:embed authorize.html
var authorize []byte

// Authorize serves the page behind authorization_endpoint. bursar has no authorization endpoint: agents bring an
// identity and trade it. Widely used clients refuse metadata that names none, so somebody may come here and read that.
func Authorize() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(authorize)
	})
}
