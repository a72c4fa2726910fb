package harness

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The URNs of requests (RFC 8693 §2.1, §3; RFC 7523 §2.2).
const (
	GrantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	TypeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	TypeIDToken   = "urn:ietf:params:oauth:token-type:id_token"
	JWTBearer     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// Answer is a response. JSON is nil if the body is not a JSON object.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	JSON   map[string]any
	Closes bool // the server ends the connection
	Took   time.Duration
}

// Text returns a string member of the body.
func (a *Answer) Text(name string) string {
	s, _ := a.JSON[name].(string)
	return s
}

// Token returns the issued token, "" if there is none.
func (a *Answer) Token() string { return a.Text("access_token") }

// Caller is who sends requests to a tenant. It may be copied and changed.
type Caller struct {
	Server *Server
	Tenant string
	ID     string // with Secret: HTTP Basic authentication (RFC 6749 §2.3.1)
	Secret string
	From   string // the address that a trusted proxy would say it asks for, if any
}

// At returns a caller without credentials.
func (s *Server) At(tenant string) Caller { return Caller{Server: s, Tenant: tenant} }

// transport keeps enough connections for tests that send much at once. A server that was killed leaves none behind. It
// believes every certificate: the servers are this machine's own.
var transport = &http.Transport{MaxIdleConns: 2000, MaxIdleConnsPerHost: 1000, DisableCompression: true,
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}

// Send posts a form to an endpoint of the tenant, and may be called from any goroutine.
func (c Caller) Send(ctx context.Context, endpoint string, form url.Values) (*Answer, error) {
	target := c.Server.URL + "/t/" + c.Tenant + "/" + endpoint
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.From != "" {
		req.Header.Set("X-Forwarded-For", c.From)
	}
	if c.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	return Do(req)
}

// Do sends a request, without following redirects.
func Do(req *http.Request) (*Answer, error) {
	began := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body), Closes: resp.Close,
		Took: time.Since(began)}
	if json.Unmarshal(body, &a.JSON) != nil {
		a.JSON = nil
	}
	return a, nil
}

// Get returns a public document.
func Get(t testing.TB, target string) *Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (c Caller) send(t testing.TB, endpoint string, form url.Values) *Answer {
	t.Helper()
	a, err := c.Send(t.Context(), endpoint, form)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Form returns the request of an agent as itself, which proves itself by its workload token alone.
func Form(workloadToken, resource, scope string) url.Values {
	return url.Values{
		"grant_type": {GrantExchange}, "subject_token": {workloadToken}, "subject_token_type": {TypeJWT},
		"resource": {resource}, "scope": {scope},
	}
}

// For returns the request of an agent that acts for the subject of another token.
func For(subjectToken, workloadToken, resource, scope string) url.Values {
	form := Form(subjectToken, resource, scope)
	form.Set("actor_token", workloadToken)
	form.Set("actor_token_type", TypeJWT)
	return form
}

// Exchange asks for a token.
func (c Caller) Exchange(t testing.TB, form url.Values) *Answer {
	t.Helper()
	return c.send(t, "token", form)
}

// MustExchange returns the token, and fails the test without one.
func (c Caller) MustExchange(t testing.TB, form url.Values) string {
	t.Helper()
	a := c.Exchange(t, form)
	if a.Status != http.StatusOK || a.Token() == "" {
		t.Fatalf("no token: status %d %s", a.Status, a.Body)
	}
	return a.Token()
}

// Introspect asks about a token (RFC 7662).
func (c Caller) Introspect(t testing.TB, token string) *Answer {
	t.Helper()
	return c.send(t, "introspect", url.Values{"token": {token}})
}

// Active reports whether introspection calls a token active, and fails the test if it does not answer.
func (c Caller) Active(t testing.TB, token string) bool {
	t.Helper()
	a := c.Introspect(t, token)
	active, ok := a.JSON["active"].(bool)
	if a.Status != http.StatusOK || !ok {
		t.Fatalf("introspection: status %d %s", a.Status, a.Body)
	}
	return active
}

// Revoke revokes a token (RFC 7009).
func (c Caller) Revoke(t testing.TB, token string) *Answer {
	t.Helper()
	return c.send(t, "revoke", url.Values{"token": {token}})
}
