package inject_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/scrub"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// TestMain names a proxy that is not there. Whoever asked it would get nowhere.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		if err := os.Setenv(name, "http://127.0.0.1:9"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// secret is the value that most kinds inject. It has what each of them has to escape.
const secret = `sk-live/4Zt7+Qa9=xLm2&Kp8?Wv3%Nb6:Yc1`

const tenant = ledger.Tenant("t-acme")

var plain = map[string]string{vault.Plain: secret}

// version returns a version of a secret.
func version(number int) vault.Ref {
	return vault.Ref{Name: "legacy-key", Version: number, Fingerprint: fmt.Sprint("print-", number)}
}

// nearby dials what is on this host.
func nearby() *dial.Guard {
	return &dial.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// upstream returns a tool's upstream of that address, ready for calls.
func upstream(t testing.TB, address string, inject ...tools.Injection) *tools.Upstream {
	t.Helper()
	for i := range inject {
		inject[i].Secret = "legacy-key"
	}
	rules := []tools.Rule{
		{Action: "call", Methods: []string{"GET"}, Path: "/bot/{bot}/of/{id}/{also}"},
		{Action: "call", Methods: []string{"GET", "POST", "PUT"}, Path: "/v1/{rest...}", Query: []string{"a", "b..."}},
	}
	for _, x := range inject { // every rule needs the place for it
		switch x.In {
		case tools.InPath:
			rules = rules[:1]
		case tools.InJSON, tools.InForm:
			rules = []tools.Rule{{Action: "call", Methods: []string{"POST"}, Path: "/v1/x", ContentTypes: []string{
				map[tools.Kind]string{tools.InJSON: "application/json", tools.InForm: "application/x-www-form-urlencoded"}[x.In]}}}
		}
	}
	tool := tools.Tool{Name: "legacy", Resource: "https://sts.example/shim/t/acme/legacy", Actions: []string{"call"},
		Upstream: &tools.Upstream{URL: address, Inject: inject, AllowPlaintext: true, AllowEncodedSlash: true,
			Allow: rules}}
	all, mistakes := tools.New([]tools.Tool{tool}, tools.Place{BaseURL: "https://sts.example",
		ShimURL: "https://sts.example/shim", Tenant: "acme"})
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	opened, _ := all.Named("legacy")
	return opened.Upstream
}

// call is what an agent sends.
type call struct {
	method, path, query string
	headers             []string // "Name: value", as they are passed on
	body                string
	stream              bool
}

// target routes a call and makes a request of it, as the shim does.
func (c call) target(t testing.TB, u *tools.Upstream) *inject.Target {
	t.Helper()
	match, err := u.Route(c.method, c.path, c.query)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := url.Parse(u.URL)
	if err != nil {
		t.Fatal(err)
	}
	out := (&http.Request{Method: c.method, Host: origin.Host, ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Scheme: origin.Scheme, Host: origin.Host}, Header: http.Header{}}).WithContext(t.Context())
	inject.Place(out, match.Path, match.Query)
	out.Header["User-Agent"] = nil
	for _, line := range c.headers {
		name, value, _ := strings.Cut(line, ": ")
		out.Header[name] = append(out.Header[name], value)
	}
	target := &inject.Target{Tenant: tenant, Request: out, Match: match, Dial: nearby()}
	switch {
	case c.stream:
		out.Body, out.ContentLength = io.NopCloser(strings.NewReader(c.body)), -1
	case c.body != "":
		target.Body = []byte(c.body)
		out.Body, out.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
	}
	return target
}

// apply puts the secrets of an upstream on a call, and returns what no answer may hold.
func apply(in *inject.Injector, target *inject.Target, u *tools.Upstream, fields map[string]string) ([]string, error) {
	var texts []string
	for i := range inject.Order(u.Inject) {
		more, err := in.Apply(context.Background(), target, u.Inject[i], version(1), vault.NewValue(fields))
		if err != nil {
			return nil, err
		}
		texts = append(texts, more...)
	}
	return append(texts, target.Once...), nil
}

// wire is an upstream that keeps the bytes which it gets, and answers with them.
type wire struct {
	net.Listener
	got chan string
}

func listen(t testing.TB, secured *tls.Config) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secured != nil {
		l = tls.NewListener(l, secured)
	}
	w := &wire{l, make(chan string, 1)}
	t.Cleanup(func() { _ = l.Close() })
	go w.serve()
	return w
}

func (w *wire) serve() {
	for {
		conn, err := w.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		var raw bytes.Buffer
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err == nil {
			text := raw.String()
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
			w.got <- text
		}
		_ = conn.Close()
	}
}

// send sends a call and returns what the upstream got.
func (w *wire) send(t testing.TB, target *inject.Target) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(target.Request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return <-w.got
}

// reason returns the code of a refusal, "" for none, and the text of any other error.
func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Reason
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// hides reports whether a scrubber of the texts leaves nothing of the secrets.
func hides(texts []string, answer string, secrets ...string) bool {
	masked, _ := scrub.New(texts...).String(answer)
	for _, s := range secrets {
		for i := 0; i+8 <= len(s); i++ {
			if strings.Contains(masked, s[i:i+8]) {
				return false
			}
		}
	}
	return true
}
