package shim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestTheTokenIsSwappedForTheKey(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	token := w.token()
	response, body := w.call(t, token, "GET", "/v1/refunds/7?fields=a", "", "Cookie: a=b", "X-Api-Key: mine",
		"X-Forwarded-For: 1.2.3.4", "Accept: text/plain", "X-Bursar-Inject-X-Api-Key: mine")
	if response.StatusCode != 200 || body != "ok" {
		t.Fatalf("answered %d %s", response.StatusCode, body)
	}
	seen := w.upstream.calls()
	if len(seen) != 1 {
		t.Fatalf("the upstream saw %d requests", len(seen))
	}
	r := seen[0]
	if r.RequestURI != "/v1/refunds/7?fields=a" || r.Host != strings.TrimPrefix(w.upstream.URL, "https://") ||
		!slices.Equal(r.Header["X-Api-Key"], []string{key}) {
		t.Errorf("sent %s to %s with %v", r.RequestURI, r.Host, r.Header["X-Api-Key"])
	}
	delete(r.Header, "X-Api-Key")
	if want := (http.Header{"Accept": {"text/plain"}, "Accept-Encoding": {"identity"},
		"User-Agent": {"Go-http-client/1.1"}}); !reflect.DeepEqual(r.Header, want) {
		t.Errorf("sent the headers %v, want %v", r.Header, want)
	}
	want := []string{"allowed intent legacy-key:1", "allowed outcome legacy-key:1 200"}
	if got := w.uses(t, 2); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// Whatever is refused never reaches the upstream; what a stranger is told does not depend on what there is.
func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	now := w.Directory.Now()
	gone := now.Add(-time.Hour).Unix()
	for _, row := range []struct {
		name               string
		token              string
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"no token", "", "GET", "/v1/refunds/7", "", nil, 401, "invalid_token"},
		{"rubbish", "rubbish", "GET", "/v1/refunds/7", "", nil, 401, "invalid_token"},
		{"expired", w.token("iat", gone, "exp", gone+60), "GET", "/v1/refunds/7", "", nil, 401, "invalid_token"},
		{"of the future", w.token("iat", now.Add(2*time.Minute).Unix()), "GET", "/v1/refunds/7", "", nil, 401,
			"invalid_token"},
		{"of another issuer", w.token("iss", "https://sts.example/t/globex"), "GET", "/v1/refunds/7", "", nil, 401,
			"invalid_token"},
		{"for another tool", w.token("aud", "https://tools.example/payments"), "GET", "/v1/refunds/7", "", nil, 401,
			"invalid_token"},
		{"bound to a key", w.token("cnf", map[string]any{"jkt": "x"}), "GET", "/v1/refunds/7", "", nil, 401, "invalid_token"},
		{"without the scope", w.token("scope", "legacy:feed.read"), "GET", "/v1/refunds/7", "", nil, 403,
			"insufficient_scope"},
		{"with a scope of another tool", w.token("scope", "other:refunds.read"), "GET", "/v1/refunds/7", "", nil, 403,
			"insufficient_scope"},
		{"details that nobody knows", w.token("authorization_details", []any{map[string]any{"type": "x"}}), "GET",
			"/v1/refunds/7", "", nil, 403, "details_not_allowed"},
		{"no rule", w.token(), "GET", "/v2/refunds/7", "", nil, 403, "path_not_allowed"},
		{"no rule for the method", w.token(), "DELETE", "/v1/refunds/7", "", nil, 405, "method_not_allowed"},
		{"a path of two meanings", w.token(), "GET", "/v1/refunds/..%2f7", "", nil, 400, "ambiguous_path"},
		{"a query that is not listed", w.token(), "GET", "/v1/refunds/7?debug=1", "", nil, 403, "query_not_allowed"},
		{"a query of two meanings", w.token(), "GET", "/v1/refunds/7?fields=a&fields=b", "", nil, 400, "ambiguous_query"},
		{"a body where none belongs", w.token(), "GET", "/v1/refunds/7", "x", nil, 400, "body_not_allowed"},
		{"a body that is too large", w.token(), "POST", "/v1/refunds", `{"currency":"EUR","x":"` +
			strings.Repeat("x", 1024) + `"}`, nil, 413, "body_too_large"},
		{"a body with another value", w.token(), "POST", "/v1/refunds", `{"currency":"USD"}`, nil, 403, "body_constraint"},
		{"a body that says it twice", w.token(), "POST", "/v1/refunds", `{"currency":"USD","currency":"EUR"}`, nil, 400,
			"ambiguous_body"},
		{"a body of another type", w.token(), "POST", "/v1/refunds", `<x/>`, []string{"Content-Type: text/xml"}, 415,
			"unsupported_media_type"},
		{"a compressed body", w.token(), "POST", "/v1/refunds", `{"currency":"EUR"}`, []string{"Content-Encoding: gzip"}, 415,
			"unsupported_media_type"},
		{"another protocol", w.token(), "GET", "/v1/feed", "", []string{"Upgrade: h2c", "Connection: Upgrade"}, 400,
			"malformed_request"},
		{"an alias of a header", w.token(), "GET", "/v1/refunds/7", "", []string{"X_Forwarded_For: 1.2.3.4"}, 400,
			"malformed_request"},
	} {
		response, body := w.call(t, row.token, row.method, row.path, row.body, row.headers...)
		h := response.Header
		if response.StatusCode != row.status || h.Get("Bursar-Error") != row.code ||
			h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" ||
			!strings.Contains(body, `"type":"urn:bursar:problem:`+row.code+`"`) {
			t.Errorf("%s: %d %s %s, want %d %s", row.name, response.StatusCode, h.Get("Bursar-Error"), body, row.status,
				row.code)
		}
		challenge := h.Get("WWW-Authenticate")
		metadata := `resource_metadata="https://sts.example/.well-known/oauth-protected-resource/shim/t/acme/legacy"`
		switch {
		case row.token == "" && (strings.Contains(challenge, "error=") || !strings.Contains(challenge, metadata)),
			row.status == 401 && row.token != "" && !strings.Contains(challenge, metadata+`, error="invalid_token"`),
			row.code == "insufficient_scope" &&
				!strings.Contains(challenge, `error="insufficient_scope", scope="legacy:refunds.read"`):
			t.Errorf("%s: challenged by %s", row.name, challenge)
		}
		if calls := w.upstream.calls(); len(calls) > 0 {
			t.Errorf("%s: reached the upstream as %s", row.name, calls[0].RequestURI)
		}
	}
}

