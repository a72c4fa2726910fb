package inject_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// endpoint is a token endpoint over TLS that checks its clients and numbers its tokens.
type endpoint struct {
	*httptest.Server
	in  *inject.Injector
	now time.Time // the injector's

	mu      sync.Mutex
	asked   []url.Values // the forms
	basic   []string     // user:password of each
	answer  http.HandlerFunc
	expires string // expires_in
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{in: inject.New(), now: time.Unix(1_790_000_000, 0), expires: "3600"}
	e.Server = httptest.NewTLSServer(e)
	t.Cleanup(e.Close)
	e.Config.ErrorLog = nil
	roots := x509.NewCertPool()
	roots.AddCert(e.Certificate())
	e.in.Known(roots)
	e.in.At(func() time.Time { e.mu.Lock(); defer e.mu.Unlock(); return e.now })
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	user, password, _ := r.BasicAuth()
	e.mu.Lock()
	e.asked, e.basic = append(e.asked, r.PostForm), append(e.basic, user+":"+password)
	n, answer, expires := len(e.asked), e.answer, e.expires
	e.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	if r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
		r.Header.Get("Accept") != "application/json" || r.PostForm.Get("grant_type") != "client_credentials" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":%s,"scope":"x"}`, accessToken(n), expires)
}

// later moves the injector's clock.
func (e *endpoint) later(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked)
}

func accessToken(n int) string { return fmt.Sprintf("access-token-of-the-upstream-%04d", n) }

var client = map[string]string{vault.ClientID: "client:1", vault.ClientSecret: secret}

// get applies the injection and returns the token that is on the request.
func (e *endpoint) get(how tools.OAuth2, ref vault.Ref, of ledger.Tenant) (string, []string, error) {
	if how.TokenURL == "" {
		how.TokenURL = e.URL + "/token"
	}
	target := &inject.Target{Tenant: of, Request: &http.Request{Header: http.Header{"Authorization": {"mine"}}},
		Dial: nearby()}
	texts, err := e.in.Apply(context.Background(), target, tools.Injection{In: "oauth2", OAuth2: &how}, ref,
		vault.NewValue(client))
	if err != nil {
		if len(texts) > 0 || len(target.Request.Header["Authorization"]) != 1 {
			err = errors.New("refused and changed")
		}
		return "", nil, err
	}
	return strings.TrimPrefix(target.Request.Header.Get("Authorization"), "Bearer "), texts, nil
}

// TestTheClientCredentialsGetAToken checks both ways to authenticate, and everything that is asked for.
func TestTheClientCredentialsGetAToken(t *testing.T) {
	e := newEndpoint(t)
	text, texts, err := e.get(tools.OAuth2{Scope: "a b", Audience: "https://api.example", Resource: "urn:x",
		Params: map[string]string{"account": "7&8"}}, version(1), tenant)
	if err != nil || text != accessToken(1) || !hides(texts, text+secret, text, secret) {
		t.Fatalf("%q, hidden by %d texts, %v", text, len(texts), err)
	}
	if text, _, err = e.get(tools.OAuth2{Auth: "post"}, version(1), tenant); err != nil || text != accessToken(2) {
		t.Fatal(text, err)
	}
	want := []url.Values{
		{"grant_type": {"client_credentials"}, "scope": {"a b"}, "audience": {"https://api.example"}, "resource": {"urn:x"},
			"account": {"7&8"}},
		{"grant_type": {"client_credentials"}, "client_id": {"client:1"}, "client_secret": {secret}},
	}
	if fmt.Sprint(e.asked) != fmt.Sprint(want) {
		t.Errorf("asked %v, want %v", e.asked, want)
	}
	// The two halves are form-encoded before they become a pair (RFC 6749 §2.3.1).
	if e.basic[0] != "client%3A1:"+url.QueryEscape(secret) || e.basic[1] != ":" {
		t.Errorf("authenticated as %q", e.basic)
	}
}

// TestATokenIsKeptForItsVersion asks once for a token until it is about to expire, another version of the secret is
// used, another tenant or other parameters want one, or it is dropped (E8).
func TestATokenIsKeptForItsVersion(t *testing.T) {
	e := newEndpoint(t)
	how := tools.OAuth2{Scope: "a"}
	want := func(what string, n int, how tools.OAuth2, ref vault.Ref, of ledger.Tenant) {
		t.Helper()
		text, texts, err := e.get(how, ref, of)
		if err != nil || text != accessToken(n) || !hides(texts, text, text) {
			t.Errorf("%s: %q, want number %d (%v)", what, text, n, err)
		}
	}
	want("first", 1, how, version(1), tenant)
	e.later(3569 * time.Second)
	want("again", 1, how, version(1), tenant)
	e.later(time.Second)
	want("30 s before it expires", 2, how, version(1), tenant)
	want("of another version", 3, how, version(2), tenant)
	want("of the version before: its token was given up", 4, how, version(1), tenant)
	other := version(1)
	other.Fingerprint = "other"
	want("of another value", 5, how, other, tenant)
	want("of another tenant", 6, how, other, "t-globex")
	want("with other parameters", 7, tools.OAuth2{Scope: "b"}, other, tenant)
	want("as before", 5, how, other, tenant)

	x := tools.Injection{In: "oauth2", OAuth2: &tools.OAuth2{TokenURL: e.URL + "/token", Scope: "a"}}
	e.in.Drop(tenant, x, version(1))
	want("another version was dropped", 5, how, other, tenant)
	e.in.Drop(tenant, x, other)
	want("it was dropped", 8, how, other, tenant)
	e.in.Drop(tenant, x, other)
	want("it was dropped again at once", 8, how, other, tenant)
	e.later(inject.Pause)
	e.in.Drop(tenant, x, other)
	want("it was dropped later", 9, how, other, tenant)
	e.in.Drop(tenant, tools.Injection{In: "oauth2"}, other)
	e.in.Drop(tenant, tools.Injection{In: "bearer"}, other)
}

