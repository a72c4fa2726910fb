// Package baotest is an OpenBao for tests: a real HTTP server whose answers are those of OpenBao 2.5, for what bursar
// asks of it and what an operator does to set it up. It has namespaces, policies, tokens that expire, JWT and
// Kubernetes login, KV version 2, transit, and it can be sealed. Tests that are written against it run against a real
// server as well: they set everything up over HTTP.
package baotest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an OpenBao in memory, unsealed, with KV version 2 at secret/.
type Server struct {
	URL  string
	CA   []byte // PEM; of a server with TLS
	Root string // a token that may do everything

	mu         sync.Mutex
	sealed     bool
	ahead      time.Duration // of its clock
	namespaces map[string]*namespace
	tokens     map[string]*issued
	intercept  func(http.ResponseWriter, *http.Request) bool
	seen       []Request
}

// Request is a request as it came.
type Request struct {
	Method    string
	URI       string // with the query, not decoded
	Namespace string
	Token     string
}

// namespace is what belongs to one namespace; its path ends in a slash, but for the root's, which is empty.
type namespace struct {
	mounts   map[string]engine // by path, which ends in a slash
	auths    map[string]login
	policies map[string]policy
}

// engine answers what is under a mount.
type engine interface {
	// exists tells a write that creates from one that updates.
	exists(path string) bool
	serve(s *Server, r *request) answer
	kind() string
}

// login answers what is under an auth mount.
type login interface {
	serve(s *Server, r *request) answer
}

// request is a request to an engine, with its path below the mount.
type request struct {
	*http.Request
	namespace string
	path      string
	operation string // read, list, create, update, patch, delete
	body      map[string]any
	holder    *issued // of the token; nil without one
}

// text returns a field of the body.
func (r *request) text(name string) string {
	s, _ := r.body[name].(string)
	return s
}

// answer is what is sent. A status without data and errors has no body.
type answer struct {
	status int
	data   any
	auth   any
	errors []string
	raw    any // instead of the usual envelope
}

func ok(data any) answer { return answer{status: http.StatusOK, data: data} }

func nothing() answer { return answer{status: http.StatusNoContent} }

func refuse(status int, text ...string) answer {
	if text == nil {
		text = []string{}
	}
	return answer{status: status, errors: text}
}

func denied() answer { return refuse(http.StatusForbidden, "permission denied") }

func absent() answer { return refuse(http.StatusNotFound) }

// Start starts a server over plain HTTP, which ends with the test.
func Start(t testing.TB) *Server { return start(t, (*httptest.Server).Start) }

// StartTLS starts a server over HTTPS, whose certificate CA signs.
func StartTLS(t testing.TB) *Server { return start(t, (*httptest.Server).StartTLS) }

func start(t testing.TB, begin func(*httptest.Server)) *Server {
	s := &Server{Root: "s." + random(), namespaces: map[string]*namespace{}, tokens: map[string]*issued{}}
	s.namespaces[""] = newNamespace()
	s.namespaces[""].mounts["secret/"] = newKV()
	s.tokens[s.Root] = &issued{id: s.Root, policies: []string{"root"}}
	mux := http.NewServeMux() // which answers a path that is not clean with a redirection, as OpenBao's does
	mux.HandleFunc("/v1/", s.serve)
	served := httptest.NewUnstartedServer(mux)
	begin(served)
	t.Cleanup(served.Close)
	s.URL = served.URL
	if served.TLS != nil {
		s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate().Raw})
	}
	return s
}

func newNamespace() *namespace {
	return &namespace{mounts: map[string]engine{}, auths: map[string]login{}, policies: map[string]policy{
		"default": {{path: "auth/token/lookup-self", capabilities: []string{"read"}},
			{path: "auth/token/renew-self", capabilities: []string{"update"}},
			{path: "auth/token/revoke-self", capabilities: []string{"update"}}},
	}}
}

// Advance moves the server's clock forward.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// Intercept has f answer requests before the server does; f reports whether it has. nil ends that.
func (s *Server) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Store has the server do what a request asks for, without an answer.
func (s *Server) Store(r *http.Request) { s.handle(httptest.NewRecorder(), r) }

// Seal seals the server, or unseals it.
func (s *Server) Seal(sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
}

