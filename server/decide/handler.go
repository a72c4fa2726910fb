package decide

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
)

// The headers of a 200. InjectHeader is followed by the name of the header that the proxy puts on the call.
const (
	InjectHeader   = prefix + "Inject-"
	DecisionHeader = prefix + "Decision"
	TxnHeader      = prefix + "Txn"
)

// Handler answers proxies that ask over HTTP.
type Handler struct {
	*Decider
	resources Resources
}

// New returns a Handler for the tools below a shim's URL.
func New(shimURL string, j Judge, l *slog.Logger) *Handler {
	return &Handler{NewDecider(j, l), NewResources(shimURL)}
}

// ServeHTTP answers one question.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.survive(w, r)
	q, err := h.read(r)
	if err != nil {
		h.write(w, r, h.Refuse(r.Context(), q.Call, err), q.own)
		return
	}
	h.write(w, r, h.Decide(r.Context(), q.Call), q.own)
}

// write answers; own says under which names.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, a Answer, own bool) {
	to := w.Header()
	for name, values := range a.Header {
		to[name] = values
	}
	for name, values := range a.Keys {
		if !own {
			name = http.CanonicalHeaderKey(InjectHeader + name)
		}
		to[name] = values
	}
	if a.Status == http.StatusOK {
		to.Set(DecisionHeader, a.ID)
		to.Set(TxnHeader, a.Txn)
	}
	to.Set("Cache-Control", "no-store")
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.Body) // whoever does not read the answer does not get it
	}
}

// survive answers for a question that panicked. It must be deferred.
func (h *Handler) survive(w http.ResponseWriter, r *http.Request) {
	if p := recover(); p != nil {
		// The value of a panic can be anything, a key too; its place is enough.
		h.logger.ErrorContext(r.Context(), "a decision panicked", "stack", string(debug.Stack()))
		h.write(w, r, h.Refuse(r.Context(), question{}.Call, fault.New(fault.Internal, "panic", "")), false)
	}
}

// Bounds of a connection. A proxy keeps it open for many questions.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second
	keepAlive     = 5 * time.Minute
	maxHeader     = 64 << 10 // bytes; an agent's headers and its token are among them
)

// Server returns what serves a Handler on a Door's listener.
func (h *Handler) Server() *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: 2 * headerTimeout,
		WriteTimeout: answerTimeout, IdleTimeout: keepAlive, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(h.logger.Handler(), slog.LevelWarn)}
}
