package baotest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

// Bao is an OpenBao that a test sets up and asks over HTTP: a Server, or a real one.
type Bao struct {
	URL   string
	Token string  // may do everything
	Fake  *Server // nil of a real one
}

// Each runs a test against a Server, and against the real OpenBao at BURSAR_TEST_BAO_ADDR if that is set, with the
// token in BURSAR_TEST_BAO_TOKEN, which may do everything. The real one may be a development server; what the test
// makes stays there.
func Each(t *testing.T, run func(t *testing.T, b *Bao)) {
	t.Run("fake", func(t *testing.T) {
		s := Start(t)
		run(t, &Bao{URL: s.URL, Token: s.Root, Fake: s})
	})
	if addr := os.Getenv("BURSAR_TEST_BAO_ADDR"); addr != "" {
		t.Run("real", func(t *testing.T) { run(t, &Bao{URL: addr, Token: os.Getenv("BURSAR_TEST_BAO_TOKEN")}) })
	}
}

// Ask is one request.
type Ask struct {
	Method, Path string // the path follows /v1/, and is sent as it is
	Body         any    // JSON; nil for none
	Namespace    string
	Token        string // the one of Bao if empty; "-" for none
	Type         string // of the body; empty for application/json
}

// Reply is what came back.
type Reply struct {
	Status   int
	Location string
	Body     map[string]any // nil without one
}

// Errors returns the errors of a reply; nil unless the reply has the member.
func (r Reply) Errors() []any {
	errors, _ := r.Body["errors"].([]any)
	return errors
}

// Get returns what is in the body behind some names.
func (r Reply) Get(names ...string) any {
	var at any = r.Body
	for _, name := range names {
		object, _ := at.(map[string]any)
		at = object[name]
	}
	return at
}

// Do asks once, and follows no redirection.
func (b *Bao) Do(t testing.TB, a Ask) Reply {
	t.Helper()
	var body bytes.Buffer
	if a.Body != nil {
		if err := json.NewEncoder(&body).Encode(a.Body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), a.Method, b.URL, &body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "/v1/" + a.Path
	switch a.Token {
	case "":
		req.Header.Set("X-Vault-Token", b.Token)
	case "-":
	default:
		req.Header.Set("X-Vault-Token", a.Token)
	}
	if a.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", a.Namespace)
	}
	if a.Type != "" {
		req.Header.Set("Content-Type", a.Type)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := Reply{Status: resp.StatusCode, Location: resp.Header.Get("Location")}
	if r.Location == "" {
		_ = json.NewDecoder(resp.Body).Decode(&r.Body) // none is none
	}
	return r
}

// Must asks, and fails the test unless the answer is a success.
func (b *Bao) Must(t testing.TB, method, path string, body any) Reply {
	t.Helper()
	return b.MustIn(t, "", method, path, body)
}

// MustIn does so in a namespace.
func (b *Bao) MustIn(t testing.TB, namespace, method, path string, body any) Reply {
	t.Helper()
	r := b.Do(t, Ask{Method: method, Path: path, Body: body, Namespace: namespace})
	if r.Status/100 != 2 {
		t.Fatalf("%s %s: %d %v", method, path, r.Status, r.Errors())
	}
	return r
}

// Mount mounts an engine ("kv-v2", "transit") under a new name, and returns the name.
func (b *Bao) Mount(t testing.TB, kind string) string {
	t.Helper()
	name := "m" + random()
	b.Must(t, http.MethodPost, "sys/mounts/"+name, map[string]any{"type": kind})
	return name
}

// Auth enables an auth method ("jwt", "kubernetes") under a new name, and returns the name.
func (b *Bao) Auth(t testing.TB, kind string) string {
	t.Helper()
	name := "a" + random()
	b.Must(t, http.MethodPost, "sys/auth/"+name, map[string]any{"type": kind})
	return name
}

// Policy writes a policy, in HCL, under a new name, and returns the name.
func (b *Bao) Policy(t testing.TB, text string) string {
	t.Helper()
	name := "p" + random()
	b.Must(t, http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": text})
	return name
}

// Holder makes a token with a policy, in HCL; ttl is such as "1h".
func (b *Bao) Holder(t testing.TB, policy, ttl string) string {
	t.Helper()
	r := b.Must(t, http.MethodPost, "auth/token/create", map[string]any{"policies": []string{b.Policy(t, policy)},
		"ttl": ttl})
	token, _ := r.Get("auth", "client_token").(string)
	return token
}
