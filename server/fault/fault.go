// Package fault is the closed set of ways in which bursar refuses or fails.
//
// An organ returns an *Error; each surface (OAuth endpoints, admin API, command line) has one table from Kind to
// its own wire form, and a test walks every Kind through every table. Only Public is ever written to a caller.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong, in bursar's own terms. New kinds are appended.
type Kind uint8

const (
	// Internal is a bug or a broken invariant. It is the zero value, so that an error nobody classified
	// tells the caller nothing.
	Internal Kind = iota
	// InvalidRequest is a malformed request, or a subject or actor token that is not acceptable
	// (RFC 8693 §2.2.2).
	InvalidRequest
	// InvalidClient is failed client authentication (RFC 6749 §5.2).
	InvalidClient
	// UnauthorizedClient is an authenticated client that may not do this.
	UnauthorizedClient
	// UnsupportedGrant is a grant type that nobody may use.
	UnsupportedGrant
	// InvalidGrant is a token that was issued to another client (RFC 7009 §2.1, RFC 6749 §5.2).
	InvalidGrant
	// InvalidTarget is an unknown, ambiguous or forbidden tool (RFC 8693 §2.2.2, RFC 8707 §2).
	InvalidTarget
	// InvalidScope is a malformed, unknown or forbidden scope.
	InvalidScope
	// MethodNotAllowed is a request with the wrong HTTP method.
	MethodNotAllowed
	// TooLarge is a body over the limit of its route.
	TooLarge
	// Unauthenticated is an admin call without a valid operator token.
	Unauthenticated
	// Forbidden is an operator whose role does not allow the action.
	Forbidden
	// NotFound is an object that does not exist, or that the caller must not know of.
	NotFound
	// Conflict is a change that lost to a concurrent one, or that contradicts what exists.
	Conflict
	// Invalid is a document or argument with mistakes; Problems lists all of them.
	Invalid
	// Unavailable is a dependency that did not answer: the store, the log, a trusted issuer. Nothing was released.
	Unavailable
	// TooMany is a caller who asks more often than its limit allows; RetryAfter says when it may again. Nothing of the
	// request was judged.
	TooMany
	// Gone is what existed and was dropped, as retention does with the first part of a log.
	Gone

	kinds
)

var names = [kinds]string{
	"internal", "invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant", "invalid_grant",
	"invalid_target", "invalid_scope", "method_not_allowed", "too_large", "unauthenticated", "forbidden",
	"not_found", "conflict", "invalid", "unavailable", "too_many", "gone",
}

// String returns the kind's stable name.
func (k Kind) String() string {
	if k < kinds {
		return names[k]
	}
	return names[Internal]
}

// Kinds returns every kind, for tests that prove a table total.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a refusal or failure with everything a surface and the log need to know of it.
type Error struct {
	Kind Kind
	// Public is the sentence a caller may read: what was wrong and what to do. It never holds a token, a secret,
	// text from another system, or an echo of the request.
	Public string
	// Reason is the stable code written to the log, such as "subject.expired". Callers see it only where the
	// surface says so.
	Reason string
	// Problems lists every mistake of an Invalid document, each with its path ("issuers[0].jwks_uri: …").
	Problems []string
	// DecisionID names the record of the decision, for refusals that were recorded (design: `explain`).
	DecisionID string
	// RetryAfter is how long a caller of kind TooMany has to wait.
	RetryAfter time.Duration
	// Err is the cause, for the operator's log only.
	Err error
}

// New returns an error of the given kind. reason is a stable code, public the caller's sentence.
func New(kind Kind, reason, public string) *Error {
	return &Error{Kind: kind, Reason: reason, Public: public}
}

// Wrap returns an error of the given kind caused by err.
func Wrap(kind Kind, reason, public string, err error) *Error {
	return &Error{Kind: kind, Reason: reason, Public: public, Err: err}
}

// Error describes the failure for the operator's log: reason and cause.
func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s (%s): %v", e.Reason, e.Kind, e.Err)
	case e.Public != "":
		return fmt.Sprintf("%s (%s): %s", e.Reason, e.Kind, e.Public)
	}
	return fmt.Sprintf("%s (%s)", e.Reason, e.Kind)
}

// RetrySeconds returns RetryAfter as the header of that name has it: whole seconds, at least one (RFC 9110 §10.2.3).
func (e *Error) RetrySeconds() int {
	return max(int((e.RetryAfter+time.Second-1)/time.Second), 1)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns err as an *Error. What nobody classified comes back as Internal, and what a store reported as
// unreachable, or what took too long, as Unavailable, so that a caller can always write the answer.
func As(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return Wrap(Unavailable, "store.unavailable",
			"The service cannot record decisions right now; try again shortly.", err)
	case errors.Is(err, ErrConflict):
		return Wrap(Conflict, "store.conflict", "Somebody else changed this at the same time; read it again and retry.", err)
	}
	return Wrap(Internal, "internal", "Internal error.", err)
}

// Store sentinels. Backends wrap them; consumers test them with errors.Is.
var (
	// ErrUnavailable means that the store did not confirm: nothing may be assumed of the write, which was applied
	// whole or not at all.
	ErrUnavailable = errors.New("store unavailable")
	// ErrConflict means that the expected revision was not the store's: nothing was written.
	ErrConflict = errors.New("revision conflict")
	// ErrStale means that what a commit was signed with is not current any more: nothing was written, and it can be signed
	// again.
	ErrStale = errors.New("signed with other keys than the current ones")
	// ErrSequence means that a writer's counter does not continue what the store has of that writer: the store
	// lost acknowledged writes, or two processes share a writer id. Nothing was written.
	ErrSequence = errors.New("writer sequence broken")
)
