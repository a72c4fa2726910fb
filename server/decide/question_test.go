package decide_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/shim"
)

const (
	shimURL  = "https://sts.example/shim"
	resource = shimURL + "/t/acme/payments"
)

// listener is a shim that tells what it is asked, and refuses all.
type listener struct {
	*shim.Shim
	asked []shim.Call
	err   error // what it refuses with
}

func (l *listener) Authorize(_ context.Context, c shim.Call) (*shim.Grant, error) {
	l.asked = append(l.asked, c)
	return nil, l.err
}

func newListener(t *testing.T) *listener {
	t.Helper()
	s, err := shim.New(shim.Config{URL: shimURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &listener{Shim: s, err: fault.New(fault.Unauthenticated, "token.none", "")}
}

// send sends the bytes of a request, as a server reads them from a connection.
func send(t *testing.T, h http.Handler, lines ...string) *http.Response {
	t.Helper()
	text := strings.Join(lines, "\r\n") + "\r\nHost: bursar\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// The lines of questions as the proxies write them.
const (
	ask      = "GET /v1/decide HTTP/1.1"
	tool     = "X-Bursar-Resource: " + resource
	bearer   = "Authorization: Bearer abc.def-~+/=="
	method   = "X-Original-Method: GET"
	uri      = "X-Original-URI: /v1/refunds/7?fields=a%20b"
	caddyM   = "X-Forwarded-Method: GET"
	caddyURI = "X-Forwarded-Uri: /v1/refunds/7?fields=a%20b"
)

func TestThreeWaysToAskTheSame(t *testing.T) {
	want := shim.Call{Slug: "acme", Tool: "payments", Token: "abc.def-~+/==", Method: "GET", Path: "/v1/refunds/7",
		Query: "fields=a%20b", IP: netip.MustParseAddr("203.0.113.7"), Mode: audit.UseDecision}
	from := "X-Forwarded-For: 10.0.0.1, 203.0.113.7"
	for name, lines := range map[string][]string{
		"nginx":                    {ask, tool, bearer, method, uri, from},
		"Caddy":                    {ask, tool, bearer, caddyM, caddyURI, from},
		"Caddy, the call's query":  {"GET /v1/decide?fields=a%20b HTTP/1.1", tool, bearer, caddyM, caddyURI, from},
		"Traefik":                  {"GET /v1/decide-own HTTP/1.1", tool, bearer, caddyM, caddyURI, from},
		"Envoy":                    {"GET /v1/decide/v1/refunds/7?fields=a%20b HTTP/1.1", tool, bearer, from},
		"the scheme in lower case": {ask, tool, strings.Replace(bearer, "Bearer", "bearer ", 1), method, uri, from},
	} {
		l := newListener(t)
		answer := send(t, decide.New(shimURL, l, quiet), lines...)
		if answer.StatusCode != http.StatusUnauthorized || len(l.asked) != 1 || l.asked[0] != want {
			t.Errorf("%s: status %d, asked for %+v", name, answer.StatusCode, l.asked)
		}
	}
}

func TestTheBytesOfACallAreJudgedAsTheyAre(t *testing.T) {
	for _, target := range []string{"/v1/../admin", "/v1/%2e%2e/admin", "/v1/..;/admin", "/v1//a", "/v1/%252e%252e/a",
		"/v1/a%0d%0aX:1", "/v1/a\\b", "/", "//admin", "/v1/\xc0\xae", "/v1/a?b=%zz&b=2;c"} {
		path, query, _ := strings.Cut(target, "?")
		for dialect, lines := range map[string][]string{
			"nginx": {ask, tool, bearer, method, "X-Original-URI: " + target},
			"Caddy": {ask, tool, bearer, caddyM, "X-Forwarded-Uri: " + target},
		} {
			l := newListener(t)
			send(t, decide.New(shimURL, l, quiet), lines...)
			if len(l.asked) != 1 || l.asked[0].Path != path || l.asked[0].Query != query {
				t.Errorf("%s: %q is judged as %+v", dialect, target, l.asked)
			}
		}
	}
}

func TestWhatCanBeReadInTwoWaysIsNotAsked(t *testing.T) {
	for name, lines := range map[string][]string{
		"no tool":                {ask, bearer, method, uri},
		"an empty tool":          {ask, "X-Bursar-Resource: ", bearer, method, uri},
		"two tools":              {ask, tool, tool, bearer, method, uri},
		"a tool elsewhere":       {ask, "X-Bursar-Resource: https://evil.example/shim/t/acme/payments", bearer, method, uri},
		"the shim, and no tool":  {ask, "X-Bursar-Resource: " + shimURL, bearer, method, uri},
		"a tenant, and no tool":  {ask, "X-Bursar-Resource: " + shimURL + "/t/acme", bearer, method, uri},
		"more than a tool":       {ask, tool + "/v1", bearer, method, uri},
		"a tool with a slash":    {ask, tool + "/", bearer, method, uri},
		"a tenant of dots":       {ask, "X-Bursar-Resource: " + shimURL + "/t/../payments", bearer, method, uri},
		"nothing said":           {ask, tool, bearer},
		"both dialects":          {ask, tool, bearer, method, uri, caddyM, caddyURI},
		"half of another":        {ask, tool, bearer, method, uri, caddyURI},
		"half of one":            {ask, tool, bearer, uri},
		"the other half":         {ask, tool, bearer, caddyM},
		"two methods":            {ask, tool, bearer, method, "X-Original-Method: POST", uri},
		"two URIs":               {ask, tool, bearer, method, uri, uri},
		"Envoy and nginx":        {"GET /v1/decide/v1/refunds/7 HTTP/1.1", tool, bearer, method, uri},
		"Envoy and Caddy's half": {"GET /v1/decide/v1/refunds/7 HTTP/1.1", tool, bearer, caddyURI},
		"Traefik without a call": {"GET /v1/decide-own HTTP/1.1", tool, bearer},
		"another path":           {"GET /v1/decided HTTP/1.1", tool, bearer, method, uri},
		"the root":               {"GET / HTTP/1.1", tool, bearer, method, uri},
		"a path that is not one": {"GET /v1/./decide HTTP/1.1", tool, bearer, method, uri},
		"a whole URL":            {"GET http://bursar/v1/decide HTTP/1.1", tool, bearer, method, uri},
		"a URL as the call":      {ask, tool, bearer, method, "X-Original-URI: http://evil.example/v1/refunds/7"},
		"an asterisk":            {ask, tool, bearer, "X-Original-Method: OPTIONS", "X-Original-URI: *"},
		"an authority":           {ask, tool, bearer, "X-Original-Method: CONNECT", "X-Original-URI: evil.example:443"},
		"CONNECT":                {"CONNECT evil.example:443 HTTP/1.1", tool, bearer},
		"two tokens":             {ask, tool, bearer, bearer, method, uri},
		"two tokens in one":      {ask, tool, bearer + ", Bearer other", method, uri},
		"an underscore":          {ask, tool, bearer, method, uri, "X_Original_URI: /admin"},
		"a dot":                  {ask, tool, bearer, method, uri, "X.Forwarded.For: 1.2.3.4"},
		"another method":         {ask, tool, bearer, method, uri, "X-HTTP-Method-Override: DELETE"},
		"another method still":   {ask, tool, bearer, method, uri, "x-method-override: DELETE"},
		"another URL":            {ask, tool, bearer, method, uri, "X-Rewrite-URL: /admin"},
		"a forged answer":        {ask, tool, bearer, method, uri, "X-Bursar-Inject-X-Api-Key: mine"},
		"another protocol":       {ask, tool, bearer, method, uri, "Connection: Upgrade", "Upgrade: h2c"},
		"a WebSocket":            {ask, tool, bearer, method, uri, "Connection: Upgrade", "Upgrade: websocket"},
		"too much":               append([]string{ask, tool, bearer, method, uri}, slices.Repeat([]string{"A: b"}, 100)...),
	} {
		l := newListener(t)
		answer := send(t, decide.New(shimURL, l, quiet), lines...)
		if answer.StatusCode != http.StatusForbidden || len(l.asked) > 0 {
			t.Errorf("%s: status %d, asked for %+v", name, answer.StatusCode, l.asked)
		}
		if code := answer.Header.Get(shim.ErrorHeader); code != "malformed_request" {
			t.Errorf("%s: the code is %q", name, code)
		}
	}
}

func TestTheZeroResourcesFindNothing(t *testing.T) {
	for _, text := range []string{"", "acme/payments", "/t/acme/payments", resource} {
		if c, err := (decide.Resources{}).Find(text); err == nil {
			t.Errorf("%q is %+v", text, c)
		}
	}
}

func TestNoTokenIsASchemeOfItsOwn(t *testing.T) {
	for _, value := range []string{"", "Basic YTpi", "DPoP abc", "abc", "Bearerabc"} {
		if token, err := decide.Bearer(http.Header{"Authorization": {value}}); token != "" || err != nil {
			t.Errorf("%q is the token %q, %v", value, token, err)
		}
	}
}

func TestOnly200And401And403AreAnswered(t *testing.T) {
	for _, kind := range fault.Kinds() {
		l := newListener(t)
		l.err = fault.New(kind, "some.reason", "Some sentence.")
		h := decide.New(shimURL, l, quiet)
		answer := send(t, h, ask, tool, bearer, method, uri)
		body, _ := io.ReadAll(answer.Body)
		want := http.StatusForbidden
		if kind == fault.Unauthenticated || kind == fault.NotFound {
			want = http.StatusUnauthorized
			if !strings.Contains(answer.Header.Get("Www-Authenticate"), `resource_metadata="`) {
				t.Errorf("%s: there is no challenge: %v", kind, answer.Header)
			}
		}
		if answer.StatusCode != want || answer.Header.Get(shim.ErrorHeader) == "" ||
			answer.Header.Get("Cache-Control") != "no-store" ||
			answer.Header.Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(string(body), `"status":`+strconv.Itoa(want)) {
			t.Errorf("%s: %d %v %s", kind, answer.StatusCode, answer.Header, body)
		}
		if s := h.Stats(); s.Allowed != 0 || s.Refused+s.Unauthenticated != 1 {
			t.Errorf("%s: counted as %+v", kind, s)
		}
	}
}
