package openbao_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/storage/openbao"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// everything does each thing that a client can ask for, and yields the errors by name.
func (w *world) everything(c *openbao.Client, yield func(what string, err error)) {
	w.t.Helper()
	ctx, acme := w.t.Context(), tenants["acme"]
	b := w.backend(c, "acme", 0)
	_, err := b.Put(ctx, acme, "payments-key", fields)
	yield("put", err)
	_, err = b.Get(ctx, acme, "payments-key/x")
	yield("get", err)
	yield("destroy", b.Destroy(ctx, acme, "payments-key/x"))
	_, err = c.Master(ctx, openbao.TransitKey{Mount: "transit", Name: "bursar"})
	yield("master", err)
}

// Attack A15, E2: a redirection is not followed, with the token or without it, whatever asks.
func TestARedirectionIsNotFollowed(t *testing.T) {
	var evil atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 304, 307, 308} {
		w := fake(t)
		c := w.client(w.Token)
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := len(w.Fake.Requests())
		redirect := func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", elsewhere.URL+r.URL.Path)
			if status == 307 {
				rw.Header().Set("Location", "/v1/"+w.mount+"/data/bursar/globex/payments-key/x")
			}
			rw.WriteHeader(status)
		}
		w.answering(redirect)
		asked := 0
		w.everything(c, func(what string, err error) {
			w.refused(err, "openbao.answer")
			asked++
			if what == "put" { // what may have been put is destroyed
				asked++
			}
		})
		if got := w.asked(before); len(got) != asked {
			t.Errorf("%d: it was asked %d times instead of %d: %v", status, len(got), asked, got)
		}
		w.Fake.Intercept(func(rw http.ResponseWriter, r *http.Request) bool { redirect(rw, r); return true })
		for _, method := range []string{openbao.Token, openbao.JWT} {
			w.refused(w.client(w.Token, func(c *openbao.Config) {
				c.Login.Method, c.Login.Mount, c.Login.Role = method, "jwt", "bursar"
			}).Check(t.Context()), "openbao.answer")
		}
	}
	if n := evil.Load(); n > 0 {
		t.Errorf("another server was asked %d times", n)
	}
}

// What OpenBao, or who is in its place, answers may hold anything: it is not told on.
func TestErrorsTellNothing(t *testing.T) {
	w := fake(t)
	c := w.client(w.Token)
	for _, body := range []string{
		`{"errors":["permission denied for ` + secretText + ` and ` + w.Token + `"]}`,
		"<html>" + secretText + w.Token,
		`{"data":{"data":"` + secretText + `"}}`,
		`{"data":{"data":{"tenant":"` + secretText + `","fields":{"value":7}},"metadata":"` + secretText + `"}}`,
		`{"data":"` + secretText + `"}`,
		`{"data":{"ciphertext":"` + secretText + `","version":"` + secretText + `"}}`,
		``,
		`"`,
	} {
		for _, status := range []int{200, 204, 400, 403, 404, 405, 412, 429, 500, 502, 503} {
			w.answering(func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(status)
				if status != 204 {
					_, _ = io.WriteString(rw, body)
				}
			})
			w.everything(c, func(what string, err error) {
				if what == "destroy" && status < 300 || what == "destroy" && status == 404 {
					return
				}
				if err == nil {
					t.Errorf("%s: %d %s is taken for an answer", what, status, body)
					return
				}
				w.quiet(fmt.Sprintf("%v %+v", err, err))
			})
		}
	}
}

func TestAnAnswerThatIsTooLongIsRefused(t *testing.T) {
	w := fake(t)
	c := w.client(w.Token)
	long := `{"data":{"data":{"fields":{"value":"` + strings.Repeat("x", 1<<20) + `"}}}}`
	for _, chunked := range []bool{false, true} {
		for _, status := range []int{200, 400} {
			w.answering(func(rw http.ResponseWriter, _ *http.Request) {
				if !chunked {
					rw.Header().Set("Content-Length", fmt.Sprint(len(long)))
				}
				rw.WriteHeader(status)
				_, _ = io.WriteString(rw, long)
			})
			_, err := w.backend(c, "acme", 0).Get(t.Context(), tenants["acme"], "payments-key/x")
			w.refused(err, "openbao.answer")
		}
	}
}

// A server that says nothing is waited for no longer than is configured.
func TestASilentServerIsNotWaitedFor(t *testing.T) {
	w := fake(t)
	c := w.client(w.Token, func(c *openbao.Config) { c.Timeout = 50 * time.Millisecond })
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.answering(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	w.everything(c, func(_ string, err error) {
		w.refused(err, "openbao.unreachable")
		if !openbao.Away(err) {
			t.Errorf("it is not known to be away: %v", err)
		}
	})
}

// Attack A8: nothing of the environment has a say in where a request goes, and with what.
func TestTheEnvironmentIsNotLookedAt(t *testing.T) {
	var evil atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { evil.Add(1) }))
	defer elsewhere.Close()
	for _, prefix := range []string{"BAO_", "VAULT_"} {
		for name, value := range map[string]string{"ADDR": elsewhere.URL, "AGENT_ADDR": elsewhere.URL,
			"PROXY_ADDR": elsewhere.URL, "HTTP_PROXY": elsewhere.URL, "TOKEN": "s.other", "NAMESPACE": "other",
			"SKIP_VERIFY": "true", "WRAP_TTL": "5m", "MAX_RETRIES": "7", "CLIENT_TIMEOUT": "1", "RATE_LIMIT": "0.001",
			"SRV_LOOKUP": "true", "CACERT": "/does/not/exist", "DISABLE_REDIRECTS": "false"} {
			t.Setenv(prefix+name, value)
		}
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, elsewhere.URL)
	}
	w := fake(t)
	before := len(w.Fake.Requests())
	b := w.acme()
	w.get(b, w.put(b))
	for _, r := range w.Fake.Requests()[before:] {
		if r.Token != w.Token || r.Namespace != "" {
			t.Errorf("it was asked with another token or namespace: %s", r.URI)
		}
	}
	if evil.Load() > 0 {
		t.Error("another server was asked")
	}
	s := baotest.StartTLS(t)
	err := w.client(s.Root, func(c *openbao.Config) { c.Address = s.URL }).Check(t.Context())
	w.refused(err, "openbao.unreachable")
}

// Attack A9: nothing is sent to a server whose certificate is not trusted.
func TestTheCertificateIsChecked(t *testing.T) {
	w := fake(t)
	s := baotest.StartTLS(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	for _, c := range []struct {
		address string
		roots   *x509.CertPool
		says    string
	}{
		{s.URL, roots, ""},
		{s.URL, nil, "x509"},
		{s.URL, x509.NewCertPool(), "x509"},
		{strings.Replace(s.URL, "127.0.0.1", "localhost", 1), roots, "x509"},
		{strings.Replace(s.URL, "https", "http", 1), roots, ""},
		{strings.Replace(w.URL, "http", "https", 1), roots, "HTTP response to HTTPS client"},
	} {
		before := len(s.Requests())
		err := w.client(s.Root, func(cfg *openbao.Config) { cfg.Address, cfg.Roots = c.address, c.roots }).Check(t.Context())
		if c.address == s.URL && c.roots == roots {
			if err != nil {
				t.Errorf("with its authority: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || len(s.Requests()) != before {
			t.Errorf("%s: %v", c.address, err)
		}
	}
}