// TestHowLongATokenIsGood reads expires_in as servers write it.
func TestHowLongATokenIsGood(t *testing.T) {
	for _, tt := range []struct {
		expires string
		good    time.Duration // 0: is not kept at all
		refused bool
	}{
		{`3600`, 3570 * time.Second, false}, {`"3600"`, 3570 * time.Second, false}, {`100.5`, 80400 * time.Millisecond,
			false},
		{`null`, 270 * time.Second, false}, {`10`, 8 * time.Second, false}, {`0`, 0, false},
		{`1e300`, 24*time.Hour - 30*time.Second, false},
		{`-1`, 0, true}, {`"soon"`, 0, true}, {`"NaN"`, 0, true}, {`[]`, 0, true}, {`true`, 0, true},
	} {
		e := newEndpoint(t)
		e.expires = tt.expires
		_, _, err := e.get(tools.OAuth2{}, version(1), tenant)
		if tt.refused != (reason(err) == "upstream.token_refused") {
			t.Errorf("%s: %v", tt.expires, err)
		}
		if tt.refused {
			continue
		}
		if tt.good > 0 {
			e.later(tt.good - time.Millisecond)
			if _, _, err := e.get(tools.OAuth2{}, version(1), tenant); err != nil || e.count() != 1 {
				t.Errorf("%s: asked %d times after %v less a moment, %v", tt.expires, e.count(), tt.good, err)
			}
		}
		e.later(time.Millisecond)
		if _, _, err := e.get(tools.OAuth2{}, version(1), tenant); err != nil || e.count() != 2 {
			t.Errorf("%s: asked %d times after %v, %v", tt.expires, e.count(), tt.good, err)
		}
	}
}

// TestManyCallsAskOnce starts 100 calls together. One asks; one that leaves early does not end that for the others.
func TestManyCallsAskOnce(t *testing.T) {
	e := newEndpoint(t)
	arrived, release := make(chan bool, 100), make(chan bool)
	e.answer = func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-release
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":60}`, accessToken(1))
	}
	how := tools.OAuth2{TokenURL: e.URL + "/token"}
	x := tools.Injection{In: "oauth2", OAuth2: &how}
	early, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := e.in.Apply(early, &inject.Target{Tenant: tenant, Request: &http.Request{Header: http.Header{}},
			Dial: nearby()},
			x, version(1), vault.NewValue(client))
		left <- err
	}()
	<-arrived
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			if text, _, err := e.get(tools.OAuth2{}, version(1), tenant); err != nil || text != accessToken(1) {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	leave()
	if err := <-left; reason(err) != "upstream.token_unreachable" || !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	calls.Wait()
	if e.count() != 1 {
		t.Errorf("asked %d times", e.count())
	}
}

// TestA15ATokenEndpointThatSendsElsewhere is not followed with the credentials, and nothing that it said is told.
func TestA15ATokenEndpointThatSendsElsewhere(t *testing.T) {
	e := newEndpoint(t)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s arrived elsewhere", r.Method, r.URL)
	}))
	defer evil.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		e.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", evil.URL+"/said-by-the-endpoint")
			w.WriteHeader(status)
			io.WriteString(w, `{"access_token":"said-by-the-endpoint","token_type":"Bearer"}`)
		}
		_, _, err := e.get(tools.OAuth2{}, version(1), tenant)
		if reason(err) != "upstream.token_refused" || strings.Contains(fmt.Sprintf("%+v", err), "said-by") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if e.count() != 5 { // a failure is not kept
		t.Errorf("asked %d times", e.count())
	}
}

