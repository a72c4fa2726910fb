// Package oauth is the OAuth surface of a tenant: the token endpoint (RFC 8693), introspection (RFC 7662) and
// revocation (RFC 7009). It reads requests strictly, hands plain values to server/exchange, and writes the answers.
//
// It is the only package that knows fosite, which carries the token endpoint's plumbing: one TokenEndpointHandler, our
// own client authentication, no storage. fosite's own reading of forms, its introspection and revocation endpoints and
// its error writer are not used; each has been seen to accept or hide what must be refused.
package oauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/peer"
	"github.com/ory/fosite"
)

// Config is what the endpoints need; all of it is required.
type Config struct {
	Exchanger *exchange.Exchanger
	// Slug returns the tenant that the request's URL names.
	Slug   func(*http.Request) string
	Logger *slog.Logger
	// Trace returns the id of the W3C trace that the request belongs to, in hexadecimal digits, or "".
	Trace func(*http.Request) string
	// Observe is told the outcome of each request: the endpoint, and "ok" or the reason of the refusal.
	Observe func(r *http.Request, endpoint, outcome string)
	Now     func() time.Time
}

// Endpoints serves the OAuth endpoints of every tenant.
type Endpoints struct {
	cfg      Config
	provider fosite.OAuth2Provider
	told     told
}

// New returns the endpoints.
func New(cfg Config) *Endpoints {
	return &Endpoints{cfg: cfg, provider: newProvider()}
}

// refuse answers with an error.
func (e *Endpoints) refuse(w http.ResponseWriter, r *http.Request, endpoint string, err error) {
	f := fault.As(err)
	e.cfg.Observe(r, endpoint, f.Reason)
	left := errors.Is(r.Context().Err(), context.Canceled) // the caller; that is no failure of ours
	if !left && (f.Kind == fault.Internal || f.Kind == fault.Unavailable) && e.told.first(f.Error(), e.cfg.Now()) {
		e.cfg.Logger.ErrorContext(r.Context(), "request failed",
			"endpoint", endpoint, "tenant", e.cfg.Slug(r), "reason", f.Reason, "error", f.Err)
	}
	writeError(w, f, `Basic realm="`+e.cfg.Slug(r)+`", charset="UTF-8"`)
}

// answerTime is how long a request may take once it has been read. What has no answer by then is 503, in less than 2 s.
const answerTime = 1700 * time.Millisecond

// hurry bounds what is left of a request.
func hurry(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	return r.WithContext(ctx), cancel
}

// told keeps failures from filling the operator's log: who is not even authenticated can cause one with every request.
type told struct {
	mu   sync.Mutex
	last map[string]time.Time // by what was told
}

const maxTold = 1000 // failures that are remembered

// first reports whether that failure was not told within the last second.
func (t *told) first(failure string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || len(t.last) == maxTold {
		t.last = map[string]time.Time{}
	}
	if now.Sub(t.last[failure]) < time.Second {
		return false
	}
	t.last[failure] = now
	return true
}

// admit refuses who asks too often, before anything of the request is read.
func (e *Endpoints) admit(r *http.Request) error {
	return e.cfg.Exchanger.Admit(r.Context(), e.cfg.Slug(r), peer.Of(r))
}

// reject refuses a request that could not even be read.
func (e *Endpoints) reject(w http.ResponseWriter, r *http.Request, endpoint string, err error) {
	if known := e.cfg.Exchanger.Reject(r.Context(), e.cfg.Slug(r), fault.As(err).Reason, peer.Of(r)); known != nil {
		err = known
	}
	e.refuse(w, r, endpoint, err)
}

// question reads a request of introspection or revocation.
func (e *Endpoints) question(w http.ResponseWriter, r *http.Request, endpoint string) (exchange.Question, bool) {
	if err := e.admit(r); err != nil {
		e.refuse(w, r, endpoint, err)
		return exchange.Question{}, false
	}
	form, err := readForm(w, r)
	if err != nil {
		e.reject(w, r, endpoint, err)
		return exchange.Question{}, false
	}
	credentials, err := readCredentials(r, form)
	if err != nil {
		e.reject(w, r, endpoint, err)
		return exchange.Question{}, false
	}
	return exchange.Question{Credentials: credentials, Token: form.Get("token"), IP: peer.Of(r),
		Trace: e.cfg.Trace(r)}, true
}
