package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

// TestProxiesThatAsk runs what docs/examples has for the proxies that Debian packages, in front of a real bursar.
func TestProxiesThatAsk(t *testing.T) {
	t.Parallel()
	for i, f := range fronts {
		stores := []string{"bolt", "redis"}
		if !harness.Full() {
			stores = stores[i%2 : i%2+1]
		}
		for _, store := range stores {
			t.Run(f.name+"/"+store, func(t *testing.T) {
				t.Parallel()
				w := newBehind(t, f, store)
				for _, check := range []struct {
					name string
					run  func(t *testing.T)
				}{
					{"an allowed call carries the key, and not the token", w.allowed},
					{"an agent is told what it lacks", w.told},
					{"what can be read in two ways goes nowhere", w.odd},
					{"what an agent forges goes nowhere", w.forged},
					{"answers are handed back", w.handed},
					{"events leave at once", w.events},
					{"a revoked token is refused", w.revoked},
					{"without bursar nothing passes", w.closed},
					{"no log holds the key", w.silent},
				} {
					t.Run(check.name, check.run)
				}
			})
		}
	}
}

func (w *behind) allowed(t *testing.T) {
	token := w.token(t, "payments", "refunds.read", "refunds.create")
	bearer := "Authorization: Bearer " + token
	for _, row := range []struct{ target, body string }{
		{"/v1/refunds/7", ""}, {"/v1/refunds/a%20b?fields=x%20y", ""}, {"/v1/refunds", `{"amount": 7}`},
	} {
		lines := []string{"GET " + row.target + " HTTP/1.1", bearer}
		if row.body != "" {
			lines = []string{"POST " + row.target + " HTTP/1.1", bearer, "Content-Type: application/json",
				fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(row.body), row.body)}
		}
		reply := w.ask(t, lines...)
		if reply.Status != http.StatusOK || !strings.Contains(string(reply.Body), `"ok":true`) {
			t.Errorf("%s: %d %s", row.target, reply.Status, reply.Body)
			continue
		}
		got := w.api.Last(t)
		if got.Target != row.target || string(got.Body) != row.body ||
			!slices.Equal(got.Get("X-Api-Key"), []string{frontKey}) ||
			!slices.Equal(got.Get("Host"), []string{"legacy-payments.internal"}) {
			t.Errorf("%s: the API got %q", row.target, got.Raw)
		}
	}
	if w.api.Received(token) {
		t.Error("the agent's token reached the API")
	}
}

func (w *behind) told(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read")
	other := "Authorization: Bearer " + w.token(t, "other", "refunds.read")
	const get = "GET /v1/refunds/7 HTTP/1.1"
	for _, row := range []struct {
		name   string
		lines  []string
		status int
		code   string
	}{
		{"no token", []string{get}, 401, "invalid_token"},
		{"a bad token", []string{get, "Authorization: Bearer abc.def.ghi"}, 401, "invalid_token"},
		{"another scheme", []string{get, "Authorization: Basic YTpi"}, 401, "invalid_token"},
		{"another tool's token", []string{get, other}, 401, "invalid_token"},
		{"another action", []string{"POST /v1/refunds HTTP/1.1", bearer, "Content-Length: 0"}, 403, "insufficient_scope"},
		{"no rule", []string{"GET /v1/customers HTTP/1.1", bearer}, 403, "path_not_allowed"},
		{"another method", []string{"DELETE /v1/refunds/7 HTTP/1.1", bearer}, 403, "method_not_allowed"},
		{"another parameter", []string{"GET /v1/refunds/7?_method=DELETE HTTP/1.1", bearer}, 403, "query_not_allowed"},
	} {
		before := w.api.Count()
		reply := w.ask(t, row.lines...)
		w.refused(t, row.name, reply, before)
		if reply.Status != row.status || reply.Get("Bursar-Error") != row.code {
			t.Errorf("%s: %d %q", row.name, reply.Status, reply.Get("Bursar-Error"))
		}
		challenges := 0
		for _, f := range reply.Header {
			if strings.EqualFold(f.Name, "WWW-Authenticate") && strings.Contains(f.Value, "resource_metadata=") {
				challenges++
			}
		}
		if row.status == 401 && challenges != 1 {
			t.Errorf("%s: %d challenges in %q", row.name, challenges, reply.Raw)
		}
	}
}

