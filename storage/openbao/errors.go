package openbao

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/openbao/openbao/api/v2"

	"github.com/bursar-sts/bursar/server/fault"
)

// Reasons of refusals.
const (
	reasonAway    = "openbao.unreachable"
	reasonSealed  = "openbao.sealed"
	reasonRefused = "openbao.refused"
	reasonAnswer  = "openbao.answer"
	reasonGone    = "openbao.gone"
	reasonMoved   = "openbao.moved"
)

// Away reports whether an error means that OpenBao did not answer, or not now, as opposed to what trying again does not
// mend.
func Away(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && (f.Reason == reasonAway || f.Reason == reasonSealed)
}

// failed makes an error. The cause is for the operator's log, and wraps fault.ErrUnavailable.
func failed(reason, public, what string, cause error) error {
	return fault.Wrap(fault.Unavailable, reason, public,
		fmt.Errorf("openbao: %s: %w: %w", what, fault.ErrUnavailable, cause))
}

// status is an answer that is no success, by its code alone: its text is another system's.
type status struct {
	code int
	said string // what it says, if that is one of a few things; or empty
}

// Error names the code.
func (s status) Error() string {
	text := fmt.Sprintf("status %d %s", s.code, http.StatusText(s.code))
	if s.said != "" {
		text += ": " + s.said
	}
	return text
}

// statusOf returns the code of an answer that is no success; 0 if the error is another one.
func statusOf(err error) int { return refusal(err).code }

// refusal returns the answer that is no success in an error, or none.
func refusal(err error) status {
	s, _ := errors.AsType[status](err)
	return s
}

// known are the parts of OpenBao's texts that are told on: they help whoever set it up, and hold nothing of a request.
var known = []string{
	"permission denied", "no handler for route", "namespace not found", "check-and-set parameter",
	"encryption key not found", "message authentication failed", "disallowed by policy (too old)",
	"version is too new", "invalid ciphertext", "Vault is sealed", "could not be found", "invalid role name",
	"error validating token", "lease is not renewable", "token is expired", "associated_data",
}

// explain makes an error of the library's one of ours, that holds nothing of what was sent or received.
func explain(what string, err error) error {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		s := status{code: refused.StatusCode}
		if text := strings.Join(refused.Errors, " "); len(text) < maxAnswer {
			if i := slices.IndexFunc(known, func(part string) bool { return strings.Contains(text, part) }); i >= 0 {
				s.said = known[i]
			}
		}
		return judge(what, s)
	}
	switch {
	case errors.Is(err, errRedirect):
		return failed(reasonAnswer, "OpenBao answers with a redirection, which is not followed.", what, errRedirect)
	case errors.Is(err, errTooLong):
		return failed(reasonAnswer, "OpenBao does not answer as expected.", what, errTooLong)
	}
	return failed(reasonAway, "OpenBao cannot be reached.", what, network(err))
}

func judge(what string, s status) error {
	switch {
	case s.code == http.StatusServiceUnavailable && s.said == "Vault is sealed":
		return failed(reasonSealed, "OpenBao is sealed.", what, s)
	case s.code >= http.StatusInternalServerError, s.code == http.StatusTooManyRequests:
		return failed(reasonAway, "OpenBao cannot serve now.", what, s)
	}
	return failed(reasonRefused, "OpenBao refuses what bursar asks of it.", what, s)
}

// network returns what an error says of the network or of TLS, and not what somebody sent. The URL of the request,
// which http.Client puts before it, is left out.
func network(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errors.New("it took too long")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	for _, part := range []string{"x509:", "tls:", "EOF", "server gave HTTP response to HTTPS client"} {
		if i := strings.Index(err.Error(), part); i >= 0 && part != "EOF" {
			return errors.New(err.Error()[i:])
		} else if i >= 0 {
			return errors.New("the connection was closed")
		}
	}
	return errors.New("the answer cannot be read")
}
