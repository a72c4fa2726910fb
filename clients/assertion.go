package clients

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/fault"
)

const (
	// MaxAssertionLife bounds how far ahead a client may date the exp of its assertion.
	MaxAssertionLife = time.Hour
	// ReplayMargin is how much longer than its exp something stays used up: the clocks of our processes, by which exp is
	// judged, differ by less.
	ReplayMargin = time.Minute

	maxJTI  = 256          // bytes
	maxDate = 253402300799 // the last second of the year 9999
)

// assertion is a client_assertion that is one canonical compact JWS. Nothing in it is verified.
type assertion struct {
	compact         string
	header, payload []byte // strict JSON objects
	issuer, subject string // "" where absent or not a string
}

// peek reads of an assertion what says by whose rules it is to be verified.
func peek(compact string) (assertion, error) {
	x := assertion{compact: compact}
	var err error
	if x.header, x.payload, err = token.Canonical(compact); err != nil {
		return assertion{}, refuse(ReasonAssertionMalformed, err)
	}
	err = token.Members(x.payload, func(name string, value []byte) error {
		switch name {
		case "iss":
			_ = json.Unmarshal(value, &x.issuer) // whatever is not a string names nobody
		case "sub":
			_ = json.Unmarshal(value, &x.subject)
		}
		return nil
	})
	if err != nil {
		return assertion{}, refuse(ReasonAssertionMalformed, err)
	}
	return x, nil
}

// privateKeyJWT checks an assertion that names itself as the client e (RFC 7523 §3, with the single audience of
// draft-ietf-oauth-rfc7523bis). The jti is used up last, so that an assertion which fails for any other reason, such as
// being meant for another server, does not spend it.
func (a Authenticator[P]) privateKeyJWT(ctx context.Context, c Credentials, e *entry, x assertion) (Proof[P], error) {
	now := a.Now()
	header, err := x.readHeader()
	if err != nil {
		return Proof[P]{}, err
	}
	own, err := x.readClaims()
	if err != nil {
		return Proof[P]{}, err
	}
	if err := own.check(a.Issuer, now); err != nil {
		return Proof[P]{}, err
	}
	if err := a.checkSignature(ctx, e, x, header); err != nil {
		return Proof[P]{}, err
	}
	if err := a.admit(c, &e.client, MethodPrivateKeyJWT); err != nil {
		return Proof[P]{}, err
	}
	fresh, err := a.Claims.Claim(ctx, a.Tenant, replayKey(e.client.ID, own.id), own.expiry.Add(ReplayMargin))
	switch {
	case err != nil:
		return Proof[P]{}, fault.As(fmt.Errorf("claim assertion: %w", err))
	case !fresh:
		return Proof[P]{}, Replayed()
	}
	return Proof[P]{Method: MethodPrivateKeyJWT, JTI: own.id}, nil
}

// replayKey names a jti of one client. Clients choose their jti freely, hence the hash: the key has no length and no
// characters of theirs, and is the key of one (client, jti) only.
func replayKey(client, jti string) string {
	sum := sha256.Sum256([]byte(jti))
	return "client_assertion:" + client + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (a Authenticator[P]) checkSignature(ctx context.Context, e *entry, x assertion, h token.Header) error {
	auth := e.client.Auth
	if auth.JWKSURI == "" {
		return e.keys.verify(x.compact, h)
	}
	if err := a.Keys.VerifySignature(ctx, auth.JWKSURI, auth.Network.AllowPrivate, x.compact); err != nil {
		return judge(ReasonAssertionSignature, err)
	}
	return nil
}

// readHeader refuses headers that bring their own keys: the keys are the registered ones, and a signer that sends
// others expects them to count. Other kinds of JWT, such as access tokens, say what they are in typ (RFC 8725 §3.12).
func (x assertion) readHeader() (token.Header, error) {
	h, err := token.ParseHeader(x.header)
	if err != nil {
		return token.Header{}, refuse(ReasonAssertionHeader, err)
	}
	typ := h.Type == "" || strings.EqualFold(h.Type, "JWT") || strings.EqualFold(h.Type, "client-authentication+jwt")
	if !typ || !slices.Contains(token.Algorithms(), h.Algorithm) {
		return token.Header{}, refuse(ReasonAssertionHeader, nil)
	}
	err = token.Members(x.header, func(name string, _ []byte) error {
		switch name {
		case "jwk", "jku", "x5c", "x5u":
			return errors.New("header holds " + name)
		}
		return nil
	})
	if err != nil {
		return token.Header{}, refuse(ReasonAssertionHeader, err)
	}
	return h, nil
}

// ownClaims are the claims of a private_key_jwt assertion, beyond iss and sub. Absent dates are zero.
type ownClaims struct {
	audience                    string
	id                          string
	expiry, issuedAt, notBefore time.Time
}

func (x assertion) readClaims() (ownClaims, error) {
	var own ownClaims
	err := token.Members(x.payload, func(name string, value []byte) error {
		switch name {
		case "aud":
			return readAudience(&own.audience, value)
		case "jti":
			return readString(&own.id, value)
		case "exp":
			return readDate(&own.expiry, value)
		case "iat":
			return readDate(&own.issuedAt, value)
		case "nbf":
			return readDate(&own.notBefore, value)
		}
		return nil
	})
	if err != nil {
		return ownClaims{}, refuse(ReasonAssertionMalformed, err)
	}
	return own, nil
}

func (own ownClaims) check(issuer string, now time.Time) error {
	switch latest := now.Add(token.MaxAhead); {
	case own.audience == "" || own.audience != issuer:
		return refuse(ReasonAssertionAudience, nil)
	case own.expiry.IsZero():
		return refuse(ReasonAssertionLifetime, nil)
	case !now.Before(own.expiry):
		return refuse(ReasonAssertionExpired, nil)
	case own.expiry.Sub(now) > MaxAssertionLife:
		return refuse(ReasonAssertionLifetime, nil)
	case own.issuedAt.After(latest) || own.notBefore.After(latest):
		return refuse(ReasonAssertionFuture, nil)
	case own.id == "" || len(own.id) > maxJTI:
		return refuse(ReasonAssertionID, nil)
	}
	return nil
}

var errType = errors.New("a claim is of the wrong type")

func readString(to *string, value []byte) error {
	if value[0] != '"' || json.Unmarshal(value, to) != nil {
		return errType
	}
	return nil
}

// readAudience leaves the audience empty, which nobody is, where it is several or none.
func readAudience(to *string, value []byte) error {
	if value[0] == '"' {
		return readString(to, value)
	}
	var all []json.RawMessage
	if value[0] != '[' || json.Unmarshal(value, &all) != nil {
		return errType
	}
	if len(all) != 1 {
		return nil
	}
	return readString(to, all[0])
}

// readDate reads a NumericDate, which may have a fraction (RFC 7519 §2).
func readDate(to *time.Time, value []byte) error {
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(0 < seconds && seconds <= maxDate) {
		return errType
	}
	*to = time.UnixMilli(int64(seconds * 1000))
	return nil
}
