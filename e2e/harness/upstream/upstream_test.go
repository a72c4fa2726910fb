package upstream_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

const key = "sk-legacy-9fQ2mZ7tK1wX4bR8vC3n"

// ask calls an upstream as the shim would, and shows what a caller without a shim would see.
func ask(t *testing.T, u *upstream.Upstream, method, target, more string) *raw.Reply {
	t.Helper()
	return raw.Ask(t, u.URL, method+" "+target+" HTTP/1.1\r\nHost: legacy\r\nX-Api-Key: "+key+"\r\n"+more+"\r\n")
}

// TestEveryPlaceLeaks: without a shim in between, every place gives the key away in every form. What the tests of the
// shim find nothing in, there was something in.
func TestEveryPlaceLeaks(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}})
	o := leak.Of(key)
	unread := strings.Fields("alt-svc twice odd deflate") // by the oracle; the first has no key
	for _, place := range upstream.Places() {
		for _, form := range upstream.Forms() {
			if slices.Contains([]string{"long", "bytewise"}, place) && form.Name != "raw" && form.Name != "base64-1" {
				continue // they take long
			}
			reply := ask(t, u, "GET", "/echo/"+place+"/"+form.Name+"?a=b", "")
			if !reply.Whole || reply.Status == 404 {
				t.Fatalf("%s, %s: status %d, whole %v: %q", place, form.Name, reply.Status, reply.Whole, tail(reply.Raw))
			}
			all := [][]byte{reply.Raw, reply.Body}
			found := slices.ContainsFunc(all, func(b []byte) bool { return len(o.Find(b)) > 0 })
			if place == "name" && !plain(form.Encode(key)) {
				continue // it does not fit there
			}
			if !found && !slices.Contains(unread, place) {
				t.Errorf("%s, %s: nothing is found in %q", place, form.Name, tail(reply.Raw))
			}
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-400):] }

func plain(s string) bool { return !strings.ContainsAny(s, "\"(),/:;<=>?@[\\]{} \r\n") }

// TestEveryPlanLeaks: the random answers hold what they say they do.
func TestEveryPlanLeaks(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}, Plain: true})
	o := leak.Of(key)
	for seed := range uint64(300) {
		p := upstream.NewPlan(seed, key)
		if len(o.Find(p.Plain)) == 0 {
			t.Errorf("no key in the body: %s", p.What)
		}
		for _, text := range p.Planted {
			if !bytes.Contains(p.Plain, []byte(text)) {
				t.Errorf("a text was not planted: %s", p.What)
			}
		}
		reply := ask(t, u, "GET", fmt.Sprintf("/random/%d", seed), "")
		if !reply.Whole || reply.Status != p.Status || !bytes.Equal(reply.Body, p.Body) {
			t.Errorf("not sent as planned: %s; status %d, %d bytes", p.What, reply.Status, len(reply.Body))
		}
	}
}

func TestRequestsAreKeptByteByByte(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}})
	c := raw.Dial(t, u.URL)
	first := "POST /v1/x?a=%2Fb HTTP/1.1\r\nhOsT: legacy\r\nX-Two: 1\r\nx-two:2\r\nContent-Length: 5\r\n\r\nhello"
	second := "PUT /v1/y HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Api-Key: " + key + "\r\n\r\n" +
		"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
	c.Send(t, first+second)
	if a, b := c.Receive(t, "POST"), c.Receive(t, "PUT"); a.Status != 401 || b.Status != 200 {
		t.Errorf("status %d, %d", a.Status, b.Status)
	}
	all := u.Requests()
	if len(all) != 2 || string(all[0].Raw) != first || string(all[1].Raw) != second || string(all[1].Body) != "abcde" {
		t.Fatalf("%d requests: %+v", len(all), all)
	}
	if got := all[0].Get("X-TWO"); !slices.Equal(got, []string{"1", "2"}) || all[0].Header[0].Name != "hOsT" {
		t.Errorf("%q, %v", got, all[0].Header)
	}
	if n := u.Count(); n.Connections != 1 || n.Handshakes != 1 || n.Requests != 2 || n.Bytes != int64(len(first+second)) {
		t.Errorf("%+v", n)
	}
}