// A stranger learns nothing of which tenants and tools there are.
func TestAStrangerIsToldTheSameOfWhatDoesNotExist(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	for _, token := range []string{"", w.token("iss", "https://sts.example/t/globex")} {
		var first string
		for _, path := range []string{"acme/legacy", "acme/nothing", "nobody/legacy"} {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", w.front.URL+"/shim/t/"+path+"/v1/refunds/7", nil)
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			response.Header.Del("Date")
			got := response.Status + strings.ReplaceAll(response.Header.Get("WWW-Authenticate"), path, "") + string(body)
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s is answered %s, another %s", path, got, first)
			}
		}
	}
}

// No record, no key.
func TestNothingIsSentThatIsNotRecorded(t *testing.T) {
	w := newWorld(t, servertest.Options{Deadline: 200 * time.Millisecond})
	token := w.token()
	if response, _ := w.call(t, token, "GET", "/v1/refunds/7", ""); response.StatusCode != 200 {
		t.Fatal(response.Status)
	}
	w.upstream.calls()
	w.Store.Break(1, 1<<30, storagetest.NotApplied)
	response, body := w.call(t, token, "GET", "/v1/refunds/7", "")
	if response.StatusCode != 503 || response.Header.Get("Bursar-Error") != "unavailable" ||
		response.Header.Get("Retry-After") == "" {
		t.Errorf("answered %s %s", response.Status, body)
	}
	if calls := w.upstream.calls(); len(calls) != 0 {
		t.Error("the upstream was called without a record")
	}
	w.Store.Mend()
}

