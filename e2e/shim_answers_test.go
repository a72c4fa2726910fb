package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// TestTheAnswerHoldsNoKey: rows D of the attacks. Every answer is held against the oracle byte by byte; that the
// upstream did put the key there is what upstream_test.go shows.
func TestTheAnswerHoldsNoKey(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		against(t, "D1", "the key in a body, however it is split", func(t *testing.T) {
			before := w.size(t)
			w.echoes(t, "raw", "body json chunked close bytewise")
			n := 0
			for _, e := range w.uses(t, before, 5) {
				n += e.Use.Scrubbed
			}
			if n < 5 {
				t.Errorf("the log tells of %d", n)
			}
		})
		against(t, "D2", "the key in a header, the status, a hint or a trailer", func(t *testing.T) {
			for _, form := range upstream.Forms() {
				w.echoes(t, form.Name, "header reason early trailer")
			}
			w.echoes(t, "raw", "name")
		})
		against(t, "D3", "the key in other forms", w.otherForms)
		against(t, "D4", "compressed answers", w.compressed)
		against(t, "D5", "ranges of an answer", w.ranges)
		against(t, "D6", "long answers, chunks and events", w.longAnswers)
		against(t, "D7", "headers that act upon the agent", w.actingHeaders)
		against(t, "D8", "answers without a body", w.emptyAnswers)
		against(t, "D9", "error pages", w.errorPages)
		against(t, "D10", "answers that never end", w.endlessAnswers)
		against(t, "D11", "a key that is short", w.shortKeys)
	})
}

// echoes calls the places of an echo, in a form.
func (w *shimWorld) echoes(t *testing.T, form, places string) {
	t.Helper()
	for place := range strings.FieldsSeq(places) {
		reply := w.get(t, "legacy", "/echo/"+place+"/"+form)
		if reply.Status != 200 || !reply.Whole || len(reply.Interim) > 0 {
			t.Errorf("%s in %s: %d, whole %v, interim %v: %s", form, place, reply.Status, reply.Whole, reply.Interim, reply.Body)
		}
		if reply.Reason != "" && reply.Reason != "OK" {
			t.Errorf("%s in %s: the upstream's reason %q came through", form, place, reply.Reason)
		}
		if r := w.up.Last(t); !slices.Equal(r.Get("X-Api-Key"), []string{acmeKey}) {
			t.Errorf("%s in %s: the upstream did not get the key: %s", form, place, r.Head())
		}
	}
}

// otherForms has each way of injection echoed in each form.
func (w *shimWorld) otherForms(t *testing.T) {
	for _, tool := range []string{"legacy", "bearer", "basic", "query", "cookie", "aws", "signed", "oauth"} {
		for _, form := range upstream.Forms() {
			for _, place := range []string{"body", "header"} {
				if reply := w.get(t, tool, "/echo/"+place+"/"+form.Name); reply.Status != 200 {
					t.Errorf("%s, %s in %s: %d %s", tool, form.Name, place, reply.Status, reply.Body)
				}
				if n := len(w.sent(t, "Authorization")); n == 0 && slices.Contains([]string{"bearer", "basic", "aws", "oauth"},
					tool) {
					t.Errorf("%s: nothing was injected", tool)
				}
			}
		}
	}
	for _, form := range upstream.Forms() {
		if reply := w.get(t, "seg", "/echo/body/"+form.Name+"/key"); reply.Status != 200 && reply.Status != 404 {
			t.Errorf("seg, %s: %d %s", form.Name, reply.Status, reply.Body)
		}
		for tool, body := range map[string]string{"body": `{"a":1}`, "form": "a=1"} {
			kind := map[string]string{"body": "application/json", "form": "application/x-www-form-urlencoded"}[tool]
			if reply := w.send(t, tool, "POST", "/echo/body/"+form.Name, body, "Content-Type: "+kind); reply.Status != 200 {
				t.Errorf("%s, %s: %d %s", tool, form.Name, reply.Status, reply.Body)
			}
		}
	}
	w.signatures(t)
	// no key, but a certificate
	if reply := w.get(t, "cert", "/v1/items/1"); reply.Status != 401 || len(w.mutual.Last(t).Peer) != 1 {
		t.Errorf("cert: %d", reply.Status)
	}
}

// signatures looks for what was derived from secrets: a signature is good for one call, and the agent's to see no more
// than the key.
func (w *shimWorld) signatures(t *testing.T) {
	for tool, header := range map[string]string{"aws": "Authorization", "signed": "X-Signature"} {
		reply := w.get(t, tool, "/echo/body/raw")
		value := w.sent(t, header)
		if len(value) != 1 {
			t.Fatalf("%s: no %s", tool, header)
		}
		_, signature, ok := strings.Cut(value[0], "Signature=")
		if !ok {
			signature = value[0]
		}
		if len(signature) < 32 || bytes.Contains(reply.Raw, []byte(signature)) {
			t.Errorf("%s: the signature %q came back", tool, signature)
		}
	}
}

