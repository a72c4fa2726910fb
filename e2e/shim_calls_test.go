package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

// token returns an access token of ap-bot for a tool of acme, with the actions to read and to write.
func (w *shimWorld) token(t *testing.T, tool string) string {
	t.Helper()
	if w.tokens[tool] == "" {
		w.tokens[tool] = w.fresh(t, "acme", tool, "items.read", "items.write")
	}
	return w.tokens[tool]
}

// fresh returns a new access token of ap-bot for actions of a tool.
func (w *shimWorld) fresh(t *testing.T, slug, tool string, actions ...string) string {
	t.Helper()
	workload := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{"aud": []string{w.Issuer(slug)}}})
	var scope []string
	for _, a := range actions {
		scope = append(scope, tool+":"+a)
	}
	return w.At(slug).MustExchange(t, harness.Form(workload, w.resource(slug, tool), strings.Join(scope, " ")))
}

// request writes a request to a tool of acme, with a token unless it is empty. Headers are whole lines.
func (w *shimWorld) request(token, tool, method, target, body string, headers ...string) string {
	text := method + " /shim/t/acme/" + tool + target + " HTTP/1.1\r\nHost: " + w.host() + "\r\n"
	if token != "" {
		text += "Authorization: Bearer " + token + "\r\n"
	}
	for _, line := range headers {
		text += line + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return text + "\r\n" + body
}

func (w *shimWorld) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(w.Shim, "http://"), "/shim")
}

// get calls a tool of acme, and holds every byte of the answer against the oracle.
func (w *shimWorld) get(t *testing.T, tool, target string, headers ...string) *raw.Reply {
	t.Helper()
	return w.ask(t, w.request(w.token(t, tool), tool, "GET", target, "", headers...))
}

// send is get with a body.
func (w *shimWorld) send(t *testing.T, tool, method, target, body string, headers ...string) *raw.Reply {
	t.Helper()
	return w.ask(t, w.request(w.token(t, tool), tool, method, target, body, headers...))
}

// ask sends bytes to the shim, and holds every byte of the answer against the oracle.
func (w *shimWorld) ask(t *testing.T, text string) *raw.Reply {
	t.Helper()
	reply := raw.Ask(t, w.Shim, text)
	w.clean(t, text, reply)
	return reply
}

// clean holds an answer against the oracle, as it came and without its framing.
func (w *shimWorld) clean(t *testing.T, what string, reply *raw.Reply) {
	t.Helper()
	line, _, _ := strings.Cut(what, "\r\n")
	w.oracle.Check(t, "the answer to "+line, reply.Raw)
	w.oracle.Check(t, "the body of the answer to "+line, reply.Body)
}

// problem fails the test unless an answer is the shim's own refusal.
func problem(t *testing.T, what string, reply *raw.Reply, status int, code string) {
	t.Helper()
	if reply.Status != status || code != "" && reply.Get("Bursar-Error") != code {
		t.Errorf("%s: answered %d %s, want %d %s: %s", what, reply.Status, reply.Get("Bursar-Error"), status, code,
			reply.Body)
	}
}

// silent fails the test if the upstream got any byte while f ran.
func (w *shimWorld) silent(t *testing.T, what string, f func()) {
	t.Helper()
	before := w.up.Count()
	f()
	if after := w.up.Count(); after.Bytes != before.Bytes {
		t.Errorf("%s: the upstream got %d bytes", what, after.Bytes-before.Bytes)
	}
}

// uses returns what the log of acme says of calls after an index, once there are so many outcomes and refusals.
func (w *shimWorld) uses(t *testing.T, after int64, ended int) []harness.Event {
	t.Helper()
	isUse := func(e harness.Event) bool { return e.Name == "key.use" }
	log := w.Await(t, "acme", after, "calls have ended", func(all []harness.Event) bool {
		n := 0
		for _, e := range all {
			if isUse(e) && e.Use.Phase != "intent" {
				n++
			}
		}
		return n >= ended
	})
	return slices.DeleteFunc(log, func(e harness.Event) bool { return !isUse(e) })
}

// size is the number of events in the log of acme.
func (w *shimWorld) size(t *testing.T) int64 {
	t.Helper()
	return int64(len(w.Events(t, "acme", 0)))
}
