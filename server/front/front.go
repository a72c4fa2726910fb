// Package front is what the surfaces for operators have alike in front of their handlers: operator tokens (RFC 6750),
// refusals as problems (RFC 9457), and an answer for a handler that panicked.
package front

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/peer"
)

// Desk is where operators sign in; *admin.Service is one.
type Desk interface {
	// Authenticate returns the operator of a token, bound to the tenant of the path. Errors are *fault.Error.
	Authenticate(ctx context.Context, c admin.Credentials) (admin.Operator, error)
}

// Front serves one surface. Its zero value signs nobody in.
type Front struct {
	Desk   Desk
	Logger *slog.Logger
	Name   string // of a call to the surface, such as "admin call", for the server's own log
}

// The refusals of requests that no handler is for.
var (
	ErrPath   = fault.New(fault.NotFound, "path.unknown", "There is nothing at this path.")
	ErrMethod = fault.New(fault.MethodNotAllowed, "method",
		"This path does not take that method; the Allow header says which it does.")
)

var errNobody = fault.New(fault.Unauthenticated, "operator.nobody", "Nobody can sign in here.")

// Operator returns who sends the request, by its bearer token; slug is the tenant of the path, "" on a path of the
// platform. A refusal of kind fault.Unauthenticated has set the challenge that its answer must carry.
func (f *Front) Operator(w http.ResponseWriter, r *http.Request, slug string) (op admin.Operator, err error) {
	c := admin.Credentials{Tenant: slug, Token: bearer(r.Header), IP: peer.Of(r)}
	if err = errNobody; f.Desk != nil {
		op, err = f.Desk.Authenticate(r.Context(), c)
	}
	if err != nil && fault.As(err).Kind == fault.Unauthenticated {
		challenge := `Bearer realm="bursar admin"`
		if c.Token != "" {
			challenge += `, error="invalid_token"` // RFC 6750 §3.1: not where no token was presented
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	return op, err
}

// bearer returns the token of the Authorization header (RFC 6750 §2.1), or "" where there is not exactly one.
func bearer(h http.Header) string {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// Fail answers with the problem that err is, and tells the operator of the server what callers are not told.
func (f *Front) Fail(w http.ResponseWriter, r *http.Request, err error) {
	Write(w, Problem(f.Judge(r, err)))
}

// Judge returns what a caller is to be told of err, and tells the operator of the server what callers are not told. A
// call that its caller gave up is nobody's failure.
func (f *Front) Judge(r *http.Request, err error) error {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return fault.Wrap(fault.Unavailable, "caller.gone", "The call was given up.", err)
	}
	if e := fault.As(err); e.Kind == fault.Internal || e.Kind == fault.Unavailable {
		f.Logger.ErrorContext(r.Context(), f.Name+" failed", "route", r.Pattern, "error", err)
	}
	return err
}

// Survive answers for a handler that panicked. It must be deferred.
func (f *Front) Survive(w http.ResponseWriter, r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		// The value of a panic can be anything, a token too; its place is enough.
		f.Logger.ErrorContext(r.Context(), f.Name+" panicked", "route", r.Pattern, "stack", string(debug.Stack()))
		Write(w, Problem(fault.New(fault.Internal, "panic", "")))
	}
}
