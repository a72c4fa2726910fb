package shim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/bursar-sts/bursar/server/fault"
)

// Refusal is what is answered in place of a call. Nothing of it comes from an upstream, and nothing but the fault's own
// sentence from inside.
type Refusal struct {
	Status int
	Header http.Header

	surface surface
	problem problem
}

// Refusal says what an agent is told of an error of a call, with the challenge that RFC 6750 §3 wants for tokens.
func (s *Shim) Refusal(c Call, err error) Refusal {
	r := refusalOf(fault.As(err))
	switch r.surface {
	case invalidToken:
		r.Header.Set("WWW-Authenticate", s.challenge(c, c.Token != "", r.surface.code, ""))
	case insufficientScope:
		needed, _ := errors.AsType[lacking](err)
		r.Header.Set("WWW-Authenticate", s.challenge(c, true, r.surface.code, string(needed)))
	}
	return r
}

func refusalOf(f *fault.Error) Refusal {
	s := surfaceOf(f)
	r := Refusal{Status: s.status, Header: http.Header{}, surface: s}
	r.problem = problem{Type: "urn:bursar:problem:" + s.code, Title: s.title, Status: s.status, Detail: f.Public,
		Code: s.code, DecisionID: f.DecisionID}
	if s == invalidToken || s == internal {
		r.problem.Detail = "" // whatever is wrong with a token, strangers are told the same
	}
	r.Header.Set("Content-Type", "application/problem+json")
	r.Header.Set("Cache-Control", "no-store")
	r.Header.Set("X-Content-Type-Options", "nosniff")
	r.Header.Set(ErrorHeader, s.code)
	switch s {
	case tooMany:
		r.Header.Set("Retry-After", strconv.Itoa(f.RetrySeconds()))
	case unavailable, missingSecret:
		r.Header.Set("Retry-After", "1")
	}
	return r
}

// As returns the refusal under another status, for callers that understand few of them.
func (r Refusal) As(status int) Refusal {
	r.Status, r.problem.Status = status, status
	return r
}

// Body returns the problem (RFC 9457 §3).
func (r Refusal) Body() []byte {
	text, err := json.Marshal(r.problem)
	if err != nil { // a bug: strings and numbers marshal
		return []byte("{}")
	}
	return text
}

// write answers with the refusal.
func (r Refusal) write(w http.ResponseWriter, asked *http.Request) {
	for name, values := range r.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.Status)
	if asked.Method != http.MethodHead {
		_, _ = w.Write(r.Body()) // whoever does not read the answer does not get it
	}
}
