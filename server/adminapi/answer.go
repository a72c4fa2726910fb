package adminapi

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/fault"
)

// answer is a response.
type answer struct {
	status     int
	media      string // "" is application/json
	body       any    // nil is none
	retryAfter time.Duration
}

// items is the shape of every list.
type items[T any] struct {
	Items []T `json:"items"`
}

// list translates a list.
func list[From, To any](from []From, translate func(From) To) answer {
	l := items[To]{Items: make([]To, len(from))}
	for i, x := range from {
		l.Items[i] = translate(x)
	}
	return answer{status: http.StatusOK, body: l}
}

func write(w http.ResponseWriter, a answer) {
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	text, err := json.Marshal(a.body)
	if err != nil { // a bug: nothing here fails to marshal
		text, a.status = []byte("{}"), http.StatusInternalServerError
	}
	if a.media == "" {
		a.media = jsonMedia
	}
	w.Header().Set("Content-Type", a.media)
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.retryAfter/time.Second)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // whoever does not read the answer does not get it
}

const (
	jsonMedia    = "application/json"
	yamlMedia    = "application/yaml" // RFC 9512
	problemMedia = "application/problem+json"
)

// media returns the media type of a body, without its parameters.
func media(h http.Header) string {
	m, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return m
}

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

// newProblem returns the answer that err is (RFC 9457). Nothing but the fault's own sentence and problems is told.
func newProblem(err error) answer {
	f := fault.As(err)
	s, _ := surfaceOf(f.Kind)
	detail, problems := f.Public, f.Problems
	if s.code == operator.CodeInternal {
		detail, problems = "Internal error.", nil
	}
	if s.retryAfter > 0 {
		s.retryAfter = max(s.retryAfter, time.Duration(f.RetrySeconds())*time.Second)
	}
	return answer{status: s.status, media: problemMedia, retryAfter: s.retryAfter,
		body: operator.NewProblem(s.code, s.status, detail, problems...)}
}