// TestAnswersThatAreNoToken refuses them, without a word of them.
func TestAnswersThatAreNoToken(t *testing.T) {
	e := newEndpoint(t)
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			io.WriteString(w, `{"error":"invalid_client","error_description":"said-by-the-endpoint"}`)
		},
		"a token with an error's status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			io.WriteString(w, `{"access_token":"said-by-the-endpoint","token_type":"Bearer"}`)
		},
		"no JSON":        says(`<html>said-by-the-endpoint</html>`),
		"nothing":        says(``),
		"no token":       says(`{"token_type":"Bearer","x":"said-by-the-endpoint"}`),
		"no type":        says(`{"access_token":"said-by-the-endpoint"}`),
		"another type":   says(`{"access_token":"said-by-the-endpoint","token_type":"DPoP"}`),
		"a line break":   says(`{"access_token":"said-by-the-endpoint\r\nX: 1","token_type":"Bearer"}`),
		"a space":        says(`{"access_token":"said-by-the endpoint","token_type":"Bearer"}`),
		"no ASCII":       says(`{"access_token":"said-by-the-endpoint-é","token_type":"Bearer"}`),
		"too long":       says(`{"access_token":"` + strings.Repeat("x", 20_000) + `","token_type":"Bearer"}`),
		"two of them":    says(`{"access_token":"said-by-the-endpoint","token_type":"Bearer"}{}`),
		"a long tail":    says(`{"access_token":"said-by-the-endpoint","token_type":"Bearer"}` + strings.Repeat(" ", 70_000)),
		"an endless one": says(strings.Repeat(" ", 70_000) + `{"access_token":"said-by-the-endpoint","token_type":"Bearer"}`),
	} {
		e.answer = answer
		_, _, err := e.get(tools.OAuth2{}, version(1), tenant)
		if reason(err) != "upstream.token_refused" || strings.Contains(fmt.Sprintf("%+v %#v", err, err), "said-by") {
			t.Errorf("%s: %v", name, err)
		}
	}
	e.answer = func(w http.ResponseWriter, _ *http.Request) { // no HTTP: the key in the place of a status line
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(conn, secret+"\r\n\r\n")
			conn.Close()
		}
	}
	if _, _, err := e.get(tools.OAuth2{}, version(1), tenant); reason(err) != "upstream.token_unreachable" ||
		strings.Contains(fmt.Sprintf("%+v", err), secret) {
		t.Errorf("a key as a status line: %v", err)
	}
	e.answer = func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	if _, _, err := e.get(tools.OAuth2{}, version(1), tenant); reason(err) != "upstream.token_unreachable" ||
		strings.Contains(err.Error(), secret) {
		t.Errorf("cut off: %v", err)
	}
	e.answer = nil
	if text, _, err := e.get(tools.OAuth2{}, version(1), tenant); err != nil || text == "" {
		t.Errorf("then: %q, %v", text, err)
	}
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// TestATokenEndpointIsDialledThroughTheGuard refuses what the guard does, and whom nobody vouches for.
func TestATokenEndpointIsDialledThroughTheGuard(t *testing.T) {
	e := newEndpoint(t)
	get := func(in *inject.Injector, tokenURL string, guard *dial.Guard) string {
		_, err := in.Apply(t.Context(), &inject.Target{Tenant: tenant, Request: &http.Request{Header: http.Header{}},
			Dial: guard},
			tools.Injection{In: "oauth2", OAuth2: &tools.OAuth2{TokenURL: tokenURL}}, version(1), vault.NewValue(client))
		return reason(err)
	}
	metadata := &dial.Guard{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}}
	if got := get(e.in, "https://metadata.example/token", metadata); got != "upstream.refused" {
		t.Errorf("a metadata service: %s", got)
	}
	if got := get(e.in, e.URL, new(dial.Guard)); got != "upstream.refused" {
		t.Errorf("loopback: %s", got)
	}
	if got := get(e.in, e.URL, nil); got != "upstream.refused" {
		t.Errorf("without a guard: %s", got)
	}
	if got := get(inject.New(), e.URL, nearby()); got != "upstream.token_unreachable" {
		t.Errorf("a certificate of nobody: %s", got)
	}
	if got := get(e.in, strings.Replace(e.URL, "127.0.0.1", "localhost", 1),
		nearby()); got != "upstream.token_unreachable" {
		t.Errorf("a certificate of another name: %s", got)
	}
	if e.count() != 0 {
		t.Errorf("the endpoint was asked %d times", e.count())
	}
	if got := get(e.in, e.URL, nearby()); got != "" || e.count() != 1 {
		t.Errorf("as it should be: %s", got)
	}
	// See TestMain: a proxy of the environment would be asked for this name, but not for an address of this host.
	named := nearby()
	named.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	if got := get(e.in, strings.Replace(e.URL, "127.0.0.1", "example.com", 1), named); got != "" || e.count() != 2 {
		t.Errorf("by name: %s", got)
	}
}

// TestTokensOfManyTenants keeps no more than there are in use.
func TestTokensOfManyTenants(t *testing.T) {
	e := newEndpoint(t)
	e.expires = "10"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"access_token":"0123456789abcdef","token_type":"Bearer","expires_in":10}`)
	}))
	defer server.Close()
	how := tools.OAuth2{TokenURL: server.URL, Params: map[string]string{"x": strings.Repeat("x", 5000)}}
	before := heap()
	for i := range 2500 {
		if _, _, err := e.get(how, version(1), ledger.Tenant(fmt.Sprint("t-", i))); err != nil {
			t.Fatal(err)
		}
		e.later(time.Second)
	}
	if grown := heap() - before; grown > 9<<20 {
		t.Errorf("%d bytes more", grown)
	}
}
