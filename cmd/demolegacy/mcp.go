package demolegacy

import (
	"crypto/rand"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// protocols are the revisions of MCP that the server speaks, the preferred one first.
var protocols = []string{"2025-06-18", "2025-03-26"}

// MCP is a server of the Model Context Protocol over streamable HTTP (revision 2025-06-18), with the tickets of a help
// desk for tools. It wants its key as a bearer token, as many hosted ones do. Its endpoint is its root.
//
//	POST   /   one JSON-RPC message; a call of a tool is answered with server-sent events, anything else with JSON
//	DELETE /   ends the session of Mcp-Session-Id
//
// and /keys, see Keys. It sends nothing that was not asked for, so there is no GET. It is safe for concurrent use.
type MCP struct {
	Keys Keys

	every time.Duration
	mux   *http.ServeMux

	mu       sync.Mutex // guards sessions
	sessions map[string]bool
}

// maxSessions bounds the memory that sessions take; the demonstration has one.
const maxSessions = 1000

// NewMCP returns the server, which has no key yet.
func NewMCP(c Config) *MCP {
	m := &MCP{every: c.every(), mux: http.NewServeMux(), sessions: map[string]bool{}}
	m.Keys.mount(m.mux)
	m.mux.HandleFunc("POST /{$}", m.withKey(m.post))
	m.mux.HandleFunc("DELETE /{$}", m.withKey(m.end))
	return m
}

// ServeHTTP serves the endpoint.
func (m *MCP) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.mux.ServeHTTP(w, r) }

// withKey lets a call through that comes with a key. A browser is refused, whose user did not mean to call (as the
// transport's section on security asks).
func (m *MCP) withKey(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ok {
			_, ok = m.Keys.use(secret)
		}
		switch {
		case !ok:
			http.Error(w, "the API key is missing or not known", http.StatusUnauthorized)
		case r.Header.Get("Origin") != "":
			http.Error(w, "not for browsers", http.StatusForbidden)
		default:
			handle(w, r)
		}
	}
}

func (m *MCP) end(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := r.Header.Get("Mcp-Session-Id")
	if !m.sessions[id] {
		http.Error(w, "there is no such session", http.StatusNotFound)
		return
	}
	delete(m.sessions, id)
	w.WriteHeader(http.StatusNoContent)
}

// message is a JSON-RPC 2.0 request, or a notification if it has no ID.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

// reply answers a request, with a result or an error.
type reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *problem        `json:"error,omitempty"`
}

type problem struct {
	Code int    `json:"code"` // of JSON-RPC 2.0 §5.1
	Text string `json:"message"`
}

// Codes of JSON-RPC 2.0 §5.1.
const (
	unknownMethod = -32601
	invalidParams = -32602
)

func (r message) result(value any) reply { return reply{Version: "2.0", ID: r.ID, Result: value} }

func (r message) failed(code int, text string) reply {
	return reply{Version: "2.0", ID: r.ID, Error: &problem{code, text}}
}

func (m *MCP) post(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	accepts := strings.Join(r.Header.Values("Accept"), ",")
	switch {
	case media != "application/json":
		http.Error(w, "messages are application/json", http.StatusUnsupportedMediaType)
		return
	case !strings.Contains(accepts, "application/json") || !strings.Contains(accepts, "text/event-stream"):
		http.Error(w, "accept both application/json and text/event-stream", http.StatusNotAcceptable)
		return
	}
	var request message
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&request)
	if err != nil || request.Version != "2.0" {
		http.Error(w, "this is not one message of JSON-RPC 2.0", http.StatusBadRequest)
		return
	}
	if request.Method == "initialize" {
		m.initialize(w, request)
		return
	}
	if status, text := m.session(r); status != http.StatusOK {
		http.Error(w, text, status)
		return
	}
	m.answer(w, r, request)
}

// session judges the headers by which a message belongs to a session.
func (m *MCP) session(r *http.Request) (status int, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version, id := r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Mcp-Session-Id")
	switch {
	case version != "" && !slices.Contains(protocols, version):
		return http.StatusBadRequest, "this revision of the protocol is not spoken here"
	case id == "":
		return http.StatusBadRequest, "Mcp-Session-Id is missing"
	case !m.sessions[id]:
		return http.StatusNotFound, "there is no such session; initialize a new one"
	}
	return http.StatusOK, ""
}

func (m *MCP) initialize(w http.ResponseWriter, request message) {
	var params struct {
		Version string `json:"protocolVersion"`
	}
	if json.Unmarshal(request.Params, &params) != nil || len(request.ID) == 0 {
		writeJSON(w, http.StatusOK, request.failed(invalidParams, "protocolVersion is needed"))
		return
	}
	if !slices.Contains(protocols, params.Version) {
		params.Version = protocols[0]
	}
	id := rand.Text()
	m.mu.Lock()
	if len(m.sessions) >= maxSessions {
		clear(m.sessions)
	}
	m.sessions[id] = true
	m.mu.Unlock()
	w.Header().Set("Mcp-Session-Id", id)
	writeJSON(w, http.StatusOK, request.result(map[string]any{
		"protocolVersion": params.Version,
		"capabilities":    map[string]any{"tools": map[string]any{}},
		"serverInfo":      map[string]any{"name": "demo-tickets", "version": "1"},
	}))
}

// answer answers what belongs to a session.
func (m *MCP) answer(w http.ResponseWriter, r *http.Request, request message) {
	switch {
	case len(request.ID) == 0: // a notification, or the answer to what was never asked
		w.WriteHeader(http.StatusAccepted)
	case request.Method == "ping":
		writeJSON(w, http.StatusOK, request.result(map[string]any{}))
	case request.Method == "tools/list":
		writeJSON(w, http.StatusOK, request.result(map[string]any{"tools": ticketTools}))
	case request.Method == "tools/call":
		m.call(w, r, request)
	default:
		writeJSON(w, http.StatusOK, request.failed(unknownMethod, "there is no method "+request.Method))
	}
}
