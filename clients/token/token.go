// Package token is bursar's access token: its claims (RFC 9068, RFC 8693 §4.1), the strict reading of any compact JWS,
// and the check that a resource server makes offline. It does no input or output; keys come from a function.
package token

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Type is the typ header of an access token (RFC 9068 §2.1).
const Type = "at+jwt"

// MaxSize bounds a compact token, in bytes.
const MaxSize = 16 << 10

// MaxLife bounds the life of a token, from iat to exp.
const MaxLife = scopes.MaxLife

// MaxAhead is how far a signer's clock may be ahead of its reader's: an iat or nbf is taken up to then.
const MaxAhead = time.Minute

// MaxLeeway bounds how long after its exp a token may still be taken somewhere (RFC 9068 §4).
const MaxLeeway = time.Minute

// MaxKeyID bounds a kid, in bytes.
const MaxKeyID = 256

// CodeInvalidToken is the RFC 6750 §3.1 error of every token that is refused.
const CodeInvalidToken = "invalid_token"

// Reasons of an Error. They are stable and safe to log; a caller needs no more than the code.
const (
	ReasonMalformed = "malformed" // not one canonical compact JWS with strict JSON inside
	ReasonType      = "type"      // typ is not at+jwt
	ReasonAlgorithm = "algorithm" // alg is not allowed, or not the key's
	ReasonIssuer    = "issuer"    // iss is not the expected one
	ReasonAudience  = "audience"  // aud is not the expected one
	ReasonKey       = "key"       // kid is absent, or names no key of the issuer
	ReasonSignature = "signature" // the signature does not verify
	ReasonClaims    = "claims"    // a claim is absent or of the wrong type
	ReasonExpired   = "expired"   // exp has passed
	ReasonFuture    = "future"    // iat is ahead of the clock
	ReasonBound     = "bound"     // cnf names a key, and nobody checks who holds it
)

// Error is a token that was refused. It holds nothing of the token.
type Error struct {
	Code   string // the RFC 6750 §3.1 error code, "invalid_token"
	Reason string // one of the Reason constants
	Err    error  // what exactly was wrong; may be nil
}

// Error describes the refusal for a log.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Reason + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(reason string, err error) *Error { return &Error{CodeInvalidToken, reason, err} }

// Canonical takes a compact JWS (RFC 7515 §7.1) apart and returns its decoded header and payload. It accepts exactly
// one spelling of each triple of bytes: at most MaxSize characters, three non-empty parts of unpadded base64url whose
// unused bits are zero, and header and payload each one JSON object as CheckJSON wants it. Libraries are laxer, and
// what has many spellings cannot be looked up by its text. The signature is not checked. Errors are *Error with
// ReasonMalformed.
//
// An ECDSA signature (r, s) has a second valid form (r, n-s), which crypto/ecdsa accepts and which is canonical here:
// signers produce both. State must therefore be keyed by (iss, jti), never by the text of a token.
func Canonical(compact string) (header, payload []byte, err error) {
	if header, payload, err = Split(compact); err != nil {
		return nil, nil, err
	}
	for _, object := range [][]byte{header, payload} {
		if err := CheckJSON(object); err != nil {
			return nil, nil, refuse(ReasonMalformed, err)
		}
	}
	return header, payload, nil
}

// Split is Canonical for a caller that reads header and payload by functions which want strict JSON themselves, such
// as ParseHeader and Parse or Object: it leaves that check to them.
func Split(compact string) (header, payload []byte, err error) {
	if len(compact) > MaxSize {
		return nil, nil, refuse(ReasonMalformed, errors.New("longer than 16 KiB"))
	}
	first, rest, ok := strings.Cut(compact, ".")
	second, third, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || first == "" || second == "" || third == "" {
		return nil, nil, refuse(ReasonMalformed, errors.New("not three parts"))
	}
	if header, err = decodePart(first); err != nil {
		return nil, nil, refuse(ReasonMalformed, err)
	}
	if payload, err = decodePart(second); err != nil {
		return nil, nil, refuse(ReasonMalformed, err)
	}
	if _, err = decodePart(third); err != nil {
		return nil, nil, refuse(ReasonMalformed, err)
	}
	return header, payload, nil
}

var (
	errEncoding = errors.New("not canonical base64url")
	strict      = base64.RawURLEncoding.Strict()
)

// decodePart decodes the only accepted spelling. Strict refuses unused bits that are set, but the decoder skips line
// breaks, hence the check of the alphabet before it.
func decodePart(part string) ([]byte, error) {
	for i := range len(part) {
		if !isBase64URL(part[i]) {
			return nil, errEncoding
		}
	}
	decoded, err := strict.DecodeString(part)
	if err != nil {
		return nil, errEncoding
	}
	return decoded, nil
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Header is what a verifier reads of a JOSE header (RFC 7515 §4.1). Keys that the header itself carries or points to
// (jwk, jku, x5c, x5u) are deliberately not here.
type Header struct {
	Type      string // typ, "" if absent
	Algorithm string // alg, never empty
	KeyID     string // kid, "" if absent; at most MaxKeyID bytes
	Others    bool   // there are members besides these
}

// ErrCritical means that a header has crit or b64: no extension is understood (RFC 7515 §4.1.11, RFC 7797 §3).
var ErrCritical = errors.New("crit or b64: no extension is understood")

// ParseHeader reads a decoded header: strict JSON (CheckJSON), with alg. It refuses members of the wrong type, and
// what ErrCritical is about.
func ParseHeader(header []byte) (Header, error) {
	var h Header
	err := Members(header, func(name string, value []byte) error {
		switch name {
		case "typ":
			return readString(&h.Type, value)
		case "alg":
			return readString(&h.Algorithm, value)
		case "kid":
			return readString(&h.KeyID, value)
		case "crit", "b64":
			return ErrCritical
		}
		h.Others = true
		return nil
	})
	switch {
	case err != nil:
		return Header{}, refuse(ReasonMalformed, err)
	case h.Algorithm == "":
		return Header{}, refuse(ReasonAlgorithm, errors.New("alg is absent"))
	case len(h.KeyID) > MaxKeyID:
		return Header{}, refuse(ReasonKey, errors.New("kid is longer than 256 bytes"))
	}
	return h, nil
}

// IsAccessToken reports whether typ says so: at+jwt or application/at+jwt in any case (RFC 9068 §4, RFC 7515 §4.1.9).
func (h Header) IsAccessToken() bool {
	return strings.EqualFold(h.Type, Type) || strings.EqualFold(h.Type, "application/"+Type)
}
