package attack_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

const (
	grant      = "urn:ietf:params:oauth:grant-type:token-exchange"
	types      = "urn:ietf:params:oauth:token-type:"
	trusted    = "https://issuer.example"
	target     = "https://tools.example/api"
	actorSub   = "agent"
	bodyLimit  = 64 << 10
	tokenLimit = 16 << 10
)

// victim is a small token exchange server that does everything right, but for the defects that it is told to have.
type victim struct {
	URL     string
	issuer  *forge.Key // the trusted issuer's
	own     *forge.Key
	defects map[string]bool

	mu      sync.Mutex
	revoked map[string]bool
	used    map[string]bool
	granted map[string]int // by kind of exchange
	guesses atomic.Int64   // wrong secrets
}

// newVictim serves until the test ends.
func newVictim(t *testing.T, issuer *forge.Key, defects ...string) *victim {
	t.Helper()
	v := &victim{issuer: issuer, own: forge.NewKey("own"), defects: map[string]bool{}, revoked: map[string]bool{},
		used: map[string]bool{}, granted: map[string]int{}}
	for _, d := range defects {
		v.defects[d] = true
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", v.metadata)
	mux.HandleFunc("GET /keys", v.keys)
	mux.HandleFunc("/token", v.token)
	mux.HandleFunc("/elsewhere/token", v.elsewhere)
	mux.HandleFunc("/introspect", v.introspect)
	mux.HandleFunc("/revoke", v.revoke)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	v.URL = s.URL
	return v
}

func (v *victim) has(defect string) bool { return v.defects[defect] }

func (v *victim) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{"issuer": v.URL, "token_endpoint": v.URL + "/token", "jwks_uri": v.URL + "/keys",
		"introspection_endpoint": v.URL + "/introspect", "revocation_endpoint": v.URL + "/revoke",
		"grant_types_supported": []string{grant}}
	if v.has("introspects without TLS") {
		m["introspection_endpoint"] = "http://sts.example/introspect"
	}
	if v.has("another issuer") {
		m["issuer"] = "https://other.example"
	}
	if v.has("offers none") {
		m["token_endpoint_auth_signing_alg_values_supported"] = []string{"ES256", "none"}
	}
	if v.has("no grant in metadata") {
		delete(m, "grant_types_supported")
	}
	_ = json.NewEncoder(w).Encode(m)
}

func (v *victim) keys(w http.ResponseWriter, _ *http.Request) {
	keys := []any{v.own.Public().JWK()}
	if v.has("a shared key published") {
		keys = append(keys, map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"})
	}
	if v.has("a short key published") {
		keys = append(keys, map[string]any{"kty": "RSA", "n": strings.Repeat("q", 171), "e": "AQAB", "kid": "short"})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}

// refusal is an error as it is answered.
type refusal struct {
	status int
	code   string
}

func (r refusal) Error() string { return r.code }

var (
	badRequest = refusal{400, "invalid_request"}
	badClient  = refusal{401, "invalid_client"}
	badTarget  = refusal{400, "invalid_target"}
	badScope   = refusal{400, "invalid_scope"}
)

func (v *victim) answer(w http.ResponseWriter, body map[string]any, err error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if !v.has("answers may be stored") {
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
	}
	r := refusal{200, ""}
	if errors.As(err, &r) {
		body = map[string]any{"error": r.code}
		if v.has("wrong codes") && r.code == "invalid_request" {
			body["error"] = "invalid_grant"
		}
		if v.has("refuses in HTML") && r.status == 400 {
			h.Set("Content-Type", "text/html")
			w.WriteHeader(400)
			_, _ = io.WriteString(w, "<h1>Bad Request</h1>")
			return
		}
		if v.has("quotes in descriptions") {
			body["error_description"] = `a "bad" request`
		}
		if r.status == 401 && !v.has("no challenge") {
			h.Set("WWW-Authenticate", "Basic")
		}
		if r.status == 405 {
			h.Set("Allow", "POST")
		}
		if v.has("breaks down") && r.code == "invalid_target" {
			r.status = 500
		}
	}
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(body)
}

// form reads a form strictly.
func (v *victim) form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method == http.MethodOptions {
		if v.has("any origin") {
			w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		return nil, refusal{204, ""}
	}
	if r.Method == http.MethodGet && v.has("takes GET") || v.has("reads the query") && r.URL.RawQuery != "" {
		_ = r.ParseForm()
		return r.Form, nil
	}
	if r.Method != http.MethodPost && !v.has("takes any method") {
		return nil, refusal{405, "invalid_request"}
	}
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "multipart/form-data" && v.has("takes multipart") {
		_ = r.ParseMultipartForm(1 << 20)
		return r.PostForm, nil
	}
	limit := int64(bodyLimit)
	if v.has("takes large bodies") {
		limit = 8 << 20
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, refusal{413, "invalid_request"}
	}
	charset := params["charset"]
	if v.has("takes any type") && media != "application/json" && media != "multipart/form-data" {
		media = "application/x-www-form-urlencoded"
	}
	if v.has("knows no charset") && charset != "" {
		return nil, badRequest
	}
	if members := map[string]string{}; media == "application/json" && v.has("takes JSON") {
		form := url.Values{}
		_ = json.Unmarshal(body, &members)
		for name, value := range members {
			form.Set(name, value)
		}
		return form, nil
	}
	if r.URL.RawQuery != "" || media != "application/x-www-form-urlencoded" ||
		charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, badRequest
	}
	form, err := url.ParseQuery(string(body))
	if err != nil && !v.has("repairs forms") || len(form) > 1000 && !v.has("takes many parameters") {
		return nil, badRequest
	}
	if form.Has("x_note") && v.has("knows no x_note") {
		return nil, badRequest
	}
	for name, values := range form {
		many := name == "resource" || name == "audience"
		if !many && len(values) > 1 && !v.has("takes duplicates") || len(name) > 128 && !v.has("takes many parameters") ||
			!legible(values) && !v.has("repairs forms") {
			return nil, badRequest
		}
		if !v.has("empty is a value") {
			form[name] = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		}
		if len(form[name]) == 0 {
			delete(form, name)
		}
	}
	return form, nil
}

func legible(values []string) bool {
	return !slices.ContainsFunc(values, func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\uFFFD' })
	})
}

