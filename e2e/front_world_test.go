package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/raw"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
)

// frontKey is what the API behind the front knows.
const frontKey = "sk-Front/5Jq+1Zr8&Xw=2Tb7~Ny9Kd4.Pq6"

// behind is a legacy API behind a proxy that asks bursar.
type behind struct {
	*harness.Server
	front
	api     *upstream.Upstream
	evil    *upstream.Upstream // where nobody may be sent
	cluster *harness.Issuer
	oracle  *leak.Oracle
	url     string        // of the front
	dir     string        // of its files and logs
	next    chan struct{} // lets the API send the next event
}

func newBehind(t *testing.T, f front, store string) *behind {
	t.Helper()
	f.find(t)
	s := harness.Start(t, store)
	w := &behind{Server: s, front: f, dir: folder(t), next: make(chan struct{}), oracle: leak.Of(frontKey),
		cluster: harness.StartIssuer(t, "kubernetes", "-audience", s.Issuer("acme")),
		evil:    upstream.Start(t, upstream.Options{Plain: true})}
	w.api = upstream.Start(t, upstream.Options{Plain: true, Keys: []string{frontKey}, Answer: w.answer})
	socket := w.dir + "/decide.sock"
	s.ServeShim(t, fmt.Sprintf("decide: {listen: %q}", "unix:"+socket))
	w.prepare(t)
	w.url = f.start(t, w.dir, map[string]string{"/run/bursar/decide.sock": socket, "127.0.0.1:9102": w.api.Addr,
		"https://sts.example/shim/t/acme/payments": w.resource("payments")})
	return w
}

// prepare makes the tenant, and gives it the key.
func (w *behind) prepare(t *testing.T) {
	t.Helper()
	w.Apply(t, w.tenant())
	_, err := w.Operator.PutSecret(t.Context(), "acme", "payments-key", operator.SecretRequest{Host: w.api.URL,
		Fields: map[string]string{"value": frontKey}, Decision: true, Activate: true})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *behind) resource(tool string) string { return w.Shim + "/t/acme/" + tool }

func (w *behind) tenant() string {
	return fmt.Sprintf(`apiVersion: bursar/v1
tenant: acme
issuers:
  - {name: cluster, issuer: %[1]q, kind: kubernetes, audiences: [%[2]q], algorithms: [RS256],
     network: {allow_private: true}}
clients:
  - {id: ap-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}]}
tools:
  - name: payments
    resource: %[3]s
    actions: [refunds.read, refunds.create]
    upstream:
      url: %[4]s
      allow_plaintext: true
      network: {allow_private: true}
      allow_decision_mode: true
      inject: [{in: header, name: X-Api-Key, secret: payments-key}]
      allow:
        - {action: refunds.read, methods: [GET], path: "/v1/refunds/{id}", query: [fields]}
        - {action: refunds.read, methods: [GET], path: "/v1/feed"}
        - {action: refunds.read, methods: [GET], path: "/v1/moved"}
        - {action: refunds.create, methods: [POST], path: "/v1/refunds"}
  - name: other
    resource: %[5]s
    actions: [refunds.read]
    upstream:
      url: %[4]s
      allow_plaintext: true
      network: {allow_private: true}
      allow_decision_mode: true
      inject: [{in: header, name: X-Api-Key, secret: payments-key}]
      allow: [{action: refunds.read, methods: [GET], path: "/v1/refunds/{id}"}]
policies:
  - {id: pay, clients: [ap-bot], tool: payments, actions: [refunds.read, refunds.create], ttl: 10m}
  - {id: other, clients: [ap-bot], tool: other, actions: [refunds.read], ttl: 10m}
`, w.cluster.URL, w.Issuer("acme"), w.resource("payments"), w.api.URL, w.resource("other"))
}

// answer is the API: a feed of two events, the second when w.next says so; a redirect; else what upstream.Paths does.
func (w *behind) answer(x *upstream.Exchange) {
	switch x.Path() {
	case "/v1/feed":
		x.Print("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		x.Print("d\r\ndata: first\n\n\r\n")
		<-w.next
		x.Print("e\r\ndata: second\n\n\r\n0\r\n\r\n")
	case "/v1/moved":
		x.Send(upstream.Response{Status: 302, Header: []upstream.Field{{Name: "Location", Value: w.evil.URL + "/v1/x"},
			{Name: "Set-Cookie", Value: "session=1"}, {Name: "WWW-Authenticate", Value: `Basic realm="api"`}}})
	default:
		upstream.Paths(x)
	}
}

// token returns one for a tool of the tenant, with those of its actions.
func (w *behind) token(t *testing.T, tool string, actions ...string) string {
	t.Helper()
	scopes := make([]string, len(actions))
	for i, action := range actions {
		scopes[i] = tool + ":" + action
	}
	return w.At("acme").MustExchange(t, harness.Form(w.cluster.Mint(t, harness.Mint{}), w.resource(tool),
		strings.Join(scopes, " ")))
}

// ask sends a request through the front: lines without their ends, the first of them the request line. The body, if
// there is one, follows an empty line.
func (w *behind) ask(t *testing.T, lines ...string) *raw.Reply {
	t.Helper()
	request, body := strings.Join(lines, "\r\n"), ""
	if head, rest, has := strings.Cut(request, "\r\n\r\n"); has {
		request, body = head, rest
	}
	reply := raw.Ask(t, w.url, request+"\r\nHost: front.example\r\nConnection: close\r\n\r\n"+body)
	w.oracle.Check(t, lines[0], reply.Raw)
	return reply
}

// refused fails the test unless a request went no further, whoever answered it. A redirect of the proxy's own is fine.
func (w *behind) refused(t *testing.T, what string, reply *raw.Reply, before upstream.Count) {
	t.Helper()
	if reply.Status < 300 || w.api.Count().Heads != before.Heads {
		t.Errorf("%s: status %d, and the API was called %d times", what, reply.Status, w.api.Count().Heads-before.Heads)
	}
}
