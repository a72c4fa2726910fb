package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestFramingAndHeaders: rows C of the attacks.
func TestFramingAndHeaders(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "C1", "framing that can be read in two ways", w.oddFraming)
		against(t, "C2", "headers that come once, twice", w.doubledHeaders)
		against(t, "C3", "the key's header named a hop's own", w.namedHops)
		against(t, "C4", "headers of one hop", w.hopHeaders)
		against(t, "C5", "a key that breaks a line", w.brokenKeys)
		against(t, "C6", "the agent's own credentials", w.ownCredentials)
		against(t, "C7", "too many headers, and too long ones", w.headerBombs)
		against(t, "C9", "slow senders and slow readers", w.slowOnes)
		against(t, "C10", "a request smuggled behind an upgrade", w.smuggledUpgrades)
	})
}

// oddFraming: what is refused is not sent; what is not refused is sent with a framing of the shim's own, once.
func (w *shimWorld) oddFraming(t *testing.T) {
	token := w.token(t, "legacy")
	head := "POST /shim/t/acme/legacy/v1/items HTTP/1.1\r\nHost: " + w.host() + "\r\nAuthorization: Bearer " + token +
		"\r\nContent-Type: application/json\r\n"
	smuggled := "GET /shim/t/acme/legacy/v1/items/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token +
		"\r\n\r\n"
	for _, row := range []struct {
		name, rest string
		sent       bool // it may be, as one request
	}{
		{"a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", true},
		{"chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + smuggled,
			true},
		{"an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false},
		{"two codings", "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false},
		{"two coding headers", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
			false},
		{"a coding after a tab", "Transfer-Encoding:\tchunked\r\nContent-Length: 2\r\n\r\n{}", true},
		{"a coding after a vertical tab", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\n{}", false},
		{"two lengths", "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + smuggled, false},
		{"a list of lengths", "Content-Length: 2, 40\r\n\r\n{}" + smuggled, false},
		{"a length with a sign", "Content-Length: +2\r\n\r\n{}", false},
		{"a length with a minus", "Content-Length: -2\r\n\r\n{}", false},
		{"a length in hex", "Content-Length: 0x2\r\n\r\n{}", false},
		{"a length that is none", "Content-Length: two\r\n\r\n{}", false},
		{"a length that overflows", "Content-Length: 18446744073709551618\r\n\r\n{}", false},
		{"a blank before the colon", "Content-Length : 2\r\n\r\n{}", false},
		{"a folded header", "X-A: b\r\n Content-Length: 40\r\nContent-Length: 2\r\n\r\n{}", true}, // unfolded
		{"a header folded at the start", " X-A: b\r\nContent-Length: 2\r\n\r\n{}", true},
		{"a NUL in a header", "X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a CR in a header", "X-A: b\rContent-Length: 40\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a header without a colon", "X-A\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a blank in a header's name", "X A: b\r\nContent-Length: 2\r\n\r\n{}", false},
		{"a chunk size with a sign", "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n", false},
		{"a chunk size that overflows", "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n", false},
		{"a chunk that is too long", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}" + smuggled + "\r\n0\r\n\r\n", false},
		{"a chunk extension with a line break", "Transfer-Encoding: chunked\r\n\r\n2;a=\n\r\n{}\r\n0\r\n\r\n", false},
		{"a trailer that is a header",
			"Transfer-Encoding: chunked\r\nTrailer: X-Api-Key\r\n\r\n2\r\n{}\r\n0\r\nX-Api-Key: mine\r\n\r\n",
			true},
	} {
		before := w.up.Count().Requests
		c := raw.Dial(t, w.Shim)
		c.Send(t, head+row.rest)
		reply, err := c.Reply("POST")
		_ = c.Close()
		w.clean(t, row.name, reply)
		all := w.up.Requests()[before:]
		switch {
		case !row.sent && (err == nil && reply.Status < 400 || len(all) > 0):
			t.Errorf("%s: %d, %v; %d requests", row.name, reply.Status, err, len(all))
		case len(all) > 1:
			t.Errorf("%s: became %d requests", row.name, len(all))
		case len(all) == 1 &&
			(string(all[0].Body) != "{}" || len(all[0].Get("Transfer-Encoding"))+len(all[0].Get("Content-Length")) != 1 ||
				strings.Contains(string(all[0].Raw), "mine")):
			t.Errorf("%s: the upstream got %q", row.name, all[0].Raw)
		}
	}
	if w.up.Received("smuggled") {
		t.Error("a request was smuggled")
	}
	// Line feeds alone end lines for the library; what is sent on has its own.
	before := w.up.Count().Requests
	reply := raw.Ask(t, w.Shim, strings.ReplaceAll(head, "\r\n", "\n")+"Content-Length: 2\n\n{}")
	if all := w.up.Requests()[before:]; len(all) > 1 || len(all) == 1 &&
		strings.Contains(strings.ReplaceAll(string(all[0].Raw), "\r\n", ""), "\n") {
		t.Errorf("%d; the upstream got %d requests", reply.Status, len(all))
	}
}

func (w *shimWorld) doubledHeaders(t *testing.T) {
	token := w.token(t, "legacy")
	for _, header := range []string{"Authorization: Bearer " + token, "authorization: Basic eDp5",
		"Authorization: Bearer x",
		"Host: " + w.host(), "host: evil.example"} {
		w.silent(t, header, func() {
			if reply := w.get(t, "legacy", "/v1/items/1", header); reply.Status != 400 {
				t.Errorf("a second %s: %d", header, reply.Status)
			}
		})
	}
	for name, text := range map[string]string{
		"no Host": strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", ""), "Host: "+w.host()+"\r\n",
			"", 1),
		"two tokens in one": strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", ""), token,
			token+", Bearer "+token, 1),
	} {
		w.silent(t, name, func() {
			if reply := w.ask(t, text); reply.Status != 400 && reply.Status != 401 {
				t.Errorf("%s: %d", name, reply.Status)
			}
		})
	}
	for _, header := range []string{"Content-Type: application/json\r\nContent-Type: text/xml",
		"Content-Type: application/json\r\nContent-Encoding: identity\r\nContent-Encoding: gzip"} {
		w.silent(t, header, func() {
			if reply := w.send(t, "legacy", "POST", "/v1/items", "{}", header); reply.Status < 400 {
				t.Errorf("%q: %d", header, reply.Status)
			}
		})
	}
}

func (w *shimWorld) namedHops(t *testing.T) {
	for tool, name := range map[string]string{"legacy": "X-Api-Key", "bearer": "Authorization", "basic": "Authorization",
		"cookie": "Cookie", "signed": "X-Signature", "aws": "Authorization", "oauth": "Authorization"} {
		for _, list := range []string{name, "close, " + strings.ToLower(name),
			"Authorization, X-Api-Key, Cookie, X-Signature, Host",
			"keep-alive, X-Timestamp, X-Amz-Date, " + name} {
			reply := w.get(t, tool, "/v1/items/1", "Connection: "+list)
			r := w.up.Last(t)
			if len(r.Get(name)) != 1 || r.Get(name)[0] == "" || len(r.Get("Host")) != 1 ||
				slices.ContainsFunc(r.Get("Connection"), func(v string) bool { return strings.Contains(v, name) }) {
				t.Errorf("%s with Connection: %s: %d; the upstream got %s", tool, list, reply.Status, r.Head())
			}
		}
	}
}

func (w *shimWorld) hopHeaders(t *testing.T) {
	all := []string{"Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "TE: trailers, gzip",
		"Trailer: X-A",
		"Keep-Alive: timeout=5", "Connection: keep-alive, X-Mine", "X-Mine: 1", "Proxy-Authenticate: x",
		"Upgrade-Insecure-Requests: 1",
		"Max-Forwards: 0", "Forwarded: for=1.2.3.4"}
	reply := w.get(t, "legacy", "/v1/items/1", all...)
	r := w.up.Last(t)
	if reply.Status != 200 {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
	for _, header := range all {
		if name, _, _ := strings.Cut(header, ":"); len(r.Get(name)) > 0 {
			t.Errorf("the upstream got %s", r.Head())
		}
	}
}

func (w *shimWorld) brokenKeys(t *testing.T) {
	for name, value := range map[string]string{"CR LF": "sk-0123456789abcdef\r\nX-Admin: 1",
		"LF":  "sk-0123456789\nabcdef0123",
		"NUL": "sk-0123456789\x00abcdef", "DEL": "sk-0123456789\x7fabcdef", "not ASCII": "sk-0123456789äöüabcdef",
		"a tab": "sk-0123456789\tabcdef", "nothing": "", "too short": "sk-0123456789ab",
		"too long": strings.Repeat("x", 33<<10)} {
		out, err := w.BursarReading(t, value, "secret", "put", "acme/broken", "--host", w.up.URL, "--activate", "-")
		if err == nil {
			t.Errorf("%s: was put\n%s", name, out)
		}
		if len(value) > 3 && strings.Contains(out, value) {
			t.Errorf("%s: the message holds it", name)
		}
	}
}

func (w *shimWorld) ownCredentials(t *testing.T) {
	mine := []string{"X-Api-Key: mine", "x-api-key: mine", "Cookie: session=mine; other=mine",
		"X-Bursar-Inject-Authorization: mine",
		"X-Bursar-Txn: mine", "Bursar-Error: mine", "X-Auth-Token: mine", "X-Amz-Security-Token: mine", "DPoP: mine",
		"X-Signature: mine", "Proxy-Authorization: mine", "Authentication: mine", "X-Forwarded-User: mine",
		"X-Remote-User: mine"}
	for tool := range injections {
		method, target, body := "GET", "/v1/items/1", ""
		headers := mine
		switch tool {
		case "body":
			method, target, body = "POST", "/v1/items", `{"auth":{"key":"mine","a":1},"b":2}`
			headers = append(slices.Clone(mine), "Content-Type: application/json")
		case "form":
			method, target, body = "POST", "/v1/items", "b=2&api_key=mine"
			headers = append(slices.Clone(mine), "Content-Type: application/x-www-form-urlencoded")
		case "query":
			target += "?api_key=mine"
		}
		reply := w.send(t, tool, method, target, body, headers...)
		r := w.up.Last(t)
		if reply.Status == 400 && (tool == "body" || tool == "form") { // it may refuse the agent's copy as well
			continue
		}
		if reply.Status >= 400 && reply.Status != 401 || strings.Contains(string(r.Raw), "mine") {
			t.Errorf("%s: %d; the upstream got %s", tool, reply.Status, r.Raw)
		}
	}
}

func (w *shimWorld) headerBombs(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("X-%d: y", i)
	}
	long := []string{"X-Long: " + strings.Repeat("x", 64<<10)}
	for name, headers := range map[string][]string{"a thousand": many, "one of 64 KiB": long,
		"together": append(many, long...)} {
		w.silent(t, name, func() {
			if reply := w.get(t, "legacy", "/v1/items/1", headers...); reply.Status != 431 && reply.Status != 400 {
				t.Errorf("%s: %d", name, reply.Status)
			}
		})
	}
	w.silent(t, "a token of 64 KiB", func() {
		reply := w.ask(t, w.request(strings.Repeat("x", 64<<10), "legacy", "GET", "/v1/items/1", ""))
		if reply.Status != 431 && reply.Status != 401 {
			t.Errorf("a long token: %d", reply.Status)
		}
	})
	w.silent(t, "a path of 64 KiB", func() {
		if reply := w.get(t, "legacy", "/v1/items/"+strings.Repeat("x", 64<<10)); reply.Status < 400 {
			t.Errorf("a long path: %d", reply.Status)
		}
	})
}

// slowOnes wait until the shim has had enough of them; how long that takes is not measured.
func (w *shimWorld) slowOnes(t *testing.T) {
	if !harness.Full() {
		t.Log("the header's time is waited for with BURSAR_TEST=full alone")
	} else {
		c := raw.Dial(t, w.Shim)
		c.Send(t, "GET /shim/t/acme/legacy/v1/items/1 HTTP/1.1\r\nX-Slow: ")
		w.endsByItself(t, "a header that does not end", c)
	}
	token := w.token(t, "legacy")
	before := w.size(t)
	c := raw.Dial(t, w.Shim)
	c.Send(t, "POST /shim/t/acme/legacy/v1/items HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+
		"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	w.endsByItself(t, "a body that does not end", c)
	up := w.more(t, "slow", upstream.Options{})
	reader := raw.Dial(t, w.Shim)
	reader.Send(t, w.request(w.token(t, "slow"), "slow", "GET", "/end/endless", ""))
	w.uses(t, before, 2) // of which the second is the one that nobody read
	_ = reader.Close()
	harness.Eventually(t, "the upstream is left", func() bool { return up.Count().Open == 0 })
}

// endsByItself fails the test unless the shim answers with an error or closes, although nothing more is sent.
func (w *shimWorld) endsByItself(t *testing.T, what string, c *raw.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	answer, err := io.ReadAll(c)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s: the connection stays open", what)
	}
	if strings.HasPrefix(string(answer), "HTTP/1.1 2") {
		t.Errorf("%s: answered %s", what, answer)
	}
	w.oracle.Check(t, "the answer to "+what, answer)
}

func (w *shimWorld) smuggledUpgrades(t *testing.T) {
	handshake := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	for _, how := range []string{"accept", "extension"} {
		problem(t, how, w.get(t, "legacy", "/ws/"+how, handshake...), http.StatusBadGateway, "upstream_answer")
	}
	problem(t, "an upgrade that nobody asked for", w.get(t, "legacy", "/end/forged-upgrade"), http.StatusBadGateway,
		"upstream_answer")
	// A tool that has no WebSockets passes none on.
	w.with(t, "still", injections["legacy"], strings.Replace(rules, "websocket: true", "websocket: false", 1))
	w.silent(t, "a WebSocket that is not allowed", func() {
		problem(t, "a WebSocket that is not allowed", w.get(t, "still", "/ws/echo", handshake...), 400, "malformed_request")
	})
	// What an upstream says behind its 101 that is no frame ends the WebSocket, and so do requests of the agent.
	for _, how := range []string{"smuggle", "echo"} {
		c := raw.Dial(t, w.Shim)
		c.Send(t, w.request(w.token(t, "legacy"), "legacy", "GET", "/ws/"+how, "", handshake...))
		reply := c.Receive(t, "GET")
		if reply.Status != 101 || reply.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("%s: %q", how, reply.Raw)
		}
		c.Send(t, w.request(w.token(t, "legacy"), "legacy", "GET", "/v1/items/1", ""))
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		rest, err := io.ReadAll(c)
		if err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the WebSocket stays open", how)
		}
		w.oracle.Check(t, "what follows the handshake", append(reply.Raw, rest...))
		if strings.Contains(string(rest), `"ok":true`) {
			t.Errorf("%s: a request within a WebSocket was answered", how)
		}
	}
}