// secrets of the clients; reader may introspect everything, other its own, as a client may.
var secrets = map[string]string{"client": "right-secret-0", "other": "other-secret-0", "reader": "reader-secret-0"}

func (v *victim) client(r *http.Request, form url.Values) (string, error) {
	id, secret, ok := r.BasicAuth()
	switch {
	case form.Has("client_secret") && !(v.has("takes two methods") && ok) && !v.has("takes the secret in the form"):
		if !ok {
			return "", badClient
		}
		return "", badRequest
	case form.Has("client_assertion") && !ok:
		return v.asserted(form)
	case form.Has("client_assertion") && !v.has("ignores assertions"), form.Has("client_assertion_type") && !ok:
		return "", badClient
	case !ok && v.has("believes headers") && r.Header.Get("Client-Cert") != "":
		return form.Get("client_id"), nil
	case v.has("forgets who is disabled") && id == "disabled", v.has("one list of clients") && id == "foreign":
		return "client", nil
	case !ok && v.has("takes no credentials") && r.Header.Get("Authorization") == "":
		return "client", nil
	case !ok && v.has("takes the secret in the form") && form.Has("client_secret"):
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	if secrets[id] == "" && v.has("knows no unknown client") {
		return "client", nil
	}
	if secrets[id] == "" || secrets[id] != secret && !v.has("takes any secret") {
		if v.has("limits guesses") && v.guesses.Add(1) > 3 {
			return "", refusal{429, "slow_down"}
		}
		if v.has("tells clients apart") && secrets[id] == "" {
			return "", refusal{401, "unauthorized_client"}
		}
		return "", badClient
	}
	if form.Has("client_id") && form.Get("client_id") != id && !v.has("takes any client_id") {
		return "", badClient
	}
	return id, nil
}

func (v *victim) token(w http.ResponseWriter, r *http.Request) {
	form, err := v.form(w, r)
	if err == nil {
		var id string
		if id, err = v.client(r, form); err == nil {
			var body map[string]any
			if id == "reader" && !v.has("every client exchanges") {
				err = refusal{400, "unauthorized_client"}
			} else if body, err = v.exchange(r, id, form); err == nil {
				v.answer(w, body, nil)
				return
			}
		}
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if v.has("repeats tokens") {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(400)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request",
			"error_description": "bad: " + form.Get("subject_token")})
		return
	}
	v.answer(w, nil, err)
}

// question reads a request about one of the server's tokens; claims are nil for whatever is none.
func (v *victim) question(w http.ResponseWriter, r *http.Request, anybody bool) (string, map[string]any, error) {
	form, err := v.form(w, r)
	if err != nil {
		return "", nil, err
	}
	id, err := v.client(r, form)
	if err != nil && !anybody {
		return "", nil, err
	}
	if !form.Has("token") {
		return "", nil, badRequest
	}
	t, err := v.parse(form.Get("token"))
	if err != nil || !v.signed(t, form.Get("token"), v.own) && !v.has("introspects anything") {
		return id, nil, nil
	}
	if form.Get("token_type_hint") == "refresh_token" && v.has("believes hints") {
		return id, nil, nil
	}
	return id, t.Claims(), nil
}

func (v *victim) introspect(w http.ResponseWriter, r *http.Request) {
	id, claims, err := v.question(w, r, v.has("tells strangers"))
	if err != nil {
		v.answer(w, nil, err)
		return
	}
	mine := id == "reader" || claims["client_id"] == id || v.has("tells every client") || v.has("tells strangers") &&
		id == ""
	if claims == nil || !mine || v.gone(claims) && !v.has("forgets revocations") {
		body := map[string]any{"active": false}
		if v.has("says why inactive") {
			body["reason"] = "unknown"
		}
		v.answer(w, body, nil)
		return
	}
	claims["active"] = true
	if v.has("tells another scope") {
		claims["scope"] = "admin"
	}
	if v.has("hides the actor") {
		delete(claims, "act")
	}
	v.answer(w, claims, nil)
}

func (v *victim) revoke(w http.ResponseWriter, r *http.Request) {
	id, claims, err := v.question(w, r, v.has("revokes for strangers"))
	switch {
	case err != nil:
		v.answer(w, nil, err)
		return
	case claims == nil:
		if v.has("unknown tokens are errors") {
			v.answer(w, nil, badRequest)
		}
		return
	case id != claims["client_id"] && id != "reader" && !v.has("revokes for anyone") && !v.has("revokes for strangers"):
		v.answer(w, nil, refusal{400, "invalid_grant"})
		return
	}
	jti, _ := claims["jti"].(string)
	v.mu.Lock()
	v.revoked[jti] = true
	v.mu.Unlock()
}
