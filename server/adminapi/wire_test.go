package adminapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/adminapi"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// send makes a request as it stands, with the platform's token unless the header has another.
func (w *world) send(t *testing.T, method, path, body string, header ...string) (*http.Response, *operator.Problem) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := new(operator.Problem)
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(text, p); err != nil {
			t.Fatal(err)
		}
	}
	return resp, p
}

func TestRequestsAreReadStrictly(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	const js, yaml = "application/json", "application/yaml"
	operators, revoke, apply := "/admin/v1/t/acme/operators", "/admin/v1/t/acme/revoke", "/admin/v1/t/acme"
	for name, row := range map[string]struct {
		method, path, media, body string
		status                    int
		problem                   string
	}{
		"an unknown member": {"POST", revoke, js, `{"kind":"tenant","vaule":"x"}`, 422,
			"vaule: is not a known member"},
		"a member in another case": {"POST", revoke, js, `{"Kind":"tenant"}`, 422, "Kind: is not a known member"},
		"a member twice":           {"POST", revoke, js, `{"kind":"jti","kind":"tenant"}`, 422, "kind: is given twice"},
		"what is no jti": {"POST", revoke, js, `{"kind":"jti","value":"xyz"}`, 422,
			"value: cannot be the id of a token or a run: those have 36 characters, digits and the letters a to v"},
		"a member of another type": {"POST", revoke, js, `{"kind":7}`, 422, "kind: must be a string"},
		"a missing member":         {"POST", operators, js, `{"role":"admin"}`, 422, "ttl: is required"},
		"a null member":            {"POST", operators, js, `{"role":null,"ttl":"1h"}`, 422, "role: is required"},
		"a member with a script": {"POST", revoke, js, `{"kind":"tenant","<script>":1}`, 422,
			"(a member with an odd name): is not a known member"},
		"a list":                     {"POST", revoke, js, `[]`, 400, ""},
		"nothing":                    {"POST", revoke, js, ``, 400, ""},
		"half an object":             {"POST", revoke, js, `{"kind":"tenant"`, 400, ""},
		"two objects":                {"POST", revoke, js, `{"kind":"tenant"}{}`, 400, ""},
		"a form":                     {"POST", revoke, "application/x-www-form-urlencoded", `kind=tenant`, 400, ""},
		"no media type":              {"POST", revoke, "", `{"kind":"tenant"}`, 400, ""},
		"a body where there is none": {"POST", "/admin/v1/t/acme/clients/bot/secrets", js, `{}`, 400, ""},
		"a large body":               {"POST", revoke, js, `{"kind":"` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
		"a large body where none goes": {"POST", "/admin/v1/t/acme/clients/bot/secrets", js, strings.Repeat("x", 1<<17), 400,
			""},
		"a large tenant file":         {"PUT", apply, yaml, strings.Repeat("#", 1<<20+1), 413, ""},
		"a misspelt dry run":          {"PUT", apply + "?dryrun=true", yaml, file, 400, ""},
		"a dry run that is not said":  {"PUT", apply + "?dry_run=1", yaml, file, 400, ""},
		"a dry run that is not so":    {"PUT", apply + "?dry_run=true&dry_run=false", yaml, file, 400, ""},
		"a revision that is none":     {"PUT", apply + "?revision=0", yaml, file, 400, ""},
		"a query that cannot be read": {"PUT", apply + "?dry_run=%zz", yaml, file, 400, ""},
		"a page that is too large":    {"GET", apply + "/events?limit=1001", "", "", 400, ""},
		"a page of nothing":           {"GET", apply + "/events?limit=0", "", "", 400, ""},
		"a wait that is too long":     {"GET", apply + "/events?wait=31", "", "", 400, ""},
		"a wait that is no number":    {"GET", apply + "/events?wait=1s", "", "", 400, ""},
		"an unknown parameter":        {"GET", "/admin/v1/tenants?page=2", "", "", 400, ""},
		"a file that is JSON":         {"PUT", apply, js, `{"apiVersion":"bursar/v1","tenant":"acme"}`, 200, ""},
		"a parameter of a media type": {"PUT", apply, "application/json; charset=utf-8",
			`{"apiVersion":"bursar/v1","tenant":"acme"}`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, p := w.send(t, row.method, row.path, row.body, "Content-Type", row.media)
			if resp.StatusCode != row.status {
				t.Fatalf("answered %d %+v", resp.StatusCode, p)
			}
			if row.problem != "" && !slices.Contains(p.Problems, row.problem) {
				t.Errorf("problems %q", p.Problems)
			}
		})
	}
	if all := ok[[]operator.Cutoff](t)(w.Cutoffs(t.Context(), "acme")); len(all) != 0 {
		t.Errorf("something was revoked: %+v", all)
	}
}

