package extauthz_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/extauthz"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
)

const (
	key   = "sk-live-0123456789abcdef+/=Zz"
	scope = "payments:refunds.read"
	tool  = servertest.ShimURL + "/t/acme/payments"

	file = `apiVersion: bursar/v1
tenant: acme
clients:
  - {id: ap-bot, kind: agent, auth: {method: client_secret_basic}}
tools:
  - name: payments
    resource: https://sts.example/shim/t/acme/payments
    actions: [refunds.read, refunds.create]
    upstream:
      url: https://legacy-payments.internal:8443
      allow_decision_mode: true
      inject: [{in: header, name: X-Api-Key, secret: payments-key}]
      allow:
        - {action: refunds.read, methods: [GET], path: "/v1/refunds/{id}", query: [fields]}
        - {action: refunds.create, methods: [POST], path: "/v1/refunds"}
`
)

// world is a server that is asked over a socket.
type world struct {
	*servertest.World
	auth.AuthorizationClient
	server *extauthz.Server
	token  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: servertest.New(t, servertest.Options{})}
	w.Create(file)
	w.PutSecret("acme", "payments-key", "https://legacy-payments.internal:8443", "", key)
	w.token = w.AccessToken("payments", scope)
	w.server = extauthz.New(servertest.ShimURL, w.Shim(w.Log), slog.New(slog.NewTextHandler(io.Discard, nil)))
	path := filepath.Join(t.TempDir(), "s")
	l, err := decide.Door{Socket: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(l) }()
	t.Cleanup(func() {
		if err := w.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w.AuthorizationClient = auth.NewAuthorizationClient(conn)
	return w
}

// asked returns a question as Envoy writes it, with further headers in pairs.
func (w *world) asked(method, path string, headers ...string) *auth.CheckRequest {
	h := map[string]string{":authority": "front", ":method": method, ":path": path, "user-agent": "agent",
		"authorization": "Bearer " + w.token, "x-request-id": "1"}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = headers[i+1]
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{
			SocketAddress: &core.SocketAddress{Address: "203.0.113.7"}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: method, Path: path, Headers: h, Scheme: "http", Protocol: "HTTP/1.1"}},
		ContextExtensions: map[string]string{extauthz.ResourceKey: tool}}}
}

