package e2e_test

import (
	"bufio"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
)

func (w *shimWorld) revoked(t *testing.T) {
	for _, row := range []struct {
		name    string
		revoke  func(token string) []string
		disable []string
	}{
		{"the token", func(token string) []string { return []string{"revoke", "acme", "--jti", harness.ID(token)} }, nil},
		{"the run", func(token string) []string {
			return []string{"revoke", "acme", "--run", harness.Claims(t, token)["txn"].(string)}
		}, nil},
		{"the lineage", func(token string) []string { return []string{"revoke", "acme", "--lineage", harness.ID(token)} },
			nil},
		{"the client", func(string) []string { return []string{"revoke", "acme", "--client", "ap-bot"} },
			[]string{"--client", "ap-bot"}},
		{"the tool", func(string) []string { return []string{"revoke", "acme", "--tool", "legacy"} },
			[]string{"--tool", "legacy"}},
		{"the issuer", func(string) []string { return []string{"revoke", "acme", "--issuer", "cluster"} },
			[]string{"--issuer", "cluster"}},
		{"the tenant", func(string) []string { return []string{"revoke", "acme", "--all"} }, []string{"--all"}},
	} {
		token := w.fresh(t, "acme", "legacy", "items.read")
		request := w.request(token, "legacy", "GET", "/v1/items/1", "")
		if reply := w.ask(t, request); reply.Status != 200 {
			t.Fatalf("%s: %d before", row.name, reply.Status)
		}
		w.run(t, row.revoke(token)...)
		w.silent(t, row.name, func() { problem(t, row.name, w.ask(t, request), 401, "invalid_token") })
		if row.disable != nil {
			w.run(t, append([]string{"enable", "acme"}, row.disable...)...)
			w.silent(t, row.name, func() { problem(t, row.name+", enabled again", w.ask(t, request), 401, "invalid_token") })
		}
	}
	w.tokens = map[string]string{}
	if w.Redis == nil {
		return
	}
	token := w.token(t, "legacy")
	w.Redis.Kill()
	w.silent(t, "without a store", func() {
		if reply := w.ask(t, w.request(token, "legacy", "GET", "/v1/items/1", "")); reply.Status != 503 ||
			reply.Get("Retry-After") == "" {
			t.Errorf("without a store: %d %s", reply.Status, reply.Body)
		}
	})
	w.Redis.Restart(t)
	harness.Eventually(t, "the store is back", func() bool { return w.get(t, "legacy", "/v1/items/1").Status == 200 })
}

// stream opens one, and returns it once something has come.
func (w *shimWorld) stream(t *testing.T, token, tool, target string, headers ...string) *bufio.Reader {
	t.Helper()
	c := raw.Dial(t, w.Shim)
	c.Send(t, w.request(token, tool, "GET", target, "", headers...))
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	line, err := c.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 200 ") && !strings.HasPrefix(line, "HTTP/1.1 101 ") {
		t.Fatalf("%s: %q, %v", target, line, err)
	}
	for range 6 {
		if _, err := c.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	return c.Reader
}

var asWebSocket = []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// ended waits until a stream is cut, and fails the test if it ends as if it were whole.
func (w *shimWorld) ended(t *testing.T, what string, stream *bufio.Reader) {
	t.Helper()
	rest, err := io.ReadAll(stream)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s: the stream goes on", what)
	}
	if strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
		t.Errorf("%s: the stream ended as if it were whole", what)
	}
	w.oracle.Check(t, "the stream cut by "+what, rest)
}

