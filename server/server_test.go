package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const issuer = servertest.BaseURL + "/t/acme"

// locations are where a tenant's metadata is.
var locations = []string{"/.well-known/oauth-authorization-server/t/acme", "/.well-known/openid-configuration/t/acme",
	"/t/acme/.well-known/openid-configuration"}

func newWorld(t *testing.T) *servertest.World {
	t.Helper()
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	w.Create(servertest.Globex())
	return w
}

// send sends a request whose target is written as it is, as an attacker would.
func send(h http.Handler, method, target string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	path, query, _ := strings.Cut(target, "?")
	u, err := url.ParseRequestURI(path)
	if err != nil { // what net/http itself refuses does not get here
		return &httptest.ResponseRecorder{Code: http.StatusBadRequest, Body: new(bytes.Buffer)}
	}
	u.RawQuery = query
	r.URL, r.RequestURI = u, target
	for _, f := range change {
		f(r)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func document(t *testing.T, h http.Handler, path string) map[string]any {
	t.Helper()
	rec := send(h, "GET", path)
	var all map[string]any
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" ||
		json.Unmarshal(rec.Body.Bytes(), &all) != nil {
		t.Fatalf("%s: answered %d %v %s", path, rec.Code, rec.Header(), rec.Body)
	}
	return all
}

// TestMetadataSaysWhatIsMounted asks every advertised endpoint, in every form of the metadata.
func TestMetadataSaysWhatIsMounted(t *testing.T) {
	w := newWorld(t)
	plain := document(t, w.Server, locations[0])
	for _, location := range locations {
		m := document(t, w.Server, location)
		if m["issuer"] != issuer {
			t.Errorf("%s: the issuer is %v", location, m["issuer"])
		}
		for name, value := range plain {
			if want, got := marshal(t, value), marshal(t, m[name]); got != want {
				t.Errorf("%s: %s is %s, elsewhere %s", location, name, got, want)
			}
		}
		endpoints := 0
		for name, value := range m {
			if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			endpoints++
			path, ours := strings.CutPrefix(value.(string), servertest.BaseURL)
			method := "POST"
			if name == "jwks_uri" || name == "authorization_endpoint" {
				method = "GET"
			}
			if rec := send(w.Server, method, path); !ours || rec.Code == 404 || rec.Code == 405 {
				t.Errorf("%s: %s leads to %v, which answers %d", location, name, value, rec.Code)
			}
		}
		if endpoints != 5 {
			t.Errorf("%s: %d endpoints in %v", location, endpoints, m)
		}
		for name, want := range map[string]string{
			"grant_types_supported": `["urn:ietf:params:oauth:grant-type:token-exchange",` +
				`"client_credentials"]`,
			"response_types_supported":                      `[]`,
			"token_endpoint_auth_methods_supported":         `["private_key_jwt","client_secret_basic","client_secret_post"]`,
			"introspection_endpoint_auth_methods_supported": `["private_key_jwt","client_secret_basic","client_secret_post"]`,
			"revocation_endpoint_auth_methods_supported":    `["private_key_jwt","client_secret_basic","client_secret_post"]`,
		} {
			if got := marshal(t, m[name]); got != want {
				t.Errorf("%s: %s is %s, want %s", location, name, got, want)
			}
		}
		for _, name := range []string{"token", "introspection", "revocation"} {
			algs := marshal(t, m[name+"_endpoint_auth_signing_alg_values_supported"])
			if strings.Contains(algs, "none") || strings.Contains(algs, "HS") || !strings.Contains(algs, "ES256") {
				t.Errorf("%s: assertions may be signed with %s", location, algs)
			}
		}
	}
	if rec := send(w.Server, "GET", "/t/acme/.well-known/oauth-authorization-server"); rec.Code != 404 {
		t.Errorf("the appended place of RFC 8414 answers %d", rec.Code)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// handlerTransport reaches a handler as if it were the internet.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// A widely used verifier finds and accepts the tokens by discovery alone.
func TestOIDCClientsFindTheKeys(t *testing.T) {
	w := newWorld(t)
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: handlerTransport{w.Server}})
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: "https://tools.example/payments"})
	got, err := verifier.Verify(ctx, exchange(t, w))
	if err != nil || got.Subject != "client:ap-bot" {
		t.Errorf("verified %+v: %v", got, err)
	}
}

