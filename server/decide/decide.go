// Package decide lets proxies that people run already ask whether a call may be made, and hands them the key for it:
// nginx, Caddy, HAProxy, Traefik, Envoy. It judges as the shim does and answers 200, 401 or 403, which is all that such
// proxies understand; whatever goes wrong is a 403. What a proxy then does is out of reach: nobody masks the key in the
// upstream's answer, cuts a stream or records how the call ended. So tools and secrets have to allow it, and nobody but
// proxies may reach the listener: see Door.
package decide

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/shim"
)

// Judge judges calls; *shim.Shim is one.
type Judge interface {
	// Authorize judges a call and records a refusal. Errors are *fault.Error.
	Authorize(ctx context.Context, c shim.Call) (*shim.Grant, error)
	// Refusal is what the agent is told of an error of Authorize, or of the grant.
	Refusal(c shim.Call, err error) shim.Refusal
}

// Answer is what a proxy is told.
type Answer struct {
	Status  int         // 200, 401 or 403
	Keys    http.Header // of a 200: what the proxy puts on the call
	ID, Txn string      // of a 200: of the decision, and of the run that the call belongs to
	Header  http.Header // otherwise, with Body: what the proxy answers
	Body    []byte
}

// Decider answers in one form. It is safe for concurrent use.
type Decider struct {
	judge  Judge
	logger *slog.Logger

	allowed, unauthenticated, refused atomic.Int64
}

// NewDecider returns a Decider.
func NewDecider(j Judge, l *slog.Logger) *Decider { return &Decider{judge: j, logger: l} }

// Stats are counts of answers since the start.
type Stats struct{ Allowed, Unauthenticated, Refused int64 }

// Stats returns what was counted.
func (d *Decider) Stats() Stats {
	return Stats{d.allowed.Load(), d.unauthenticated.Load(), d.refused.Load()}
}

// Decide judges a call, and takes the keys for it out of the vault. When it answers 200, the use of the keys is on
// record.
func (d *Decider) Decide(ctx context.Context, c shim.Call) Answer {
	g, err := d.judge.Authorize(ctx, c)
	if err != nil {
		return d.Refuse(ctx, c, err)
	}
	keys, err := g.Hand(ctx)
	if err != nil {
		return d.Refuse(ctx, c, err)
	}
	d.allowed.Add(1)
	return Answer{Status: http.StatusOK, Keys: keys, ID: g.ID(), Txn: g.Txn()}
}

// Refuse answers for a call that may not be made, or of which that cannot be known.
func (d *Decider) Refuse(ctx context.Context, c shim.Call, err error) Answer {
	if k := fault.As(err).Kind; (k == fault.Internal || k == fault.Unavailable) && ctx.Err() == nil {
		d.logger.ErrorContext(ctx, "nothing could be decided", "tenant", c.Slug, "tool", c.Tool, "error", err)
	}
	if fault.As(err).Reason == errTool.Reason { // no agent can bring that about
		d.logger.WarnContext(ctx, "a front proxy does not name the tool that it asks for")
	}
	r := d.judge.Refusal(c, err)
	if r.Status == http.StatusUnauthorized {
		d.unauthenticated.Add(1)
	} else {
		r = r.As(http.StatusForbidden)
		d.refused.Add(1)
	}
	return Answer{Status: r.Status, Header: r.Header, Body: r.Body()}
}
