package shim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

// forgetful is a log that records nothing, so that what is left is the shim's own work.
type forgetful struct {
	shim.Log
	at ledger.Position
}

func (f forgetful) Append(context.Context, audit.Origin, audit.Event, ...ledger.Claim) (ledger.Position, error) {
	return f.at, nil
}

func (forgetful) Post(audit.Origin, audit.Event) error { return nil }

// buffers are those of the plain proxy's copies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if used, ok := b.pool.Get().(*[]byte); ok {
		return *used
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(used []byte) { b.pool.Put(&used) }

// BenchmarkCall compares a call through a plain proxy with one through the shim, without a record and with one in an
// embedded store. Compare the rows of one run.
func BenchmarkCall(b *testing.B) {
	w := newWorld(b, servertest.Options{})
	body := strings.Repeat("all is well ", 85)
	w.upstream.answers(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, body) })
	at, err := w.Store.Position(b.Context(), w.ID("acme"))
	if err != nil {
		b.Fatal(err)
	}
	target, _ := url.Parse(w.upstream.URL)
	transport := w.upstream.Client().Transport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.DisableCompression, transport.ForceAttemptHTTP2 = 128, true, false
	plain := &httputil.ReverseProxy{Transport: transport, BufferPool: new(buffers)}
	plain.Rewrite = func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.URL.Path = "/v1/feed"
		r.Out.Header.Set("X-Api-Key", key)
	}
	for _, row := range []struct {
		name string
		http.Handler
	}{
		{"plain", plain},
		{"unrecorded", w.newShim(b, w.Process, forgetful{w.Process.Log, at})},
		{"recorded", w.shim},
	} {
		b.Run(row.name, func(b *testing.B) {
			front := httptest.NewServer(row)
			defer front.Close()
			token := w.token()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			servertest.ReportCPU(b, func() {
				for b.Loop() {
					r, _ := http.NewRequestWithContext(b.Context(), "GET", front.URL+"/shim/t/acme/legacy/v1/feed", nil)
					r.Header.Set("Authorization", "Bearer "+token)
					response, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					if response.StatusCode != 200 {
						b.Fatal(response.Status)
					}
				}
			})
		})
	}
}
