package shim_test

import (
	"bytes"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

// key is what the upstream knows, and the agent never.
const key = "sk-live-0123456789abcdef+/=Zz"

// world is a tenant with an upstream behind a shim.
type world struct {
	*servertest.World
	shim     *shim.Shim
	front    *httptest.Server // the shim, as agents see it
	upstream *upstream
	logs     *bytes.Buffer // of the process
	file     string        // the tenant's
	ca       string        // of the upstream
}

// upstream is a legacy API.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []*http.Request // with their bodies read
	bodies []string
	handle http.HandlerFunc // what it answers with; nil is 200 and "ok"
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.seen, u.bodies = append(u.seen, r), append(u.bodies, string(body))
	handle := u.handle
	u.mu.Unlock()
	if handle == nil {
		_, _ = io.WriteString(w, "ok")
		return
	}
	handle(w, r)
}

// answers sets how the upstream answers.
func (u *upstream) answers(handle http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handle = handle
}

// calls returns the requests that came since the last time that somebody asked.
func (u *upstream) calls() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen, u.bodies = nil, nil
	return seen
}

// file is the tenant's, with the upstream's address and certificate.
const file = `apiVersion: bursar/v1
tenant: acme
clients:
  - {id: ap-bot, kind: agent, auth: {method: client_secret_basic}}
  - {id: other-bot, kind: agent, auth: {method: client_secret_basic}}
tools:
  - name: legacy
    resource: https://sts.example/shim/t/acme/legacy
    actions: [refunds.read, refunds.create, feed.read]
    discoverable: true
    upstream:
      url: ${url}
      inject: [{in: header, name: X-Api-Key, secret: legacy-key}]
      websocket: true
      network: {allow_private: true, ca: "${ca}"}
      limits: {agent_concurrent: 3}
      allow:
        - {action: refunds.read, methods: [GET, HEAD], path: "/v1/refunds/{id}", query: [fields]}
        - {action: refunds.create, methods: [POST], path: "/v1/refunds", max_body: 1KiB, json: {/currency: [EUR]}}
        - {action: refunds.create, methods: [PUT], path: "/v1/files/{name}", max_body: 64KiB,
           content_types: [application/octet-stream]}
        - {action: feed.read, methods: [GET], path: "/v1/feed"}
`

func newWorld(t testing.TB, o servertest.Options, changes ...string) *world {
	t.Helper()
	w := &world{World: servertest.New(t, o), upstream: new(upstream), logs: new(bytes.Buffer)}
	w.upstream.Server = httptest.NewTLSServer(w.upstream)
	t.Cleanup(w.upstream.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.upstream.Certificate().Raw})
	text := strings.NewReplacer(changes...).Replace(file)
	w.ca = string(ca)
	line := strings.ReplaceAll(string(ca), "\n", `\n`)
	w.file = strings.NewReplacer("${url}", w.upstream.URL, "${ca}", line).Replace(text)
	w.Create(w.file)
	w.PutSecret("acme", "legacy-key", w.upstream.URL, string(ca), key)
	w.shim = w.newShim(t, w.Process, w.Process.Log)
	w.front = httptest.NewServer(w.shim)
	t.Cleanup(w.front.Close)
	return w
}

// newShim returns a shim of a process.
func (w *world) newShim(t testing.TB, p *servertest.Process, log shim.Log) *shim.Shim {
	t.Helper()
	limits := limit.New(limit.Config{Rules: limit.Unlimited()})
	t.Cleanup(limits.Close)
	s, err := shim.New(shim.Config{URL: "https://sts.example/shim", Tenants: p.ShimTenants(), Log: log, Limits: limits,
		Deny: func() []netip.AddrPort { return nil }, Logger: slog.New(slog.NewTextHandler(w.logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// token returns one of ap-bot for the tool, with changes: pairs of a claim and its value.
func (w *world) token(changes ...any) string {
	now := w.Directory.Now()
	claims := map[string]any{"iss": "https://sts.example/t/acme", "sub": "client:ap-bot", "client_id": "ap-bot",
		"aud":   "https://sts.example/shim/t/acme/legacy",
		"scope": "legacy:refunds.read legacy:refunds.create legacy:feed.read",
		"iat":   now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": ledger.NewID(now), "txn": ledger.NewID(now)}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(claims, changes[i].(string))
			continue
		}
		claims[changes[i].(string)] = changes[i+1]
	}
	return w.Signed(claims)
}

// call sends a request to the tool through the shim. Headers are written as "Name: value".
func (w *world) call(t *testing.T, token, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.front.URL+"/shim/t/acme/legacy"+path,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		text = append(text, " [cut: "+err.Error()+"]"...)
	}
	return response, string(text)
}

// uses returns the events key.use of the tenant, each as "outcome phase reason secrets status", once there are so many.
func (w *world) uses(t *testing.T, want int) []string {
	t.Helper()
	var all []string
	for end := time.Now().Add(10 * time.Second); ; {
		all = nil
		for _, r := range w.Records("acme") {
			if r.Name != audit.KeyUse {
				continue
			}
			u := r.Body.Use
			status := ""
			if u.Status != 0 {
				status = strconv.FormatInt(u.Status, 10)
			}
			all = append(all, strings.Join(strings.Fields(strings.Join([]string{string(r.Body.Outcome), u.Phase, r.Body.Reason,
				strings.Join(u.Secrets, "+"), status}, " ")), " "))
		}
		if len(all) >= want || time.Now().After(end) {
			return all
		}
		time.Sleep(5 * time.Millisecond) // nothing announces an event that nobody waits for
	}
}