func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	for path, status := range map[string]int{
		"/admin/v1":                                   404,
		"/admin/v1/":                                  404,
		"/admin/v1/tenants/":                          404,
		"/admin/v1//tenants":                          404,
		"/admin/v1/t/../tenants":                      404,
		"/admin/v1/t/acme/%2e%2e/%2e%2e/tenants":      404,
		"/admin/v1/t/acme%2Fkeys":                     404,
		"/admin/v1/t/acme/operators/x":                405,
		"/admin/v1/t/acme/client":                     404,
		"/admin/v1/t/acme/operator/x":                 404,
		"/admin/v1/t/acme/clients/bot/secrets/x":      405,
		"/admin/v1/t/acme/clients/bot%2Fsecrets":      404,
		"/admin/v2/tenants":                           404,
		"/":                                           404,
		"/admin/v1/t/acme/clients/..%2f..%2fpolicies": 404,
		"/admin/v1/t/acme/clients/bot":                200,
		"/admin/v1/t/acme/revoke":                     405,
	} {
		resp, p := w.send(t, http.MethodGet, path, "")
		if resp.StatusCode != status || status >= 400 && p.Type == "" {
			t.Errorf("%s is answered %d %+v", path, resp.StatusCode, p)
		}
		if (status == 405) != (resp.Header.Get("Allow") != "") {
			t.Errorf("%s is answered with Allow: %q", path, resp.Header.Get("Allow"))
		}
	}
	if resp, _ := w.send(t, http.MethodHead, "/admin/v1/tenants", ""); resp.StatusCode != 200 {
		t.Errorf("HEAD is answered %d", resp.StatusCode)
	}
	if resp, _ := w.send(t, http.MethodDelete, "/admin/v1/t/acme", ""); resp.StatusCode != 405 ||
		resp.Header.Get("Allow") != "GET, HEAD, PUT" {
		t.Errorf("DELETE is answered %d, Allow: %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

func TestOnlyACreationIs201(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct {
		query  string
		status int
	}{{"?dry_run=true", 200}, {"?dry_run=false", 201}, {"", 200}, {"?dry_run=true", 200}} {
		resp, p := w.send(t, http.MethodPut, "/admin/v1/t/acme"+step.query, file, "Content-Type", "application/yaml")
		if resp.StatusCode != step.status {
			t.Errorf("%q is answered %d %+v", step.query, resp.StatusCode, p)
		}
	}
}

func TestOnlyABearerTokenOpens(t *testing.T) {
	w := newWorld(t)
	for name, value := range map[string]string{
		"nothing": "", "Basic": "Basic " + w.Token, "no scheme": w.Token, "a token of nobody": "Bearer " + admin.NewToken(""),
		"a scheme alone": "Bearer", "two tokens": "Bearer " + w.Token + " " + w.Token,
		"a list": "Bearer " + w.Token + ", Bearer x",
	} {
		resp, p := w.send(t, http.MethodGet, "/admin/v1/tenants?access_token="+w.Token, "", "Authorization", value)
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != 401 || p.Code() != operator.CodeUnauthenticated || !strings.HasPrefix(challenge, "Bearer ") {
			t.Errorf("%s is answered %d, %q", name, resp.StatusCode, challenge)
		}
		if presented := strings.HasPrefix(value, "Bearer "); presented != strings.Contains(challenge,
			`error="invalid_token"`) {
			t.Errorf("%s is challenged with %q", name, challenge)
		}
	}
	req := httptest.NewRequest(http.MethodGet, "/admin/v1/tenants", nil)
	req.Header["Authorization"] = []string{"Bearer " + w.Token, "Bearer " + w.Token}
	rec := httptest.NewRecorder()
	w.watch.ServeHTTP(rec, req)
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("two headers are answered %d", rec.Code)
	}
	for _, scheme := range []string{"bearer ", "BEARER ", "Bearer   "} {
		if resp, _ := w.send(t, http.MethodGet, "/admin/v1/tenants", "", "Authorization",
			scheme+w.Token); resp.StatusCode != 200 {
			t.Errorf("%q is answered %d", scheme, resp.StatusCode)
		}
	}
}

func TestAStoreThatIsAwayIs503(t *testing.T) {
	w := newWorld(t)
	ok[*operator.Applied](t)(w.Apply(t.Context(), "acme", []byte(file), operator.ApplyOptions{}))
	w.store.Set(storagetest.Position, storagetest.NotApplied)
	for _, path := range []string{"/admin/v1/t/acme", "/admin/v1/platform/events"} {
		resp, p := w.send(t, http.MethodGet, path, "")
		if resp.StatusCode != 503 || p.Code() != operator.CodeUnavailable || resp.Header.Get("Retry-After") == "" ||
			strings.Contains(p.Detail, "test") {
			t.Errorf("%s is answered %d %+v", path, resp.StatusCode, p)
		}
	}
}

// TestAPanicTellsNothing serves without a service, so that every handler panics.
func TestAPanicTellsNothing(t *testing.T) {
	var log strings.Builder
	api := adminapi.New(adminapi.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r := httptest.NewRecorder()
	api.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/admin/v1/tenants", nil))
	const want = `{"type":"urn:bursar:problem:internal","title":"internal","status":500,"detail":"Internal error."}`
	if r.Code != 500 || r.Body.String() != want {
		t.Errorf("answered %d %s", r.Code, r.Body)
	}
	if !strings.Contains(log.String(), "adminapi") {
		t.Error("the place of the panic is not logged")
	}
	r = httptest.NewRecorder()
	new(adminapi.API).ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/admin/v1/tenants", nil))
	if r.Code != 404 {
		t.Errorf("the zero API answers %d", r.Code)
	}
}

// FuzzDecode compares the strict reading with encoding/json's: what is accepted must mean the same there.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"role":"admin","ttl":"1h"}`, `{"role":"a","role":"b","ttl":""}`, `{}`,
		`{"ROLE":"admin","ttl":"1h"}`,
		`{"role":"\ud800","ttl":"1h"} `, `{"role":"a","ttl":"1h"}x`, `[{"role":"a"}]`, "\ufeff{}",
		`{"role":{"a":[]},"ttl":1e9}`, `{"":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := adminapi.Decode(body)
		if err != nil {
			if k := fault.As(err).Kind; k != fault.Invalid && k != fault.InvalidRequest {
				t.Errorf("refused as %v", k)
			}
			return
		}
		var want operator.OperatorRequest
		if err := json.Unmarshal(body, &want); err != nil || got != want {
			t.Errorf("%q is %+v, encoding/json says %+v, %v", body, got, want, err)
		}
	})
}
