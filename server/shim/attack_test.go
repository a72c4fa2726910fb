package shim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

// slowly makes a call of which one half of the body is sent when the token was judged, and the other after between.
func (w *world) slowly(t *testing.T, token, body string, between func()) *http.Response {
	t.Helper()
	reader, writer := io.Pipe()
	judged := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(judged) }})
	r, err := http.NewRequestWithContext(ctx, "POST", w.front.URL+"/shim/t/acme/legacy/v1/refunds", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue")
	go func() {
		defer func() { _ = writer.Close() }()
		_, _ = io.WriteString(writer, body[:len(body)/2])
		<-judged
		between()
		_, _ = io.WriteString(writer, body[len(body)/2:])
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// A token is good for a call that is made while it lasts, and not for one that was only begun then.
func TestATokenThatExpiresWhileTheBodyComesIsRefused(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	token := w.token()
	if r := w.slowly(t, token, `{"currency":"EUR"}`, func() {}); r.StatusCode != 200 {
		t.Fatalf("in time: answered %s", r.Status)
	}
	w.upstream.calls()
	r := w.slowly(t, token, `{"currency":"EUR"}`, func() { w.Clock.Advance(6 * time.Minute) })
	if r.StatusCode != 401 || len(w.upstream.calls()) != 0 {
		t.Errorf("answered %s", r.Status)
	}
}

// What another process has forbidden before the intent counts for the body, too.
func TestABodyIsJudgedByTheRuleOfTheIntent(t *testing.T) {
	for _, row := range []struct {
		name, from, to, method, path, kind, body string
		status                                   int
	}{
		{"another value", "[EUR]", "[USD]", "POST", "/v1/refunds", "application/json", `{"currency":"EUR"}`, 403},
		{"a smaller body", "max_body: 1KiB", "max_body: 8B", "POST", "/v1/refunds", "application/json",
			`{"currency":"EUR"}`, 413},
		{"another type", "[application/octet-stream]", "[text/plain]", "PUT", "/v1/files/a", "application/octet-stream",
			"text", 415},
		{"a body that must be read", "[application/octet-stream]}", "[application/json], json: {/a: [1]}}", "PUT",
			"/v1/files/a", "application/octet-stream", "text", 503},
		{"nothing of it", "discoverable: true", "discoverable: false", "PUT", "/v1/files/a", "application/octet-stream",
			"text", 200},
	} {
		w := newWorld(t, servertest.Options{})
		token := w.token()
		w.call(t, token, "GET", "/v1/feed", "") // the process knows the tenant as it is now
		w.upstream.calls()
		w.change(row.from, row.to)
		r, body := w.call(t, token, row.method, row.path, row.body, "Content-Type: "+row.kind)
		if calls := len(w.upstream.calls()); r.StatusCode != row.status || (calls != 0) != (row.status == 200) {
			t.Errorf("%s: answered %s %s after %d calls", row.name, r.Status, body, calls)
		}
	}
}

// change replaces a text of the tenant's file. No directory hears of it.
func (w *world) change(from, to string) {
	w.T.Helper()
	if !strings.Contains(w.file, from) {
		w.T.Fatalf("the file has no %s", from)
	}
	draft, err := w.Draft(strings.Replace(w.file, from, to, 1), false)
	if err != nil {
		w.T.Fatal(err, servertest.Problems(err))
	}
	w.Commit("acme", draft.Change)
}

// A signing key is revoked because somebody has it: what was opened with a token that it signed must not go on.
func TestARevokedSigningKeyCutsAStream(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	began := make(chan struct{})
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "one")
		rw.(http.Flusher).Flush()
		close(began)
		<-r.Context().Done()
	})
	token := w.token("exp", w.Directory.Now().Add(24*time.Hour).Unix())
	revoked := make(chan error, 1)
	go func() {
		<-began
		revoked <- w.revokeKeys()
	}()
	if _, body := w.call(t, token, "GET", "/v1/feed", ""); !strings.Contains(body, "[cut: ") {
		t.Errorf("answered %q", body)
	}
	if err := <-revoked; err != nil {
		t.Fatal(err)
	}
	if got := w.uses(t, 2)[1:]; !slices.Equal(got, []string{"error outcome cut.revoked legacy-key:1 200"}) {
		t.Errorf("recorded %q", got)
	}
}