// What another process changed before the intent was recorded counts, although this process did not know of it.
func TestAChangeBeforeTheIntentCounts(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*world)
		status int
		sends  string // the key that goes out; none if it is empty
		want   []string
	}{
		{"revoked", func(w *world) { w.Cut("acme", "client", "ap-bot", true) }, 401, "",
			[]string{"allowed intent legacy-key:1", "denied outcome revoked.client legacy-key:1"}},
		{"disabled", func(w *world) { w.DisableSecret("acme", "legacy-key") }, 403, "",
			[]string{"allowed intent legacy-key:1", "denied outcome secret.disabled legacy-key:1"}},
		{"rotated", func(w *world) { w.RotateSecret("acme", "legacy-key", "another-"+key) }, 200, "another-" + key,
			[]string{"allowed intent legacy-key:1", "error outcome superseded legacy-key:1", "allowed intent legacy-key:2",
				"allowed outcome legacy-key:2 200"}},
	} {
		w := newWorld(t, servertest.Options{})
		token := w.token()
		w.call(t, token, "GET", "/v1/feed", "") // the process knows the tenant as it is now
		w.uses(t, 2)
		w.upstream.calls()
		row.change(w)
		response, body := w.call(t, token, "GET", "/v1/feed", "")
		if response.StatusCode != row.status {
			t.Errorf("%s: answered %s %s", row.name, response.Status, body)
		}
		calls := w.upstream.calls()
		switch {
		case row.sends == "" && len(calls) != 0:
			t.Errorf("%s: the upstream was called", row.name)
		case row.sends != "" && (len(calls) != 1 || calls[0].Header.Get("X-Api-Key") != row.sends):
			t.Errorf("%s: the upstream was called %d times, or with another key", row.name, len(calls))
		}
		if got := w.uses(t, 2+len(row.want))[2:]; !slices.Equal(got, row.want) {
			t.Errorf("%s: recorded %q, want %q", row.name, got, row.want)
		}
	}
}

// The key never comes back, whatever part of an answer it is in.
func TestTheKeyIsTakenOutOfTheAnswer(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		k := r.Header.Get("X-Api-Key")
		h := rw.Header()
		h.Set("Link", "<https://x.example/?k="+k+">; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
		h.Set("X-Echo", k)
		h.Set("Set-Cookie", "s="+k)
		h.Set("X-Accel-Redirect", "/internal")
		h.Set("WWW-Authenticate", `Basic realm="x"`)
		h.Set("Location", "/v1/refunds/8?k="+k)
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "x")
		h.Set("Trailer", "X-Sum")
		rw.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(rw, "before "+k[:9])
		rw.(http.Flusher).Flush()
		_, _ = io.WriteString(rw, k[9:]+" after")
		h.Set("X-Sum", k)
	})
	response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", "")
	masked := strings.Repeat("*", len(key))
	h := response.Header
	if response.StatusCode != 302 || body != "before "+masked+" after" || h.Get("X-Echo") != masked ||
		response.Trailer.Get("X-Sum") != masked {
		t.Errorf("answered %s %v %s with the trailer %v", response.Status, h, body, response.Trailer)
	}
	for _, name := range []string{"Set-Cookie", "X-Accel-Redirect", "Www-Authenticate", "X-Hop", "Link"} {
		if h.Get(name) != "" {
			t.Errorf("%s came through: %s", name, h.Get(name))
		}
	}
	if want := "https://sts.example/shim/t/acme/legacy/v1/refunds/8?k="; !strings.HasPrefix(h.Get("Location"), want) ||
		strings.Contains(h.Get("Location"), key) {
		t.Errorf("Location is %s", h.Get("Location"))
	}
	w.uses(t, 2)
	for _, r := range w.Records("acme") {
		if r.Body.Use.Phase == audit.UseOutcome && r.Body.Use.Scrubbed < 4 {
			t.Errorf("recorded %d places", r.Body.Use.Scrubbed)
		}
	}
	if strings.Contains(w.logs.String(), key) {
		t.Error("the key is in the process's log")
	}
}