func TestTheCertificateIsAsOrdered(t *testing.T) {
	for _, cert := range upstream.Certs() {
		fits := cert == upstream.CertGood
		u := upstream.Start(t, upstream.Options{Cert: cert})
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(u.CA)) {
			t.Fatal("no CA")
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
		response, err := (&http.Client{Transport: transport}).Get(u.URL + "/v1/x")
		if err == nil {
			_ = response.Body.Close()
		}
		transport.CloseIdleConnections()
		if got := err == nil; got != fits {
			t.Errorf("%s: %v", cert, err)
		}
		if n := u.Count(); fits != (n.Bytes > 0) {
			t.Errorf("%s: %+v", cert, n)
		}
	}
}

// TestALibraryUnderstands: what is not hostile is right, by the standard library's reading.
func TestALibraryUnderstands(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}, Plain: true})
	for _, path := range strings.Fields("gzip/raw sse/raw trailer/raw close/hex early/raw") {
		request, err := http.NewRequestWithContext(t.Context(), "GET", u.URL+"/echo/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Api-Key", key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || len(body) == 0 || !response.Uncompressed && strings.Contains(path, "gzip") {
			t.Errorf("%s: %v, %d bytes", path, err, len(body))
		}
		if strings.Contains(path, "trailer") && !strings.Contains(response.Trailer.Get("X-Echo"), key) {
			t.Errorf("trailer %v", response.Trailer)
		}
	}
}

func TestEndsEndOrDoNot(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}})
	for _, end := range upstream.Ends() {
		silent := end == "hang" || end == "close"
		wait := time.Minute
		if silent {
			wait = 50 * time.Millisecond
		}
		c := raw.Dial(t, u.URL)
		c.Send(t, "GET /end/"+end+" HTTP/1.1\r\nX-Api-Key: "+key+"\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(wait))
		some := make([]byte, 100)
		n, err := c.Read(some)
		if n == 0 != silent {
			t.Errorf("%s: %d bytes, %v", end, n, err)
		}
		_ = c.Close()
	}
}

func TestWebSockets(t *testing.T) {
	u := upstream.Start(t, upstream.Options{Keys: []string{key}})
	const nonce = "dGhlIHNhbXBsZSBub25jZQ=="
	open := func(how string) *raw.Conn {
		c := raw.Dial(t, u.URL)
		c.Send(t, "GET /ws/"+how+" HTTP/1.1\r\nX-Api-Key: "+key+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+nonce+"\r\n\r\n")
		r := c.Receive(t, "GET")
		good := r.Get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 §1.3
		if r.Status != 101 || good != (how != "accept") {
			t.Fatalf("%s: %q", how, r.Raw)
		}
		return c
	}
	c := open("echo")
	for _, size := range []int{0, 5, 125, 126, 70000} {
		sent := upstream.Frame{Final: true, Op: upstream.OpBinary, Payload: bytes.Repeat([]byte("m"), size)}
		if _, err := c.Write(sent.Append(nil, true)); err != nil {
			t.Fatal(err)
		}
		got, err := upstream.ReadFrame(c.Reader)
		if err != nil || !bytes.Equal(got.Payload, sent.Payload) || got.Op != sent.Op || !got.Final {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	told := bufio.NewReader(open("key"))
	var all bytes.Buffer
	kinds := map[byte]int{}
	for {
		f, err := upstream.ReadFrame(told)
		if err != nil {
			t.Fatal(err)
		}
		kinds[f.Op]++
		all.Write(f.Payload)
		if f.Op == upstream.OpClose {
			break
		}
	}
	n := strings.Count(all.String(), key)
	if n < 6 || kinds[upstream.OpContinuation] != len(key) || kinds[upstream.OpPing] != 2 {
		t.Errorf("%d keys, %v", n, kinds)
	}
	for _, how := range upstream.Sockets() {
		open(how)
	}
}