func (w *world) revokeKeys() error {
	v, err := w.Directory.Fresh(context.Background(), "acme")
	if err != nil {
		return err
	}
	for _, k := range v.Ring.Info(w.Clock.Now()) {
		put, gone, err := v.Ring.Revoke(k.KeyID, w.Clock.Now())
		if err != nil {
			return err
		}
		if len(put) > 0 && k.State == "active" {
			w.Commit("acme", ledger.Change{Expect: v.Revision, Put: put, Delete: gone})
			return nil
		}
	}
	return nil
}

// Whoever looks after a call may do so while it is judged anew: for the race detector.
func TestACallIsLookedAfterWhileItIsJudged(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "agent_concurrent: 3", "agent_concurrent: 0")
	token := w.token()
	var calling sync.WaitGroup
	end := make(chan struct{})
	for range 2 {
		calling.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					w.call(t, token, "GET", "/v1/feed", "")
				}
			}
		})
	}
	for i := range 12 {
		w.RotateSecret("acme", "legacy-key", strings.Repeat(string(rune('a'+i)), 24))
		time.Sleep(50 * time.Millisecond) // it is looked every 250 ms
	}
	close(end)
	calling.Wait()
	if got := w.uses(t, 2); len(got) < 2 {
		t.Errorf("recorded %q", got)
	}
}

// ASCII is not itself in UTF-16, and some servers write that for whoever says so in Accept.
func TestAnAnswerInOtherCharactersIsRefused(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	for kind, status := range map[string]int{
		"application/json;charset=UTF-16": 502, `text/plain; charset="utf-32le"`: 502, "text/plain; Charset = IBM037": 502,
		"application/json;charset=UTF-8": 200, "text/html; charset=ISO-8859-1": 200, "text/plain": 200,
	} {
		w.upstream.answers(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(rw, "s\x00k\x00-\x00")
		})
		r, _ := w.call(t, w.token(), "GET", "/v1/feed", "", "Accept: application/json;charset=UTF-16",
			"Accept-Charset: utf-16")
		if r.StatusCode != status {
			t.Errorf("%s: answered %s", kind, r.Status)
		}
		if calls := w.upstream.calls(); len(calls) != 1 || calls[0].Header.Get("Accept-Charset") != "" {
			t.Errorf("%s: the upstream was asked for another charset", kind)
		}
	}
}

// What net/http cannot read of an upstream it repeats in its error. The key can be in it, and errors are logged.
func TestTheErrorOfACallHoldsNothingOfTheUpstream(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "websocket: true", `probe: {method: GET, path: "/v1/feed"}`)
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, r.Header.Get("X-Api-Key")+"\r\n\r\n")
			_ = conn.Close()
		}
	})
	_, err := w.shim.Probe(t.Context(), "acme", "legacy", "legacy-key", 1)
	if err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("the error is %v", err)
	}
}

// To get what is handed out can take long; whoever was revoked meanwhile is not handed it.
func TestNothingIsHandedOutAfterARevocation(t *testing.T) {
	var w *world
	var revoked atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if revoked.Swap(true) {
			w.Cut("acme", "client", "ap-bot", true)
			time.Sleep(300 * time.Millisecond) // which is what a slow endpoint does
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"access_token":"the-token-of-the-upstream-0001","token_type":"Bearer","expires_in":"0"}`)
	}))
	t.Cleanup(endpoint.Close)
	w = newWorld(t, servertest.Options{}, "websocket: true", "allow_decision_mode: true", ", json: {/currency: [EUR]}", "",
		"inject: [{in: header, name: X-Api-Key, secret: legacy-key}]",
		"allow_plaintext: true\n      inject: [{in: oauth2, secret: client, oauth2: {token_url: \""+endpoint.URL+
			"/token\"}}]")
	w.PutClient("acme", "client", w.upstream.URL, w.ca, endpoint.URL+"/token", "bot", key)
	call := shim.Call{Slug: "acme", Tool: "legacy", Token: w.token(), Method: "GET", Path: "/v1/feed",
		Mode: audit.UseDecision}
	hand := func() (http.Header, error) {
		g, err := w.shim.Authorize(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		return g.Hand(t.Context())
	}
	if h, err := hand(); err != nil || h.Get("Authorization") == "" {
		t.Fatalf("handed %v, %v", h, err)
	}
	if h, err := hand(); err == nil || fault.As(err).Reason != "revoked.token" {
		t.Errorf("handed %v, %v", h, err)
	}
}
