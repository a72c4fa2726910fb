package front

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/fault"
)

// ProblemMedia is the media type of every refusal (RFC 9457 §3).
const ProblemMedia = "application/problem+json"

// surface is how a kind of fault looks from outside.
type surface struct {
	status     int
	code       string
	retryAfter time.Duration
}

// surfaceOf is the one table from faults to problems; false for a kind that it does not have. The OAuth kinds cannot
// happen here; if one does it is a bug.
func surfaceOf(k fault.Kind) (surface, bool) {
	switch k {
	case fault.InvalidRequest:
		return surface{status: http.StatusBadRequest, code: operator.CodeInvalidRequest}, true
	case fault.Unauthenticated:
		return surface{status: http.StatusUnauthorized, code: operator.CodeUnauthenticated}, true
	case fault.Forbidden:
		return surface{status: http.StatusForbidden, code: operator.CodeForbidden}, true
	case fault.NotFound:
		return surface{status: http.StatusNotFound, code: operator.CodeNotFound}, true
	case fault.MethodNotAllowed:
		return surface{status: http.StatusMethodNotAllowed, code: operator.CodeMethodNotAllowed}, true
	case fault.Conflict:
		return surface{status: http.StatusConflict, code: operator.CodeConflict}, true
	case fault.Gone:
		return surface{status: http.StatusGone, code: operator.CodeGone}, true
	case fault.TooLarge:
		return surface{status: http.StatusRequestEntityTooLarge, code: operator.CodeTooLarge}, true
	case fault.Invalid:
		return surface{status: http.StatusUnprocessableEntity, code: operator.CodeInvalid}, true
	case fault.Unavailable:
		return surface{http.StatusServiceUnavailable, operator.CodeUnavailable, time.Second}, true
	case fault.TooMany:
		return surface{http.StatusTooManyRequests, operator.CodeTooMany, time.Second}, true
	case fault.Internal, fault.InvalidClient, fault.UnauthorizedClient, fault.UnsupportedGrant, fault.InvalidGrant,
		fault.InvalidTarget, fault.InvalidScope:
		return surface{status: http.StatusInternalServerError, code: operator.CodeInternal}, true
	}
	return surface{status: http.StatusInternalServerError, code: operator.CodeInternal}, false
}

// StatusOf returns the status of the problems that have the code.
func StatusOf(code string) int {
	for _, k := range fault.Kinds() {
		if s, _ := surfaceOf(k); s.code == code {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// Problem returns the problem that err is. Nothing but the fault's own sentence and problems is told.
func Problem(err error) *operator.Problem {
	f := fault.As(err)
	s, _ := surfaceOf(f.Kind)
	detail, problems := f.Public, f.Problems
	if s.code == operator.CodeInternal {
		detail, problems = "Internal error.", nil
	}
	p := operator.NewProblem(s.code, s.status, detail, problems...)
	if s.code == operator.CodeConflict || strings.HasPrefix(f.Reason, "upstream.") { // only who may make it gets as far
		p.Reason = f.Reason
	}
	if s.retryAfter > 0 {
		p.RetryAfter = max(s.retryAfter, time.Duration(f.RetrySeconds())*time.Second)
	}
	return p
}

// Write answers with a problem.
func Write(w http.ResponseWriter, p *operator.Problem) {
	text, err := json.Marshal(p)
	if err != nil { // a bug: strings and numbers marshal
		text = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", ProblemMedia)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter/time.Second)))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(text) // whoever does not read the answer does not get it
}
