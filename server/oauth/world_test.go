package oauth_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
)

const (
	form  = "application/x-www-form-urlencoded"
	grant = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwt   = "urn:ietf:params:oauth:token-type:jwt"
)

// site is a world behind a listener.
type site struct {
	*servertest.World
	t   testing.TB
	url string
}

func newSite(t *testing.T, o servertest.Options) *site {
	t.Helper()
	w := servertest.New(t, o)
	w.Create(servertest.Acme())
	s := httptest.NewServer(w.Server)
	t.Cleanup(s.Close)
	return &site{w, t, s.URL}
}

// usual are the parameters of an exchange that is allowed.
func (s *site) usual() url.Values {
	return url.Values{"grant_type": {grant}, "subject_token": {s.Workload("ap-bot")}, "subject_token_type": {jwt},
		"audience": {"payments"}}
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
	closes bool // the connection
}

func (a answer) code() string         { return a.text("error") }
func (a answer) text(n string) string { s, _ := a.json[n].(string); return s }

func (s *site) do(method, path, contentType string, body io.Reader, change ...func(*http.Request)) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for _, f := range change {
		f(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(text), closes: res.Close}
	_ = json.Unmarshal(text, &a.json) // checked by those who need it
	return a
}

// post sends a form to an endpoint of acme.
func (s *site) post(endpoint string, values url.Values, change ...func(*http.Request)) answer {
	s.t.Helper()
	return s.do(http.MethodPost, "/t/acme/"+endpoint, form, strings.NewReader(values.Encode()), change...)
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// refusal fails the test unless the answer is an error as every error must be.
func refusal(t testing.TB, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("answered %d %s, want %d %s", a.status, a.body, status, code)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" ||
		a.header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v", a.header)
	}
	if (a.header.Get("WWW-Authenticate") != "") != (status == 401) ||
		(a.header.Get("Retry-After") != "") != (status == 503 || status == 429) {
		t.Errorf("a %d with headers %v", status, a.header)
	}
	for name := range maps.Keys(a.json) {
		if name != "error" && name != "error_description" && name != "decision_id" {
			t.Errorf("the error holds %s", name)
		}
	}
	for _, r := range a.text("error_description") {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			t.Errorf("error_description holds %q", r)
		}
	}
	if strings.Contains(a.body, "eyJ") || strings.Contains(a.body, "brs_") {
		t.Errorf("the error holds a token: %s", a.body)
	}
}

// with returns the values with changes: pairs of a name and a value, which is removed if empty.
func with(v url.Values, changes ...string) url.Values {
	v = maps.Clone(v)
	for i := 0; i < len(changes); i += 2 {
		v.Del(changes[i])
		if changes[i+1] != "" {
			v.Set(changes[i], changes[i+1])
		}
	}
	return v
}