func (w *shimWorld) compressed(t *testing.T) {
	for _, place := range strings.Fields("gzip x-gzip deflate zlib br zstd twice odd") {
		for _, form := range []string{"raw", "base64-1", "json-all"} {
			reply := w.get(t, "legacy", "/echo/"+place+"/"+form, "Accept-Encoding: gzip, br, zstd")
			if got := w.sent(t, "Accept-Encoding"); !slices.Equal(got, []string{"identity"}) {
				t.Errorf("the upstream was asked for %q", got)
			}
			switch {
			case reply.Status == 200 && reply.Get("Content-Encoding") == "" && bytes.Contains(reply.Body, []byte("***")):
			case reply.Status == http.StatusBadGateway && reply.Get("Bursar-Error") == "unscrubbable":
				if place == "gzip" || place == "zlib" {
					t.Errorf("%s is refused", place)
				}
			default:
				t.Errorf("%s: %d %q: %q", place, reply.Status, reply.Get("Content-Encoding"), reply.Body)
			}
		}
	}
}

func (w *shimWorld) ranges(t *testing.T) {
	var whole []byte
	for from := 0; from < len(acmeKey); from += 5 {
		reply := w.get(t, "legacy", "/echo/range/raw", fmt.Sprintf("Range: bytes=%d-%d", from, from+4), "If-Range: \"x\"")
		whole = append(whole, reply.Body...)
		if r := w.up.Last(t); reply.Status != 200 || len(r.Get("Range"))+len(r.Get("If-Range")) > 0 {
			t.Errorf("%d; the upstream got %s", reply.Status, r.Head())
		}
	}
	w.oracle.Check(t, "the parts together", whole)
	for _, header := range []string{"Range", "If-Range"} {
		out, err := w.tryWith(t, "sliced", injections["legacy"], rules+"      headers: ["+header+"]\n")
		if err == nil || !strings.Contains(out, "headers[0]") {
			t.Errorf("a tool may pass %s on: %v\n%s", header, err, out)
		}
	}
}

func (w *shimWorld) longAnswers(t *testing.T) {
	for _, form := range []string{"raw", "base64-2"} {
		reply := w.get(t, "legacy", "/echo/long/"+form)
		if reply.Status != 200 || !reply.Whole || len(reply.Body) < 11<<20 ||
			bytes.Count(reply.Body, []byte("********")) < 100 {
			t.Errorf("%s: %d, %d bytes, whole %v", form, reply.Status, len(reply.Body), reply.Whole)
		}
	}
	for _, form := range upstream.Forms() {
		if reply := w.get(t, "legacy", "/echo/sse/"+form.Name); reply.Status != 200 ||
			!bytes.HasSuffix(reply.Body, []byte("\n\n")) {
			t.Errorf("%s: %d %q", form.Name, reply.Status, reply.Body)
		}
	}
	// An event is passed on when it is there, although the next one is not.
	c := raw.Dial(t, w.Shim)
	c.Send(t, w.request(w.token(t, "legacy"), "legacy", "GET", "/end/drip", ""))
	events := bufio.NewScanner(c)
	for seen := 0; seen < 20; {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if !events.Scan() {
			t.Fatalf("the stream ended after %d events: %v", seen, events.Err())
		}
		w.oracle.Check(t, "an event", events.Bytes())
		if strings.HasPrefix(events.Text(), "data: still here, ***") {
			seen++
		}
	}
	_ = c.Close()
}

func (w *shimWorld) actingHeaders(t *testing.T) {
	for _, form := range upstream.Forms() {
		for place, status := range map[string]int{"cookie": 200, "challenge": 401} {
			reply := w.get(t, "legacy", "/echo/"+place+"/"+form.Name)
			if reply.Status != status {
				t.Errorf("%s: %d", place, reply.Status)
			}
			for _, name := range []string{"Set-Cookie", "Set-Cookie2", "WWW-Authenticate", "Proxy-Authenticate",
				"Authentication-Info", "Proxy-Authentication-Info", "Alt-Svc"} {
				if value := reply.Get(name); value != "" {
					t.Errorf("%s: %s: %s came through", place, name, value)
				}
			}
		}
	}
	w.with(t, "challenging", injections["legacy"], rules+"      response: {keep_challenge: true, strip: [X-Powered-By]}\n")
	if reply := w.get(t, "challenging", "/echo/challenge/raw"); !strings.HasPrefix(reply.Get("WWW-Authenticate"),
		"Basic realm=\"***") {
		t.Errorf("the challenge that was to be kept is %q", reply.Get("WWW-Authenticate"))
	}
}

