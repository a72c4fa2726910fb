package clients

import (
	"cmp"
	"errors"

	"github.com/bursar-sts/bursar/server/fault"
)

// Reasons of a failed authentication, for the log.
const (
	ReasonNone     = "client.none"      // the request holds no credentials; see ErrNone
	ReasonMethods  = "client.methods"   // it holds those of several methods
	ReasonUnknown  = "client.unknown"   // there is no such client
	ReasonSecret   = "client.secret"    // the secret is none of the client's
	ReasonMethod   = "client.method"    // the client is registered for another method
	ReasonID       = "client.id"        // client_id names another client
	ReasonDisabled = "client.disabled"  // the client was disabled by a revocation
	ReasonUnbound  = "client.unbound"   // no client has the workload's identity
	ReasonSeveral  = "client.ambiguous" // several clients have the workload's identity

	ReasonAssertionType      = "client.assertion.type"      // client_assertion_type is absent, alone or unknown
	ReasonAssertionMalformed = "client.assertion.malformed" // not one canonical JWT, or a claim of the wrong type
	ReasonAssertionHeader    = "client.assertion.header"    // alg, typ or kid, or a header that carries keys
	ReasonAssertionAudience  = "client.assertion.audience"  // aud is not exactly our issuer
	ReasonAssertionExpired   = "client.assertion.expired"   // exp has passed
	ReasonAssertionLifetime  = "client.assertion.lifetime"  // exp is absent, or too far ahead
	ReasonAssertionFuture    = "client.assertion.future"    // iat or nbf is ahead of the clock
	ReasonAssertionID        = "client.assertion.jti"       // jti is absent or too long
	ReasonAssertionSignature = "client.assertion.signature" // no key of the client made the signature
	ReasonAssertionReplayed  = "client.assertion.replayed"  // the jti was used before
	ReasonAssertionWorkload  = "client.assertion.workload"  // not an acceptable token of a trusted issuer
)

// unknownOrWrong is the answer to a wrong secret, and to any secret of a client that does not exist, so that nobody
// learns which clients do.
const unknownOrWrong = "The client is unknown or its secret is wrong; check both, or create a new secret."

// sentences are what the caller reads, by reason.
var sentences = map[string]string{
	ReasonNone:     "The request holds no client credentials; authenticate as the client is registered to.",
	ReasonMethods:  "Authenticate by one method only.",
	ReasonUnknown:  unknownOrWrong,
	ReasonSecret:   unknownOrWrong,
	ReasonMethod:   "The client is registered for another authentication method; use that one.",
	ReasonID:       "client_id names another client than the credentials do; drop it or correct it.",
	ReasonDisabled: "The client is disabled; an operator must enable it.",
	ReasonUnbound:  "No client is registered for this workload identity; add it to the client's identities.",
	ReasonSeveral: "More than one client is registered for this workload identity; an operator must remove it from " +
		"all but one.",

	ReasonAssertionType: "client_assertion and client_assertion_type belong together; the type must be jwt-bearer " +
		"(RFC 7523) or jwt-spiffe.",
	ReasonAssertionMalformed: "client_assertion must be one compact signed JWT with claims of the right types.",
	ReasonAssertionHeader: "The client assertion's header must name an asymmetric alg and no other typ than JWT or " +
		"client-authentication+jwt, and must not carry or point to keys.",
	ReasonAssertionAudience:  "The client assertion's aud must be this server's issuer and nothing else.",
	ReasonAssertionExpired:   "The client assertion has expired; sign a new one for each request.",
	ReasonAssertionLifetime:  "The client assertion needs an exp that is at most one hour ahead.",
	ReasonAssertionFuture:    "The client assertion is dated in the future; check the client's clock.",
	ReasonAssertionID:        "The client assertion needs a jti of 1 to 256 bytes.",
	ReasonAssertionSignature: "The client assertion is not signed with a key that is registered for the client.",
	ReasonAssertionReplayed:  "The client assertion was used before; sign a new one, with a new jti, for each request.",
	ReasonAssertionWorkload:  "The client assertion is not an acceptable token of an issuer that is trusted here.",
}

// refuse is the failed authentication for that reason; cause may be nil.
func refuse(reason string, cause error) error {
	return fault.Wrap(fault.InvalidClient, reason, sentences[reason], cause)
}

// Replayed is the failed authentication of an assertion whose jti was used before.
func Replayed() error { return refuse(ReasonAssertionReplayed, nil) }

// judge turns the error of somebody else's check into a refusal, unless that check could not be made: then nobody
// knows whether the credentials are good, and the caller must not be told that they are bad.
func judge(reason string, err error) error {
	f := fault.As(err)
	if f.Kind == fault.Unavailable || f.Kind == fault.Internal {
		return f
	}
	return fault.Wrap(fault.InvalidClient, reason, cmp.Or(f.Public, sentences[reason]), err)
}

// ErrNone means that a request holds no client credentials at all; a client_id alone is none. The caller decides what
// that means: a workload's token may still say who is asking.
var ErrNone = errors.New("no client credentials")
