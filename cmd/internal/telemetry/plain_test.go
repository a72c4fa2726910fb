package telemetry_test

import (
	"compress/gzip"
	"io"
	"net/http"
)

// plain returns a request's body as it was before it was packed.
func plain(r *http.Request) io.Reader {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return r.Body
	}
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		return r.Body
	}
	return unpacked
}