func (w *shimWorld) emptyAnswers(t *testing.T) {
	for _, status := range []int{204, 304, 200, 404, 500} {
		for _, method := range []string{"GET", "HEAD"} {
			target := fmt.Sprintf("/status/%d", status)
			reply := w.send(t, "legacy", method, target, "")
			if empty := method == "HEAD" || status == 204 || status == 304; reply.Status != status ||
				empty != (len(reply.Body) == 0) ||
				!strings.Contains(reply.Get("X-Echo"), "***") {
				t.Errorf("%s of %d: %d, %d bytes, X-Echo %q", method, status, reply.Status, len(reply.Body), reply.Get("X-Echo"))
			}
		}
	}
	for _, place := range upstream.Places() {
		if place != "long" && place != "bytewise" {
			w.send(t, "legacy", "HEAD", "/echo/"+place+"/raw", "")
		}
	}
}

// errorPages: what the shim says itself has nothing of the upstream in it.
func (w *shimWorld) errorPages(t *testing.T) {
	for _, end := range strings.Fields("close garbage header hang two-lengths odd-status") {
		reply := w.get(t, "legacy", "/end/"+end)
		if reply.Status != http.StatusBadGateway && reply.Status != http.StatusGatewayTimeout {
			t.Errorf("%s: %d", end, reply.Status)
		}
		if reply.Get("Content-Type") != "application/problem+json" || reply.Get("Bursar-Error") == "" ||
			strings.Contains(string(reply.Raw), "127.0.0.1") || strings.Contains(string(reply.Raw), "SSH-2.0") {
			t.Errorf("%s: %s", end, reply.Raw)
		}
	}
	for _, status := range []int{400, 404, 418, 500, 502, 503} { // which are the upstream's, and passed on without the key
		reply := w.get(t, "legacy", fmt.Sprintf("/status/%d", status))
		if reply.Status != status || reply.Get("Bursar-Error") != "" || !bytes.Contains(reply.Body, []byte("***")) {
			t.Errorf("%d became %d: %s", status, reply.Status, reply.Raw)
		}
	}
}

func (w *shimWorld) endlessAnswers(t *testing.T) {
	reply := w.get(t, "legacy", "/end/bomb")
	if reply.Status == 200 && reply.Whole || len(reply.Body) > 64<<20 {
		t.Errorf("a bomb: %d, %d bytes, whole %v", reply.Status, len(reply.Body), reply.Whole)
	}
	w.with(t, "bounded", injections["legacy"], rules+"      response: {max_body: 1MiB}\n")
	if reply := w.get(t, "bounded", "/end/endless"); reply.Whole || len(reply.Body) > 1<<20 {
		t.Errorf("without an end: %d bytes, whole %v", len(reply.Body), reply.Whole)
	}
	for _, end := range []string{"stall", "half"} {
		before := w.size(t)
		if reply := w.get(t, "legacy", "/end/"+end); reply.Whole {
			t.Errorf("%s: passed on as whole", end)
		}
		if all := w.uses(t, before, 1); all[len(all)-1].Outcome == "allowed" {
			t.Errorf("%s: recorded as %s", end, all[len(all)-1].Outcome)
		}
	}
	// An answer that nobody asked for is nobody's.
	for range 20 {
		if reply := w.get(t, "legacy", "/end/unasked"); reply.Status == 200 && string(reply.Body) != "first\n" {
			t.Errorf("unasked: %s", reply.Raw)
		}
		if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status == 200 &&
			!strings.Contains(string(reply.Body), `"ok":true`) {
			t.Errorf("another's answer: %s", reply.Raw)
		}
	}
	for _, end := range []string{"hints", "two-framings", "folded"} {
		w.get(t, "legacy", "/end/"+end)
	}
}

func (w *shimWorld) shortKeys(t *testing.T) {
	for _, value := range []string{"short", "k-123456", "sk-0123456789ab"} {
		args := []string{"secret", "put", "acme/short-" + fmt.Sprint(len(value)), "--host", w.up.URL, "--ca",
			w.caFile(t, w.up)}
		if out, err := w.BursarReading(t, value, append(args, "--activate", "-")...); err == nil {
			t.Errorf("%d bytes were put: %s", len(value), out)
		}
		out, err := w.BursarReading(t, value, append(args, "--unscrubbable-ok", "--activate", "-")...)
		if err != nil || len(value) < 8 && !strings.Contains(strings.ToLower(out), "warn") {
			t.Errorf("%d bytes, knowingly: %v\n%s", len(value), err, out)
		}
	}
	w.with(t, "brief", `{in: header, name: X-Api-Key, secret: short-5}`, rules)
	w.up.Accept("short")
	defer w.up.Accept(acceptedKeys...)
	reply := w.get(t, "brief", "/echo/header/raw")
	if reply.Status != 200 || strings.Contains(reply.Get("X-Echo-X-Api-Key"), "short") {
		t.Errorf("%d, %q", reply.Status, reply.Get("X-Echo-X-Api-Key"))
	}
	if reply := w.get(t, "brief", "/v1/items/shortage"); reply.Status != 200 ||
		!strings.Contains(string(reply.Body), `"ok":true`) {
		t.Errorf("a text that has nothing to do with the key: %d %s", reply.Status, reply.Body)
	}
}
