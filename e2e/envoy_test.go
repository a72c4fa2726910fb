package e2e_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// envoy asks as Envoy does.
type envoy struct {
	auth.AuthorizationClient
	resource string
}

func newEnvoy(t *testing.T, target, resource string, c credentials.TransportCredentials) envoy {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return envoy{auth.NewAuthorizationClient(conn), resource}
}

// ask returns the key that was handed over, the status that the agent gets otherwise, and an error if nobody answered.
func (e envoy) ask(ctx context.Context, method, path, token string) (key string, status int, err error) {
	response, err := e.Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
		ContextExtensions: map[string]string{"bursar_resource": e.resource},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: method, Path: path,
			Headers: map[string]string{":method": method, "authorization": "Bearer " + token}}}}})
	for _, h := range response.GetOkResponse().GetHeaders() {
		if h.GetHeader().GetKey() == "x-api-key" {
			key = h.GetHeader().GetValue()
		}
	}
	return key, int(response.GetDeniedResponse().GetStatus().GetCode()), err
}

// TestEnvoyAsksOverGRPC asks a real bursar over a socket, and over TLS.
func TestEnvoyAsksOverGRPC(t *testing.T) {
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		w := &behind{Server: s, dir: folder(t),
			cluster: harness.StartIssuer(t, "kubernetes", "-audience", s.Issuer("acme")),
			api:     upstream.Start(t, upstream.Options{Plain: true, Keys: []string{frontKey}})}
		certificate, private := upstream.ClientPEM(t, "envoy")
		write(t, filepath.Join(w.dir, "cert.pem"), certificate)
		write(t, filepath.Join(w.dir, "key.pem"), private)
		socket, address := filepath.Join(w.dir, "grpc.sock"), fmt.Sprintf("127.0.0.1:%d", storagetest.FreePort(t))
		s.ServeShim(t, fmt.Sprintf("grpc: {listen: %q}", "unix:"+socket), fmt.Sprintf("decide: {listen: %q, "+
			"tls: {cert: %[2]q, key: %[3]q}, client_ca: %[2]q}", address, filepath.Join(w.dir, "cert.pem"),
			filepath.Join(w.dir, "key.pem")))
		w.prepare(t)
		local := newEnvoy(t, "unix:"+socket, w.resource("payments"), insecure.NewCredentials())
		w.envoyIsAnswered(t, local)

		// Over TLS nobody is heard who shows no certificate.
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(private))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct {
			shown  *tls.Certificate
			status int
		}{{&pair, 200}, {nil, 0}} {
			token := w.token(t, "payments", "refunds.read")
			if got := decideOverTLS(t, address, w.resource("payments"), token, row.shown); got != row.status {
				t.Errorf("over TLS, with a certificate: %t, the answer is %d", row.shown != nil, got)
			}
		}
	})
}

func (w *behind) envoyIsAnswered(t *testing.T, e envoy) {
	t.Helper()
	token := w.token(t, "payments", "refunds.read")
	want := func(what, method, path, token, wantKey string, wantStatus int) {
		t.Helper()
		key, status, err := e.ask(t.Context(), method, path, token)
		if err != nil || key != wantKey || status != wantStatus {
			t.Errorf("%s: key %q, status %d, %v", what, key, status, err)
		}
	}
	want("allowed", "GET", "/v1/refunds/7?fields=a", token, frontKey, 0)
	want("another action", "POST", "/v1/refunds", token, "", 403)
	want("dots", "GET", "/v1/refunds/../../admin", token, "", 403)
	want("no token", "GET", "/v1/refunds/7", "", "", 401)
	want("another tool's token", "GET", "/v1/refunds/7", w.token(t, "other", "refunds.read"), "", 401)
	if out, err := w.Bursar(t, "revoke", "acme", "--jti", harness.ID(token)); err != nil {
		t.Fatal(err, out)
	}
	want("revoked", "GET", "/v1/refunds/7", token, "", 401)
	token = w.token(t, "payments", "refunds.read")
	w.Kill()
	if key, status, err := e.ask(t.Context(), "GET", "/v1/refunds/7", token); err == nil || key != "" {
		t.Errorf("while bursar is away: %q, %d", key, status)
	}
	w.Restart(t)
	harness.Eventually(t, "bursar answers again", func() bool {
		key, _, err := e.ask(t.Context(), "GET", "/v1/refunds/7", token)
		return err == nil && key == frontKey
	})
}

// decideOverTLS asks as nginx does, and returns the status, or 0 if the server does not talk to the caller.
func decideOverTLS(t *testing.T, address, resource, token string, pair *tls.Certificate) int {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} // it is about the caller's certificate here
	if pair != nil {
		cfg.Certificates = []tls.Certificate{*pair}
	}
	c, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	_, err = fmt.Fprintf(c, "GET /v1/decide HTTP/1.1\r\nHost: bursar\r\nX-Bursar-Resource: %s\r\n"+
		"Authorization: Bearer %s\r\nX-Original-Method: GET\r\nX-Original-URI: /v1/refunds/7\r\n\r\n", resource, token)
	if err != nil {
		return 0
	}
	line := make([]byte, len("HTTP/1.1 200"))
	if _, err := c.Read(line); err != nil {
		return 0
	}
	status := 0
	_, _ = fmt.Sscanf(strings.TrimPrefix(string(line), "HTTP/1.1 "), "%d", &status) // 0 if there is none
	return status
}