func exchange(t *testing.T, w *servertest.World) string {
	t.Helper()
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {w.Workload("ap-bot")},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {"payments"}}
	r := httptest.NewRequest("POST", "/t/acme/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.Server.ServeHTTP(rec, r)
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Token == "" {
		t.Fatalf("answered %d %s", rec.Code, rec.Body)
	}
	return body.Token
}

func TestJWKS(t *testing.T) {
	w := newWorld(t)
	first := send(w.Server, "GET", "/t/acme/jwks.json")
	if got := first.Header().Get(server.RevisionHeader); got != "" {
		t.Errorf("it says unasked that it is of revision %s", got)
	}
	first = send(w.Server, "GET", "/t/acme/jwks.json?revision=1")
	tag := first.Header().Get("ETag")
	if first.Code != 200 || first.Header().Get("Cache-Control") != "public, max-age=300" || len(tag) < 10 ||
		first.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("answered %d %v", first.Code, first.Header())
	}
	entry, err := w.Directory.Entry(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	at, err := w.Store.Position(t.Context(), entry.ID)
	if got := first.Header().Get(server.RevisionHeader); err != nil || got != strconv.FormatInt(at.Revision, 10) {
		t.Errorf("it is of revision %s, and the store at %d: %v", got, at.Revision, err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(first.Body.Bytes(), &set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("keys %s: %v", first.Body, err)
	}
	for _, k := range set.Keys {
		if k["kid"] == nil || k["alg"] != "ES256" || k["use"] != "sig" || k["d"] != nil || len(k) != 7 {
			t.Errorf("key %v", k)
		}
	}
	for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		rec := send(w.Server, "GET", "/t/acme/jwks.json", func(r *http.Request) { r.Header.Set("If-None-Match", match) })
		if rec.Code != 304 || rec.Body.Len() != 0 || rec.Header().Get("ETag") != tag ||
			rec.Header().Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("If-None-Match %s: answered %d %v", match, rec.Code, rec.Header())
		}
	}
	other := func(r *http.Request) { r.Header.Set("If-None-Match", `"other"`) }
	if rec := send(w.Server, "GET", "/t/acme/jwks.json", other); rec.Code != 200 {
		t.Errorf("another tag: answered %d", rec.Code)
	}
	if other := send(w.Server, "GET", "/t/globex/jwks.json"); other.Body.String() == first.Body.String() ||
		other.Header().Get("ETag") == tag {
		t.Error("two tenants have one set of keys")
	}
	_, payload, err := token.Canonical(exchange(t, w))
	if err != nil || !strings.Contains(string(payload), issuer) {
		t.Errorf("issued %s: %v", payload, err)
	}
}

