package operator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// problemMedia is the media type of every refusal (RFC 9457 §3).
const problemMedia = "application/problem+json"

// ProblemPrefix begins the type of every problem; the code follows.
const ProblemPrefix = "urn:bursar:problem:"

// The codes of problems. The package comment has the status of each.
const (
	CodeInvalidRequest   = "invalid_request"
	CodeUnauthenticated  = "unauthenticated"
	CodeForbidden        = "forbidden"
	CodeNotFound         = "not_found"
	CodeMethodNotAllowed = "method_not_allowed"
	CodeConflict         = "conflict"
	CodeTooLarge         = "too_large"
	CodeInvalid          = "invalid"
	CodeInternal         = "internal"
	CodeUnavailable      = "unavailable"
	CodeTooMany          = "too_many_requests"
	CodeGone             = "gone"
)

// Problem is a refusal by the admin API (RFC 9457).
type Problem struct {
	// Type is ProblemPrefix and the code.
	Type string `json:"type"`
	// Title is the code in words, the same for every occurrence.
	Title string `json:"title"`
	// Status is the HTTP status code.
	Status int `json:"status"`
	// Detail is one sentence: what was wrong and what to do. It never holds a token, a secret, or text of the request.
	Detail string `json:"detail,omitempty"`
	// Reason is a stable word for what the change contradicts, such as secret.in_use; only with the code conflict.
	Reason string `json:"reason,omitempty"`
	// Problems lists every mistake of a document, each with its path ("issuers[0].jwks_uri: …"); only with the code
	// invalid.
	Problems []string `json:"problems,omitempty"`
	// First is the index of the first event that the log still has; only with the code gone.
	First int64 `json:"first,omitempty"`
	// RetryAfter is the Retry-After header (RFC 9110 §10.2.3), in whole seconds; zero without one.
	RetryAfter time.Duration `json:"-"`
}

// NewProblem returns the problem of a code. Title is derived from the code.
func NewProblem(code string, status int, detail string, problems ...string) *Problem {
	return &Problem{
		Type:     ProblemPrefix + code,
		Title:    strings.ReplaceAll(code, "_", " "),
		Status:   status,
		Detail:   detail,
		Problems: problems,
	}
}

// Code returns the code of the problem, such as CodeConflict. It is empty if the refusal did not come from a bursar
// server but, for example, from a proxy in front of it.
func (p *Problem) Code() string {
	code, ok := strings.CutPrefix(p.Type, ProblemPrefix)
	if !ok {
		return ""
	}
	return code
}

// Error returns the detail, or the title where there is none; Problems are not part of it.
func (p *Problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Detail
	case p.Title != "":
		return p.Title
	}
	return fmt.Sprintf("the server answered with status %d", p.Status)
}

// problem reads a refusal. A body that is not a problem document is not repeated, because anybody between the client
// and the server may have written it.
func problem(resp *http.Response, body []byte) *Problem {
	p := new(Problem)
	if !isMedia(resp, problemMedia) || json.Unmarshal(body, p) != nil {
		p = &Problem{Title: strings.ToLower(http.StatusText(resp.StatusCode))}
		if resp.StatusCode/100 == 3 {
			p.Detail = "The server redirects elsewhere, and redirects are not followed with an operator token; " +
				"name the final origin as the server."
		}
	}
	p.Status = resp.StatusCode
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