func (w *world) check(t *testing.T, r *auth.CheckRequest) *auth.CheckResponse {
	t.Helper()
	response, err := w.Check(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// text is what Envoy is told to put on a message, as "name: value".
func text(headers []*core.HeaderValueOption) (lines []string) {
	for _, h := range headers {
		line := h.GetHeader().GetKey() + ": " + h.GetHeader().GetValue()
		if h.GetAppendAction() != core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			line += " (added)"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestEnvoyIsHandedTheKeyAndToldWhatToTakeOff(t *testing.T) {
	w := newWorld(t)
	response := w.check(t, w.asked("GET", "/v1/refunds/7?fields=a%20b"))
	ok := response.GetOkResponse()
	if response.GetStatus().GetCode() != int32(codes.OK) || ok == nil {
		t.Fatalf("%v", response)
	}
	if got := text(ok.GetHeaders()); !slices.Equal(got, []string{"x-api-key: " + key}) {
		t.Errorf("put on: %q", got)
	}
	for _, name := range []string{"authorization", "cookie", "proxy-authorization", "dpop", "x-http-method-override",
		"x-original-url"} {
		if !slices.Contains(ok.GetHeadersToRemove(), name) {
			t.Errorf("%s is not taken off: %q", name, ok.GetHeadersToRemove())
		}
	}
	if slices.Contains(ok.GetHeadersToRemove(), "x-api-key") {
		t.Error("the key is taken off again")
	}
	records := w.Records("acme")
	last := records[len(records)-1]
	fields := response.GetDynamicMetadata().GetFields()
	if last.Body.DecisionID != fields["bursar_decision"].GetStringValue() ||
		last.Txn != fields["bursar_txn"].GetStringValue() || last.Body.Request.IP.String() != "203.0.113.7" {
		t.Errorf("the record is %+v, the answer %v", last, fields)
	}
	raw := w.asked("GET", "/v1/refunds/7")
	http := raw.GetAttributes().GetRequest().GetHttp()
	http.HeaderMap = &core.HeaderMap{}
	for name, value := range http.GetHeaders() {
		http.HeaderMap.Headers = append(http.HeaderMap.Headers, &core.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	http.Headers = nil
	if response := w.check(t, raw); response.GetOkResponse() == nil {
		t.Errorf("with raw headers: %v", response)
	}
	if s := w.server.Stats(); s != (decide.Stats{Allowed: 2}) {
		t.Errorf("counted as %+v", s)
	}
}

func TestWhatEnvoyIsRefused(t *testing.T) {
	w := newWorld(t)
	change := func(r *auth.CheckRequest, how func(*auth.AttributeContext)) *auth.CheckRequest {
		how(r.GetAttributes())
		return r
	}
	http := func(how func(*auth.AttributeContext_HttpRequest)) *auth.CheckRequest {
		r := w.asked("GET", "/v1/refunds/7")
		how(r.GetAttributes().GetRequest().GetHttp())
		return r
	}
	const none, malformed = "invalid_token", "malformed_request"
	for _, row := range []struct {
		name   string
		asked  *auth.CheckRequest
		status int
		code   string
	}{
		{"nothing", &auth.CheckRequest{}, 403, malformed},
		{"no tool", change(w.asked("GET", "/v1/refunds/7"), func(a *auth.AttributeContext) { a.ContextExtensions = nil }),
			403, malformed},
		{"a tool that is not there", change(w.asked("GET", "/v1/refunds/7"), func(a *auth.AttributeContext) {
			a.ContextExtensions = map[string]string{extauthz.ResourceKey: servertest.ShimURL + "/t/acme/other"}
		}), 401, none},
		{"no call", change(w.asked("GET", "/v1/refunds/7"), func(a *auth.AttributeContext) { a.Request = nil }),
			403, malformed},
		{"no token", w.asked("GET", "/v1/refunds/7", "authorization", ""), 401, none},
		{"two tokens", w.asked("GET", "/v1/refunds/7", "authorization", "Bearer a,Bearer "+w.token), 403, malformed},
		{"two tokens, raw", http(func(h *auth.AttributeContext_HttpRequest) {
			h.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "Authorization", Value: "Bearer a"}}}
		}), 403, malformed},
		{"a query beside the path", http(func(h *auth.AttributeContext_HttpRequest) { h.Query = "a=b" }), 403, malformed},
		{"a fragment", http(func(h *auth.AttributeContext_HttpRequest) { h.Fragment = "a" }), 403, malformed},
		{"an authority as the path", w.asked("CONNECT", "evil.example:443"), 403, malformed},
		{"dots", w.asked("GET", "/v1/%2e%2e/v1/refunds/7"), 403, "ambiguous_path"},
		{"another method", w.asked("DELETE", "/v1/refunds/7"), 403, "method_not_allowed"},
		{"an action that the token does not have", w.asked("POST", "/v1/refunds"), 403, "insufficient_scope"},
		{"an underscore", w.asked("GET", "/v1/refunds/7", "x_api_key", "mine"), 403, malformed},
		{"an override", w.asked("GET", "/v1/refunds/7", "x-http-method-override", "DELETE"), 403, malformed},
		{"another protocol", w.asked("GET", "/v1/refunds/7", "upgrade", "websocket"), 403, malformed},
		{"a forged answer", w.asked("GET", "/v1/refunds/7", "x-bursar-inject-x-api-key", "mine"), 403, malformed},
	} {
		response := w.check(t, row.asked)
		denied := response.GetDeniedResponse()
		want := codes.PermissionDenied
		if row.status == 401 {
			want = codes.Unauthenticated
		}
		lines := text(denied.GetHeaders())
		if response.GetStatus().GetCode() != int32(want) || int(denied.GetStatus().GetCode()) != row.status ||
			!slices.Contains(lines, "bursar-error: "+row.code) || !strings.Contains(denied.GetBody(), row.code) {
			t.Errorf("%s: %v", row.name, response)
		}
		if challenged := strings.Contains(strings.Join(lines, "\n"), "www-authenticate: Bearer "); challenged !=
			(row.status == 401 || row.code == "insufficient_scope") {
			t.Errorf("%s: a challenge is %t", row.name, challenged)
		}
		if strings.Contains(response.String(), key) {
			t.Errorf("%s: the key is in the answer", row.name)
		}
	}
}

func TestEnvoyIsRefusedARevokedToken(t *testing.T) {
	w := newWorld(t)
	if response := w.check(t, w.asked("GET", "/v1/refunds/7")); response.GetOkResponse() == nil {
		t.Fatalf("before: %v", response)
	}
	w.Cut("acme", string(revoke.Client), "ap-bot", false)
	response := w.check(t, w.asked("GET", "/v1/refunds/7"))
	if response.GetDeniedResponse().GetStatus().GetCode() != 401 || strings.Contains(response.String(), key) {
		t.Errorf("after: %v", response)
	}
}

func TestAQuestionIsBounded(t *testing.T) {
	w := newWorld(t)
	_, err := w.Check(t.Context(), w.asked("GET", "/v1/refunds/7", "x-large", strings.Repeat("a", 300<<10)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a question of 300 KiB: %v", err)
	}
}

func TestTheEndWaitsNoLongerThanItMay(t *testing.T) {
	s := extauthz.New(servertest.ShimURL, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	path := filepath.Join(t.TempDir(), "s")
	l, err := decide.Door{Socket: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("unix", path) // of somebody who says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it serves on")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is still there:", err)
	}
}