// A call that lasts is ended when what it rests on is taken away.
func TestAStreamIsCut(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"revoked", func(w *world) { w.Cut("acme", "tool", "legacy", true) }, "error outcome cut.revoked legacy-key:1 200"},
		{"disabled", func(w *world) { w.DisableSecret("acme", "legacy-key") }, "error outcome cut.secret legacy-key:1 200"},
		{"stale", func(w *world) { w.Store.Break(1, 1<<30, storagetest.NotApplied) },
			"error outcome cut.stale legacy-key:1 200"},
	} {
		w := newWorld(t, servertest.Options{})
		began := make(chan struct{})
		w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, "data: one\n\n")
			rw.(http.Flusher).Flush()
			close(began)
			<-r.Context().Done()
		})
		go func() {
			<-began
			row.change(w)
		}()
		response, body := w.call(t, w.token(), "GET", "/v1/feed", "")
		if response.StatusCode != 200 || !strings.HasPrefix(body, "data: one\n\n [cut: ") {
			t.Errorf("%s: answered %s %q", row.name, response.Status, body)
		}
		w.Store.Mend()
		if got := w.uses(t, 2); !slices.Equal(got[1:], []string{row.want}) {
			t.Errorf("%s: recorded %q, want %s", row.name, got, row.want)
		}
	}
}

// A rotation does not touch calls under way; the next one has the new key.
func TestACallKeepsTheKeyThatItBeganWith(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	began, end := make(chan struct{}), make(chan struct{})
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/feed" {
			rw.(http.Flusher).Flush()
			close(began)
			<-end
		}
		_, _ = io.WriteString(rw, "ok")
	})
	done := make(chan string)
	go func() {
		_, body := w.call(t, w.token(), "GET", "/v1/feed", "")
		done <- body
	}()
	<-began
	w.RotateSecret("acme", "legacy-key", "another-"+key)
	if response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", ""); response.StatusCode != 200 {
		t.Errorf("answered %s %s", response.Status, body)
	}
	close(end)
	if body := <-done; body != "ok" {
		t.Errorf("the call under way ended with %q", body)
	}
	calls := w.upstream.calls()
	if len(calls) != 2 || calls[0].Header.Get("X-Api-Key") != key || calls[1].Header.Get("X-Api-Key") != "another-"+key {
		t.Errorf("%d calls, or the keys are not those", len(calls))
	}
}

func TestNoMoreCallsAtOnceThanTheToolTakes(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	began, end := make(chan struct{}), make(chan struct{})
	w.upstream.answers(func(rw http.ResponseWriter, _ *http.Request) {
		began <- struct{}{}
		<-end
		_, _ = io.WriteString(rw, "ok")
	})
	done := make(chan int)
	for range 3 {
		go func() {
			response, _ := w.call(t, w.token(), "GET", "/v1/feed", "")
			done <- response.StatusCode
		}()
		<-began
	}
	response, _ := w.call(t, w.token(), "GET", "/v1/feed", "")
	if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" {
		t.Errorf("a fourth one is answered %s", response.Status)
	}
	close(end)
	for range 3 {
		if status := <-done; status != 200 {
			t.Errorf("one of three is answered %d", status)
		}
	}
	w.upstream.answers(nil)
	if response, _ := w.call(t, w.token(), "GET", "/v1/feed", ""); response.StatusCode != 200 {
		t.Errorf("after them one is answered %s", response.Status)
	}
}

