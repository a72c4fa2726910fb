package demolegacy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Payments is the payments API. Each answer names the key that the call came with by its id, never by its value; but
// /v1/echo repeats everything that it was sent, as debugging endpoints and error pages of real APIs do.
//
//	GET    /v1/refunds/{id}     → a refund
//	POST   /v1/refunds          {"payment": "pay-1", "amount": 1200} → 201 and the refund; amounts in cents
//	DELETE /v1/refunds/{id}     → 204
//	GET    /v1/ledger/stream    → server-sent events, one every Config.Every, for as long as somebody listens
//	       /v1/echo             → what came: method, host, path, query, headers, body
//
// and /keys, see Keys. It is safe for concurrent use.
type Payments struct {
	Keys Keys

	every time.Duration
	mux   *http.ServeMux

	mu      sync.Mutex // guards what follows
	next    int
	refunds map[string]refund
}

// Config configures an upstream. The zero Config is a good one.
type Config struct {
	// Every is the time from one event of a stream to the next; 200 ms if 0.
	Every time.Duration
}

func (c Config) every() time.Duration {
	if c.Every == 0 {
		return 200 * time.Millisecond
	}
	return c.Every
}

type refund struct {
	ID      string `json:"id"`
	Payment string `json:"payment"`
	Amount  int64  `json:"amount"` // in cents
	Key     string `json:"key"`    // the id of the key that this call came with
}

// NewPayments returns the API with one refund, re-1000, and no key yet.
func NewPayments(c Config) *Payments {
	p := &Payments{every: c.every(), mux: http.NewServeMux(), next: 1001,
		refunds: map[string]refund{"re-1000": {ID: "re-1000", Payment: "pay-77", Amount: 4200}}}
	p.Keys.mount(p.mux)
	p.mux.HandleFunc("GET /v1/refunds/{id}", p.withKey(p.get))
	p.mux.HandleFunc("DELETE /v1/refunds/{id}", p.withKey(p.remove))
	p.mux.HandleFunc("POST /v1/refunds", p.withKey(p.create))
	p.mux.HandleFunc("GET /v1/ledger/stream", p.withKey(p.ledger))
	p.mux.HandleFunc("/v1/echo", p.withKey(echo))
	return p
}

// ServeHTTP serves the API.
func (p *Payments) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// withKey lets a call through that comes with a key, and tells the handler its id.
func (p *Payments) withKey(handle func(w http.ResponseWriter, r *http.Request, key string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := p.Keys.use(r.Header.Get("X-Api-Key"))
		if !ok {
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "X-Api-Key is missing or not known"})
			return
		}
		handle(w, r, id)
	}
}

func (p *Payments) get(w http.ResponseWriter, r *http.Request, key string) {
	p.mu.Lock()
	found, ok := p.refunds[r.PathValue("id")]
	p.mu.Unlock()
	if !ok {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no such refund"})
		return
	}
	found.Key = key
	writeJSON(w, http.StatusOK, found)
}

func (p *Payments) remove(w http.ResponseWriter, r *http.Request, _ string) {
	p.mu.Lock()
	delete(p.refunds, r.PathValue("id"))
	p.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

const maxBody = 64 << 10

func (p *Payments) create(w http.ResponseWriter, r *http.Request, key string) {
	made := refund{}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&made)
	if err != nil || made.Payment == "" || made.Amount <= 0 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "payment and amount are needed"})
		return
	}
	p.mu.Lock()
	made.ID = fmt.Sprintf("re-%d", p.next)
	p.next++
	p.refunds[made.ID] = made
	p.mu.Unlock()
	made.Key = key
	w.Header().Set("Location", "/v1/refunds/"+made.ID)
	writeJSON(w, http.StatusCreated, made)
}

// ledger streams entries until the caller is gone.
func (p *Payments) ledger(w http.ResponseWriter, r *http.Request, key string) {
	s := newStream(w)
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for number := 1; ; number++ {
		if s.send("entry", map[string]any{"number": number, "key": key}) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func echo(w http.ResponseWriter, r *http.Request, _ string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the body is too long"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"method": r.Method, "host": r.Host, "path": r.URL.EscapedPath(),
		"query": r.URL.RawQuery, "headers": r.Header, "body": string(body)})
}