// odd sends the rows B1 to B8 and C2 of the attacks: the API must not see one of them.
func (w *behind) odd(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read", "refunds.create")
	for _, target := range []string{
		"/v1/../v1/refunds/7", "/v1/./refunds/7", "/v1/%2e%2e/v1/refunds/7", "/v1/%2E%2E/admin", "/v1/.%2e/admin",
		"/v1/refunds/..", "/v1/refunds/../../admin", "/v1/refunds//7", "//v1/refunds/7", "/v1//refunds/7",
		"/v1/refunds/a%2Fb", "/v1/refunds/a%5Cb", `/v1/refunds/a\b`, "/v1/refunds/7;x=1", "/v1/..;/admin",
		"/v1/%252e%252e/admin", "/v1/refunds/%c0%ae", "/v1/refunds/7%00", "/v1/refunds/7%0d%0aX-Api-Key:%20x",
		"/v1/refunds/%37", "/V1/refunds/7", "/v1beta/refunds/7", "/v1/refunds/7/", "/v1/refunds/7.", "/v1", "/admin",
		"/v1/refunds/7?fields=a&fields=b", "/v1/refunds/7?fields=a;b=c", "/v1/refunds/7?fields=%zz",
		"/v1/refunds/7?api_key=x",
		"http://evil.example/v1/refunds/7/x", "http://evil.example/admin", "*", "/v1/refunds/7#/../../admin",
	} {
		before := w.api.Count()
		w.refused(t, target, w.ask(t, "GET "+target+" HTTP/1.1", bearer), before)
	}
	for _, method := range []string{"get", "TRACE", "CONNECT", "PROPFIND", "X"} {
		before := w.api.Count()
		w.refused(t, method, w.ask(t, method+" /v1/refunds/7 HTTP/1.1", bearer), before)
	}
	before := w.api.Count()
	w.refused(t, "two tokens", w.ask(t, "GET /v1/refunds/7 HTTP/1.1", bearer, "Authorization: Bearer x"), before)
	// Of a body that is too long the API may see the beginning.
	long := strings.Repeat("a", 20000)
	for _, framed := range []string{
		"Content-Length: 20000\r\n\r\n" + long, "Transfer-Encoding: chunked\r\n\r\n4e20\r\n" + long + "\r\n0\r\n\r\n",
	} {
		before := w.api.Count()
		reply := w.ask(t, "POST /v1/refunds HTTP/1.1", bearer, "Content-Type: application/json", framed)
		if reply.Status < 400 || w.api.Count().Requests != before.Requests {
			t.Errorf("%.30q: status %d, and the API got it whole", framed, reply.Status)
		}
	}
}

// forged sends headers by which an agent speaks in the name of bursar or of the proxy. Whether the call is refused or
// goes on without them, the API sees the real key and nothing of the agent's.
func (w *behind) forged(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read")
	other := "Authorization: Bearer " + w.token(t, "other", "refunds.read")
	for _, lines := range [][]string{
		{"X-Bursar-Inject-X-Api-Key: forged"}, {"X-Bursar-Resource: forged"}, {"X-Bursar-Txn: forged"},
		{"X-Api-Key: forged"}, {"X-Api-Key: forged", "X-Api-Key: forged"}, {"X_Api_Key: forged"}, {"X.Api.Key: forged"},
		{"Connection: X-Api-Key, forged", "X-Api-Key: forged"}, {"Cookie: session=forged"}, {"DPoP: forged"},
		{"Proxy-Authorization: Bearer forged"}, {"X-HTTP-Method-Override: forged"}, {"X-Method-Override: forged"},
		{"X-HTTP-Method: forged"}, {"X-Original-URL: /forged"}, {"X-Rewrite-URL: /forged"},
		{"X-Forwarded-Host: forged.example"}, {"Upgrade: forged/1", "Connection: Upgrade"},
		{"Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAA"},
	} {
		before := w.api.Count()
		reply := w.ask(t, append([]string{"GET /v1/refunds/7 HTTP/1.1", bearer}, lines...)...)
		if reply.Status == http.StatusOK {
			if got := w.api.Last(t); strings.Contains(string(got.Raw), "forged") ||
				!slices.Equal(got.Get("X-Api-Key"), []string{frontKey}) || len(got.Get("Upgrade")) > 0 {
				t.Errorf("%q: the API got %q", lines, got.Raw)
			}
			continue
		}
		w.refused(t, strings.Join(lines, "; "), reply, before)
	}
	// Whatever the agent says of the call and of the tool, another call than the one that is made is never judged.
	for _, lines := range [][]string{
		{"GET /v1/customers HTTP/1.1", bearer, "X-Original-URI: /v1/refunds/7"},
		{"GET /v1/customers HTTP/1.1", bearer, "X-Forwarded-Uri: /v1/refunds/7"},
		{"GET /v1/customers HTTP/1.1", bearer, "X-Forwarded-Method: GET", "X-Forwarded-Uri: /v1/refunds/7"},
		{"GET /v1/customers HTTP/1.1", bearer, "X-Original-Method: GET", "X-Original-URI: /v1/refunds/7"},
		{"GET /v1/customers?names=own HTTP/1.1", bearer},
		{"DELETE /v1/refunds/7 HTTP/1.1", bearer, "X-Original-Method: GET"},
		{"DELETE /v1/refunds/7 HTTP/1.1", bearer, "X-Forwarded-Method: GET"},
		{"GET /v1/refunds/7 HTTP/1.1", other, "X-Bursar-Resource: " + w.resource("other")},
		{"GET /v1/decide HTTP/1.1", bearer}, {"GET /_bursar HTTP/1.1", bearer}, // A12: no way to ask for oneself
	} {
		before := w.api.Count()
		w.refused(t, strings.Join(lines, "; "), w.ask(t, lines...), before)
	}
}