func TestWhatMayBeDiscoveredIs(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	get := func(path string) (int, string) {
		response, err := http.Get(w.front.URL + "/.well-known/oauth-protected-resource/shim/t/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	want := `{"resource":"https://sts.example/shim/t/acme/legacy",` +
		`"authorization_servers":["https://sts.example/t/acme"],` +
		`"scopes_supported":["legacy:feed.read","legacy:refunds.create","legacy:refunds.read"],` +
		`"bearer_methods_supported":["header"],"resource_name":"legacy"`
	if status, body := get("acme/legacy"); status != 200 || !strings.HasPrefix(body, want) {
		t.Errorf("answered %d %s", status, body)
	}
	for _, path := range []string{"acme/nothing", "nobody/legacy", "acme/legacy/", "acme", "acme/%6cegacy"} {
		if status, body := get(path); status != 404 {
			t.Errorf("%s: answered %d %s", path, status, body)
		}
	}
}

// refusing is a log in which nobody can write.
type refusing struct{ shim.Log }

func (refusing) Append(context.Context, audit.Origin, audit.Event, ...ledger.Claim) (ledger.Position, error) {
	return ledger.Position{}, errors.New("the log is full")
}

func TestARefusalIsRecordedOrNotGiven(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	s := w.newShim(t, w.Process, refusing{w.Process.Log})
	_, err := s.Authorize(t.Context(), shim.Call{Slug: "acme", Tool: "legacy", Token: w.token("scope", nil), Method: "GET",
		Path: "/v1/feed"})
	if f := fault.As(err); f.Kind != fault.Internal || f.DecisionID != "" {
		t.Errorf("refused by %v", err)
	}
}

// good for one call: of many at the same time, one passes.
func TestATokenCanBeGoodForOneCall(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "websocket: true", "single_use: true")
	token := w.token()
	passed := make(chan int, 20)
	for range 20 {
		go func() {
			response, _ := w.call(t, token, "GET", "/v1/feed", "")
			passed <- response.StatusCode
		}()
	}
	counts := map[int]int{}
	for range 20 {
		counts[<-passed]++
	}
	if counts[200] != 1 || counts[200]+counts[401]+counts[429] != 20 || len(w.upstream.calls()) != 1 {
		t.Errorf("answered %v", counts)
	}
}

// A call that changes nothing is sent again; every time it is recorded before.
func TestWhatIsHarmlessIsSentAgain(t *testing.T) {
	w := newWorld(t, servertest.Options{}, "websocket: true", "retries: 2")
	var broken int
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		if broken++; broken <= 2 {
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		_, _ = io.WriteString(rw, "ok")
	})
	if response, body := w.call(t, w.token(), "GET", "/v1/feed", ""); response.StatusCode != 200 {
		t.Errorf("answered %s %s", response.Status, body)
	}
	want := []string{"allowed intent legacy-key:1", "error outcome upstream.unreachable legacy-key:1",
		"allowed intent legacy-key:1", "error outcome upstream.unreachable legacy-key:1",
		"allowed intent legacy-key:1", "allowed outcome legacy-key:1 200"}
	if got := w.uses(t, 6); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	broken = 0
	response, _ := w.call(t, w.token(), "POST", "/v1/refunds", `{"currency":"EUR"}`)
	if response.StatusCode != 502 || response.Header.Get("Bursar-Error") != "upstream_unreachable" {
		t.Errorf("a call that changes something is answered %s", response.Status)
	}
	if calls := w.upstream.calls(); len(calls) != 4 {
		t.Errorf("the upstream saw %d calls, want 4", len(calls))
	}
}

// A body that nobody has to look into is passed on as it comes, and no further than it may be.
func TestABodyIsBoundedAsItIsPassedOn(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	for _, row := range []struct{ size, status int }{{64 << 10, 200}, {64<<10 + 1, 413}} {
		r, _ := http.NewRequestWithContext(t.Context(), "PUT", w.front.URL+"/shim/t/acme/legacy/v1/files/a",
			io.MultiReader(strings.NewReader(strings.Repeat("x", row.size)))) // of a length that nobody tells
		r.Header.Set("Authorization", "Bearer "+w.token())
		r.Header.Set("Content-Type", "application/octet-stream")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != row.status {
			t.Errorf("%d bytes are answered %s", row.size, response.Status)
		}
	}
}
