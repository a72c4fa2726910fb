package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
)

// proxy returns Go's own reverse proxy, tuned as whoever cares would: connections and buffers are re-used, HTTP/1.1
// both ways, no compression. Like the shim it takes off where a tool is, and puts on a key.
func proxy(to, certificate string) (http.Handler, error) {
	target, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("there is no certificate in the file")
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/shim/t/acme/legacy")
			r.Out.Header.Del("Authorization")
			r.Out.Header.Set("X-Api-Key", "sk-live-4Zt7Qa9xLm2Kp8Wv3Nb6Yc1Rd5")
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 128,
			DisableCompression: true, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}},
		BufferPool: new(buffers),
	}, nil
}

// buffers are those of copies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if used, ok := b.pool.Get().(*[]byte); ok {
		return *used
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(used []byte) { b.pool.Put(&used) }