// TestNoPathReachesAnotherTenant: what is not written as a tenant's path is nobody's.
func TestNoPathReachesAnotherTenant(t *testing.T) {
	w := newWorld(t)
	want := send(w.Server, "GET", "/nothing").Body.String()
	for _, target := range []string{
		"/t/nobody/jwks.json", "/t/nobody/authorize", "/t//jwks.json", "/t/acme", "/t/acme/", "/t/acme/jwks.json/",
		"/t/ACME/jwks.json", "//t/acme/jwks.json",
		"/t//acme/jwks.json", "/t/acme//jwks.json", "/t/x/../acme/jwks.json", "/t/nobody/../acme/jwks.json",
		"/./t/acme/jwks.json", "/t/./acme/jwks.json",
		"/t/x%2f..%2facme/jwks.json", "/t/acme%2fjwks.json", "/t/acme%2Fjwks.json", "/t/ac%6de/jwks.json",
		"/t/acme%00/jwks.json", "/t/acme%20/jwks.json", "/t/acme./jwks.json",
		"/t/%61cme/jwks.json", "/%74/acme/jwks.json", "/t/acme;x/jwks.json", "/t/acme/jwks%2ejson", "/t/acme/%6awks.json",
		"/t/globex%2f..%2facme/jwks.json", "/t/acme%252fx/jwks.json",
		"/t/acme\\/jwks.json", "/.well-known/openid-configuration/t/nobody", "/.well-known/openid-configuration/t/acme/",
		"/.well-known/openid-configuration/t/x/../acme",
		"/.well-known/openid-configuration//t/acme", "/.well-known/openid-configuration/t/ac%6de",
		"/.well-known/openid-configuration", "/t/nobody/.well-known/openid-configuration",
		"/T/acme/jwks.json", "/acme/jwks.json", "/t/acme/metrics", "/metrics", "/debug/pprof/", "/", "*",
	} {
		rec := send(w.Server, "GET", target)
		if rec.Code == 400 && rec.Body.Len() == 0 {
			continue
		}
		if rec.Code != 404 || rec.Body.String() != want || rec.Header().Get("Location") != "" {
			t.Errorf("%s: answered %d %s", target, rec.Code, rec.Body)
		}
	}
	// Neither a header nor a parameter names the tenant.
	rec := send(w.Server, "GET", "/t/acme/jwks.json?tenant=globex", func(r *http.Request) {
		r.Host = "globex.example"
		for _, h := range []string{
			"X-Tenant", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Uri",
		} {
			r.Header.Set(h, "/t/globex/jwks.json")
		}
	})
	if rec.Body.String() != send(w.Server, "GET", "/t/acme/jwks.json").Body.String() {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	for _, location := range locations {
		doc := send(w.Server, "GET", location, func(r *http.Request) {
			r.Host = "evil.example"
			r.Header.Set("X-Forwarded-Host", "evil.example")
		})
		if strings.Contains(doc.Body.String(), "evil") {
			t.Errorf("%s believes the Host header: %s", location, doc.Body)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for _, target := range append([]string{
		"/t/acme/jwks.json", "/t/acme/token", "/t/acme/introspect", "/t/acme/revoke", "/t/acme/authorize",
		"/healthz", "/readyz", "/nothing"}, locations...) {
		for _, method := range []string{"GET", "POST", "OPTIONS", "HEAD"} {
			rec := send(w.Server, method, target, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
			h := rec.Header()
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" ||
				h.Get("Strict-Transport-Security") == "" || h.Get("Server") != "" {
				t.Errorf("%s %s: headers %v", method, target, h)
			}
			open := slices.Contains(locations, target) || strings.HasSuffix(target, "jwks.json")
			if (h.Get("Access-Control-Allow-Origin") == "*") != open || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: any origin may read it: %v", method, target, h)
			}
			if open && method == "POST" && (rec.Code != 405 || h.Get("Allow") != "GET, HEAD") {
				t.Errorf("%s %s: answered %d", method, target, rec.Code)
			}
		}
	}
	page := send(w.Server, "GET",
		"/t/acme/authorize?response_type=code&redirect_uri=https://evil.example&state=%3Cscript%3E")
	if page.Code != 400 || page.Header().Get("Location") != "" || strings.Contains(page.Body.String(), "evil") ||
		strings.Contains(page.Body.String(), "<script") ||
		!strings.Contains(page.Header().Get("Content-Security-Policy"), "default-src 'none'") ||
		!strings.Contains(page.Header().Get("Content-Type"), "text/html") {
		t.Errorf("answered %d %v", page.Code, page.Header())
	}
}

// Of a store that is not what was signed, no revision is said; everybody else gets the keys as ever.
func TestTheKeysOfAnotherStoreAreOfNoRevision(t *testing.T) {
	w := newWorld(t)
	var asked audit.Origin
	s := server.New(server.Config{BaseURL: servertest.BaseURL, Directory: w.Directory, Exchanger: w.Exchanger,
		Metrics: prometheus.NewRegistry(), Ready: func(context.Context) error { return nil },
		Vouch: func(_ context.Context, o audit.Origin) error { asked = o; return fault.ErrUnavailable }})
	rec := send(s, "GET", "/t/acme/jwks.json?revision=1")
	if rec.Code != 200 || rec.Header().Get(server.RevisionHeader) != "" || asked.Issuer != servertest.BaseURL+"/t/acme" {
		t.Errorf("answered %d %v, asked of %v", rec.Code, rec.Header(), asked)
	}
}

// TestAPanicSaysNothing: neither the answer nor the log holds what a handler panicked with.
func TestAPanicSaysNothing(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	late := false
	registry := prometheus.NewRegistry()
	s := server.New(server.Config{BaseURL: servertest.BaseURL, Directory: w.Directory, Exchanger: w.Exchanger,
		Metrics: registry,
		Ready:   func(context.Context) error { return nil }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Admin: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if late {
				rw.WriteHeader(http.StatusAccepted)
			}
			panic("token " + r.Header.Get("Authorization"))
		})})
	rec := send(s, "GET", "/admin/v1/x", func(r *http.Request) { r.Header.Set("Authorization", "Bearer brs_secret") })
	if rec.Code != 500 || rec.Body.String() != `{"error":"server_error"}` ||
		rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	if text := log.String(); !strings.Contains(text, "server_test.go") || strings.Contains(text, "brs_secret") ||
		strings.Contains(text, "Bearer") {
		t.Errorf("logged %s", text)
	}
	late = true
	if rec := send(s, "GET", "/admin/v1/x"); rec.Code != http.StatusAccepted || rec.Body.Len() != 0 {
		t.Errorf("a panic after the head: answered %d %s", rec.Code, rec.Body)
	}
	if rec := send(s, "GET", "/t/acme/jwks.json"); rec.Code != 200 {
		t.Errorf("after a panic: answered %d", rec.Code)
	}
}

func TestReadinessIsTheStores(t *testing.T) {
	w := newWorld(t)
	cold := w.Start().Server
	if rec := send(w.Server, "GET", "/readyz"); rec.Code != 200 {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	send(w.Server, "GET", "/t/acme/jwks.json")
	for _, op := range []storagetest.Op{storagetest.Position, storagetest.Rows, storagetest.Cutoffs} {
		w.Store.Set(op, storagetest.NotApplied)
	}
	for target, status := range map[string]int{"/readyz": 503, "/healthz": 200, "/t/acme/jwks.json": 200} {
		rec := send(w.Server, "GET", target)
		if rec.Code != status || (status == 503) != (rec.Header().Get("Retry-After") != "") ||
			strings.Contains(rec.Body.String(), "made to fail") {
			t.Errorf("%s: answered %d %v %s", target, rec.Code, rec.Header(), rec.Body)
		}
	}
	// A process that has not read the tenant cannot tell whether there is one.
	rec := send(cold, "GET", "/t/acme/jwks.json")
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "made to fail") {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
}

// TestMetricsNameNobody: the number of label values is bounded, whatever callers send.
func TestMetricsNameNobody(t *testing.T) {
	w := newWorld(t)
	exchange(t, w)
	for _, target := range []string{
		"/t/acme/jwks.json", "/t/nobody/jwks.json", "/t/globex/authorize", "/x-" + strings.Repeat("y", 100), locations[0],
	} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			send(w.Server, method, target)
		}
	}
	for _, body := range []string{"grant_type=x", "x=y", "grant_type=x&client_id=ap-bot&client_secret=z"} {
		send(w.Server, "POST", "/t/acme/token", func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(strings.NewReader(body))
		})
	}
	families, err := w.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, f := range families {
		names = append(names, f.GetName())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains([]string{"endpoint", "outcome", "route", "status"}, l.GetName()) {
					t.Errorf("%s has the label %s", f.GetName(), l.GetName())
				}
				if v := l.GetValue(); strings.Contains(v, "acme") || strings.Contains(v, "bot") || strings.Contains(v, "/") ||
					strings.Contains(v, "yyy") || v == "0" || v == "BREW" {
					t.Errorf("%s has %s %q", f.GetName(), l.GetName(), v)
				}
			}
		}
	}
	if !slices.Contains(names, "bursar_decisions_total") ||
		!slices.Contains(names, "bursar_http_request_duration_seconds") {
		t.Errorf("gathered %q", names)
	}
}