// Requests returns all requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// now is the server's time; the lock is held.
func (s *Server) now() time.Time { return time.Now().Add(s.ahead).UTC() }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	space, token := strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"), r.Header.Get("X-Vault-Token")
	s.seen = append(s.seen, Request{r.Method, r.RequestURI, space, token})
	before := s.intercept
	s.mu.Unlock()
	if before == nil || !before(w, r) {
		s.handle(w, r)
	}
}

// handle answers a request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	space, token := strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"), r.Header.Get("X-Vault-Token")
	var body map[string]any
	data, err := io.ReadAll(io.LimitReader(r.Body, 32<<20))
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		write(w, refuse(http.StatusBadRequest, "failed to parse JSON input: "+err.Error()))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	write(w, s.answer(r, space, token, body))
}

// answer answers a request; the lock is held.
func (s *Server) answer(r *http.Request, space, token string, body map[string]any) answer {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if slices.Contains(strings.Split(path, "/"), "..") {
		return refuse(http.StatusBadRequest, "relative paths not supported")
	}
	if path == "sys/health" {
		return s.health()
	}
	if s.sealed {
		return refuse(http.StatusServiceUnavailable, "Vault is sealed")
	}
	space, path = s.locate(space, path)
	q := &request{Request: r, namespace: space, path: path, body: body, operation: operation(r)}
	if q.operation == "" {
		return refuse(http.StatusMethodNotAllowed)
	}
	here, known := s.namespaces[space]
	if !known {
		return refuse(http.StatusNotFound, "namespace not found")
	}
	for at, l := range here.auths { // whoever logs in has no token
		if rest, ok := strings.CutPrefix(path, "auth/"+at); ok && rest == "login" {
			q.path = rest
			return l.serve(s, q)
		}
	}
	if q.holder = s.holder(token); q.holder == nil {
		return denied()
	}
	mount, e := here.mounted(path)
	if q.operation == "update" && e != nil && !e.exists(strings.TrimPrefix(path, mount)) {
		q.operation = "create"
	}
	if !s.allowed(q.holder, space+path, q.operation) {
		return denied()
	}
	switch rest, isAuth := strings.CutPrefix(path, "auth/"); {
	case e != nil:
		q.path = strings.TrimPrefix(path, mount)
		return e.serve(s, q)
	case isAuth:
		return s.auth(q, here, rest)
	case strings.HasPrefix(path, "sys/"):
		return s.system(q, here, strings.TrimPrefix(path, "sys/"))
	}
	return refuse(http.StatusNotFound, "no handler for route \""+path+"\". route entry not found.")
}

// locate returns the namespace that a request is for, whose beginning the header has and whose rest the path may have,
// and the path in it.
func (s *Server) locate(space, path string) (string, string) {
	if space != "" {
		space += "/"
	}
	for {
		first, rest, more := strings.Cut(path, "/")
		if _, deeper := s.namespaces[space+first+"/"]; !more || !deeper {
			return space, path
		}
		space, path = space+first+"/", rest
	}
}

// mounted returns the engine that a path is under; nil if there is none.
func (n *namespace) mounted(path string) (string, engine) {
	for _, at := range slices.Sorted(maps.Keys(n.mounts)) {
		if strings.HasPrefix(path, at) {
			return at, n.mounts[at]
		}
	}
	return "", nil
}

func operation(r *http.Request) string {
	switch {
	case r.Method == "LIST", r.Method == http.MethodGet && r.URL.Query().Get("list") == "true":
		return "list"
	case r.Method == http.MethodGet:
		return "read"
	case r.Method == http.MethodPut, r.Method == http.MethodPost:
		return "update"
	case r.Method == http.MethodPatch:
		return "patch"
	case r.Method == http.MethodDelete:
		return "delete"
	}
	return ""
}

// write sends an answer, in the envelope that all have.
func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Cache-Control", "no-store")
	var body any
	switch {
	case a.raw != nil:
		body = a.raw
	case a.errors != nil:
		body = map[string]any{"errors": a.errors}
	case a.data != nil || a.auth != nil:
		body = map[string]any{"request_id": random(), "lease_id": "", "renewable": false, "lease_duration": 0,
			"data": a.data, "wrap_info": nil, "warnings": nil, "auth": a.auth}
	default:
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(body)
}

func random() string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
