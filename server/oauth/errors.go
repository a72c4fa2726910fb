package oauth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
)

// wire is how a kind of fault is told to an OAuth client.
type wire struct {
	status int
	code   string // RFC 6749 §5.2, RFC 8693 §2.2.2
}

// table holds every kind. Refusals are 400, failed authentication is 401 (RFC 6749 §5.2); nothing here is 403.
var table = map[fault.Kind]wire{
	fault.Internal:           {http.StatusInternalServerError, "server_error"},
	fault.InvalidRequest:     {http.StatusBadRequest, "invalid_request"},
	fault.InvalidClient:      {http.StatusUnauthorized, "invalid_client"},
	fault.UnauthorizedClient: {http.StatusBadRequest, "unauthorized_client"},
	fault.UnsupportedGrant:   {http.StatusBadRequest, "unsupported_grant_type"},
	fault.InvalidGrant:       {http.StatusBadRequest, "invalid_grant"},
	fault.InvalidTarget:      {http.StatusBadRequest, "invalid_target"},
	fault.InvalidScope:       {http.StatusBadRequest, "invalid_scope"},
	fault.MethodNotAllowed:   {http.StatusMethodNotAllowed, "invalid_request"},
	fault.TooLarge:           {http.StatusRequestEntityTooLarge, "invalid_request"},
	fault.Unauthenticated:    {http.StatusUnauthorized, "invalid_client"},
	fault.Forbidden:          {http.StatusBadRequest, "unauthorized_client"},
	fault.NotFound:           {http.StatusNotFound, "not_found"},
	fault.Conflict:           {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.Invalid:            {http.StatusBadRequest, "invalid_request"},
	fault.Unavailable:        {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.Gone:               {http.StatusGone, "invalid_request"},
	fault.TooMany:            {http.StatusTooManyRequests, "temporarily_unavailable"}, // RFC 9126 §2.3
}

// body is an error response. decision_id lets an operator look the decision up; it says nothing by itself.
type body struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
	DecisionID  string `json:"decision_id,omitempty"`
}

// writeError answers with a fault. challenge is the WWW-Authenticate value of a 401.
func writeError(w http.ResponseWriter, f *fault.Error, challenge string) {
	to, ok := table[f.Kind]
	if !ok {
		to = table[fault.Internal]
	}
	h := w.Header()
	switch to.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(f.RetrySeconds()))
	case http.StatusNotFound: // as every path that does not exist: without words
		writeJSON(w, to.status, body{Error: to.code})
		return
	}
	writeJSON(w, to.status, body{to.code, legible(f.Public), f.DecisionID})
}

// writeJSON answers with a body that nobody may store (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// legible returns s in the characters that error_description may have (RFC 6749 §5.2).
func legible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return '?'
		}
		return r
	}, s)
}