func (w *behind) handed(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read")
	reply := w.ask(t, "GET /v1/moved HTTP/1.1", bearer)
	if reply.Status != http.StatusFound || reply.Get("Location") != w.evil.URL+"/v1/x" || reply.Get("Set-Cookie") != "" ||
		reply.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %q", reply.Status, reply.Raw)
	}
	if w.evil.Count().Connections > 0 {
		t.Error("the redirect was followed")
	}
}

func (w *behind) events(t *testing.T) {
	c := raw.Dial(t, w.url)
	c.Send(t, "GET /v1/feed HTTP/1.1\r\nHost: front.example\r\nConnection: close\r\nAuthorization: Bearer "+
		w.token(t, "payments", "refunds.read")+"\r\n\r\n")
	got := ""
	buffer := make([]byte, 4<<10)
	for !strings.Contains(got, "data: first") {
		n, err := c.Read(buffer)
		if got += string(buffer[:n]); err != nil {
			t.Fatalf("%v after %q", err, got)
		}
	}
	if strings.Contains(got, "second") {
		t.Errorf("the second event was there before it was sent: %q", got)
	}
	close(w.next)
	rest, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(rest), "data: second") {
		t.Errorf("then came %q, %v", rest, err)
	}
}

func (w *behind) revoked(t *testing.T) {
	token := w.token(t, "payments", "refunds.read")
	ask := func() *raw.Reply { return w.ask(t, "GET /v1/refunds/7 HTTP/1.1", "Authorization: Bearer "+token) }
	if reply := ask(); reply.Status != http.StatusOK {
		t.Fatalf("before: %d", reply.Status)
	}
	if out, err := w.Bursar(t, "revoke", "acme", "--jti", harness.ID(token)); err != nil {
		t.Fatal(err, out)
	}
	before := w.api.Count()
	reply := ask()
	w.refused(t, "a revoked token", reply, before)
	if reply.Status != http.StatusUnauthorized {
		t.Errorf("status %d", reply.Status)
	}
}

// closed kills bursar, which leaves its socket behind, and starts it again.
func (w *behind) closed(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read")
	w.Kill()
	before := w.api.Count()
	reply := w.ask(t, "GET /v1/refunds/7 HTTP/1.1", bearer)
	w.refused(t, "bursar is away", reply, before)
	if reply.Status != w.front.away {
		t.Errorf("status %d", reply.Status)
	}
	w.Restart(t)
	harness.Eventually(t, "calls pass again", func() bool {
		return w.ask(t, "GET /v1/refunds/7 HTTP/1.1", bearer).Status == http.StatusOK
	})
}

// silent takes the API away, since what goes wrong is what proxies write into their logs (F7).
func (w *behind) silent(t *testing.T) {
	bearer := "Authorization: Bearer " + w.token(t, "payments", "refunds.read")
	w.api.Close()
	if reply := w.ask(t, "GET /v1/refunds/7?fields=a HTTP/1.1", bearer); reply.Status < 500 {
		t.Errorf("without the API: %d", reply.Status)
	}
	if files := w.oracle.Folder(t, w.dir); files < 2 {
		t.Errorf("only %d files were searched", files)
	}
	for _, e := range w.Events(t, "acme", 0) {
		if e.Name == "key.use" && e.Outcome == "allowed" {
			return
		}
	}
	t.Error("no use of the key is on record")
}