func (w *shimWorld) streamsEnd(t *testing.T) {
	w.with(t, "cutting", injections["legacy"], rules+"      stream: {on_expiry: cut}\n")
	for name, cut := range map[string][]string{"revoking the client": {"revoke", "acme", "--client", "ap-bot"},
		"revoking the tool": {"revoke", "acme", "--tool", "legacy"},
		"disabling the key": {"secret", "disable", "acme/legacy-key"}} {
		before := w.size(t)
		token := w.fresh(t, "acme", "legacy", "items.read")
		streams := map[string]*bufio.Reader{
			name + ", events":      w.stream(t, token, "legacy", "/end/drip"),
			name + ", a download":  w.stream(t, token, "legacy", "/end/download"),
			name + ", a WebSocket": w.stream(t, token, "legacy", "/ws/drip", asWebSocket...)}
		w.run(t, cut...)
		for what, stream := range streams {
			w.ended(t, what, stream)
		}
		reasons := map[string]int{}
		for _, e := range w.uses(t, before, 3) {
			reasons[e.Reason]++
		}
		if want := map[bool]string{true: "cut.secret", false: "cut.revoked"}[cut[0] == "secret"]; reasons[want] != 3 {
			t.Errorf("%s: the log says %v", name, reasons)
		}
		if cut[0] == "secret" {
			w.run(t, "secret", "enable", "acme/legacy-key")
		} else {
			w.run(t, append([]string{"enable"}, cut[1:]...)...)
		}
	}
	w.tokens = map[string]string{}
	// Of two tools, one ends its streams when their token expires.
	short := strings.NewReplacer("tool: legacy, ttl: 10m", "tool: legacy, ttl: 3s", "tool: cutting, ttl: 10m",
		"tool: cutting, ttl: 3s")
	w.Apply(t, short.Replace(w.tenant("acme", w.tool("acme", "cutting", w.up.URL, injections["legacy"], w.up.CA,
		rules+"      stream: {on_expiry: cut}\n"))))
	before := w.size(t)
	token := w.fresh(t, "acme", "legacy", "items.read")
	goesOn := w.stream(t, token, "legacy", "/end/drip")
	w.ended(t, "its expiry", w.stream(t, w.fresh(t, "acme", "cutting", "items.read"), "cutting", "/end/drip"))
	if all := w.uses(t, before, 1); all[len(all)-1].Reason != "cut.expired" {
		t.Errorf("the log says %s", all[len(all)-1].Reason)
	}
	harness.Eventually(t, "the token has expired", func() bool {
		return w.ask(t, w.request(token, "legacy", "GET", "/v1/items/1", "")).Status == 401
	})
	for range 200 {
		if _, err := goesOn.ReadByte(); err != nil {
			t.Fatalf("a stream that may finish was cut: %v", err)
		}
	}
}

func (w *shimWorld) rotatedKey(t *testing.T) {
	w.put(t, "acme/turning", acmeKey, "header")
	w.with(t, "turning", strings.Replace(injections["legacy"], "legacy-key", "turning", 1), rules)
	running := w.stream(t, w.token(t, "turning"), "turning", "/end/drip")
	w.put(t, "acme/turning", nextKey, "header")
	if reply := w.get(t, "turning", "/v1/items/1"); reply.Status != 200 ||
		!slices.Equal(w.sent(t, "X-Api-Key"), []string{nextKey}) {
		t.Errorf("the next call: %d, with %q", reply.Status, w.sent(t, "X-Api-Key"))
	}
	for range 200 { // the one under way goes on
		if _, err := running.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	w.run(t, "secret", "rollback", "acme/turning")
	if w.get(t, "turning", "/v1/items/1"); !slices.Equal(w.sent(t, "X-Api-Key"), []string{acmeKey}) {
		t.Errorf("rolled back, %q is sent", w.sent(t, "X-Api-Key"))
	}
	// A token that was got for the old client secret is dropped with it.
	tokens := func() (n int) {
		for _, r := range w.up.Requests() {
			if r.Path() == "/token" {
				n++
			}
		}
		return n
	}
	w.get(t, "oauth", "/v1/items/1")
	before := tokens()
	w.get(t, "oauth", "/v1/items/1")
	if n := tokens(); n != before {
		t.Errorf("a token is fetched for each call")
	}
	w.putClient(t, clientKey+"-next")
	w.get(t, "oauth", "/v1/items/1")
	if n := tokens(); n != before+1 {
		t.Errorf("%d tokens were fetched after the rotation", n-before)
	}
	w.putClient(t, clientKey)
}

func (w *shimWorld) disabledKey(t *testing.T) {
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Fatal(reply.Status)
	}
	w.run(t, "secret", "disable", "acme/legacy-key")
	for tool := range injections {
		if strings.Contains(injections[tool], "legacy-key") && tool != "body" && tool != "form" {
			w.silent(t, tool, func() { problem(t, tool, w.get(t, tool, "/v1/items/1"), 403, "credential_disabled") })
		}
	}
	w.run(t, "secret", "enable", "acme/legacy-key")
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Errorf("enabled again: %d", reply.Status)
	}
}
