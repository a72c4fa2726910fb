// Package demolegacy is two small but real upstreams that know nothing of tokens, for `bursar dev` and for tests: a
// payments API that wants a key in X-Api-Key, and an MCP server that wants one as a bearer token. Both hand out a key
// to whoever asks, so they must only ever guard demonstrations and tests.
package demolegacy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Keys are the API keys of an upstream: the newest, and older ones until they are dropped, so that a client can change
// over without a refused call. It is safe for concurrent use; the zero value knows no key.
//
//	POST   /keys   → a new key as text, shown this once
//	DELETE /keys   → all keys but the newest are refused from now on
//	GET    /keys   → {"keys": [{"id": "key-1", "calls": n}, …]}, those that are accepted, oldest first
type Keys struct {
	mu   sync.Mutex // guards what follows
	made int
	all  []*key // oldest first
}

// key is what remains of a key once it was shown.
type key struct {
	ID    string `json:"id"`
	Calls int    `json:"calls"` // that came with it
	hash  [sha256.Size]byte
}

// New makes a key and accepts it beside the others.
func (k *Keys) New() string {
	secret := "legacy-" + strings.ToLower(rand.Text())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	k.all = append(k.all, &key{ID: fmt.Sprintf("key-%d", k.made), hash: sha256.Sum256([]byte(secret))})
	return secret
}

// Drop refuses all keys but the newest.
func (k *Keys) Drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) > 1 {
		k.all = k.all[len(k.all)-1:]
	}
}

// use returns the id of a key that is accepted, and counts the call.
func (k *Keys) use(secret string) (id string, ok bool) {
	hash := sha256.Sum256([]byte(secret))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.all {
		if subtle.ConstantTimeCompare(one.hash[:], hash[:]) == 1 {
			one.Calls++
			return one.ID, true
		}
	}
	return "", false
}

// mount serves the keys below /keys. No key is wanted for that.
func (k *Keys) mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintln(w, k.New())
	})
	mux.HandleFunc("DELETE /keys", func(w http.ResponseWriter, _ *http.Request) {
		k.Drop()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		writeJSON(w, http.StatusOK, map[string]any{"keys": k.all})
	})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client went away
}

// stream is an answer of server-sent events.
type stream struct {
	w    http.ResponseWriter
	sent int
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return &stream{w: w}
}

// send sends an event at once. An error says that nobody listens any more.
func (s *stream) send(event string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	s.sent++
	if _, err := fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", s.sent, event, data); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}
