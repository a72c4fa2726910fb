package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ErrUnknownKey is what Verifier.Keys returns for a kid that the issuer does not publish.
var ErrUnknownKey = errors.New("unknown key")

// Verifier checks access tokens where they are used, without asking anybody. Its zero value refuses.
type Verifier struct {
	// Issuer is the one accepted iss, compared byte by byte. Required.
	Issuer string
	// Audience is the one accepted aud: the resource URI of the tool. Required.
	Audience string
	// Keys returns the issuer's key of that kid, such as KeySet does. For a kid that the issuer does not publish the
	// error is ErrUnknownKey; every other error means that nobody could tell. Required.
	Keys func(ctx context.Context, kid string) (jose.JSONWebKey, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Leeway is how far the issuer's clock may differ, 0 to MaxLeeway. 0 unless there is a reason.
	Leeway time.Duration
	// ProofChecked says that the caller itself checks that the sender holds the key which cnf names (RFC 7800 §3.1).
	// Without it a token with cnf is refused: it would be taken from anybody who found it.
	ProofChecked bool
}

// Verify checks a token in the order of RFC 9068 §4: canonical form, typ, alg, iss, aud, key, signature, time; then
// that it is not bound to a key that nobody checks. It returns the claims of a token that this issuer signed for this
// audience and that has not expired.
//
// Left to the caller, in this order: whether the token is revoked, the proof that ProofChecked promises where the
// claims have a Confirmation, and whether Scope covers the request.
//
// A token that is refused gives an *Error. Any other error means that no answer was possible: the verifier is
// incomplete, or Keys failed; nothing may be let through then either.
func (v Verifier) Verify(ctx context.Context, compact string) (Claims, error) {
	if v.Issuer == "" || v.Audience == "" || v.Keys == nil || v.Leeway < 0 || v.Leeway > MaxLeeway {
		return Claims{}, errors.New("verify token: verifier needs Issuer, Audience, Keys and a leeway of 0 to 60 s")
	}
	header, payload, err := Split(compact)
	if err != nil {
		return Claims{}, err
	}
	h, err := ParseHeader(header)
	if err != nil {
		return Claims{}, err
	}
	if !h.IsAccessToken() {
		return Claims{}, refuse(ReasonType, nil)
	}
	if !slices.Contains(algorithms, jose.SignatureAlgorithm(h.Algorithm)) {
		return Claims{}, refuse(ReasonAlgorithm, nil)
	}
	c, err := Parse(payload)
	switch {
	case err != nil:
		return Claims{}, err
	case c.Issuer != v.Issuer:
		return Claims{}, refuse(ReasonIssuer, nil)
	case c.Audience != v.Audience:
		return Claims{}, refuse(ReasonAudience, nil)
	}
	if err := v.checkSignature(ctx, h, compact); err != nil {
		return Claims{}, err
	}
	if err := v.checkTime(c); err != nil {
		return Claims{}, err
	}
	if len(c.Confirmation) > 0 && !v.ProofChecked {
		return Claims{}, refuse(ReasonBound, nil)
	}
	return c, nil
}

func (v Verifier) checkSignature(ctx context.Context, h Header, compact string) error {
	if h.KeyID == "" {
		return refuse(ReasonKey, errors.New("kid is absent"))
	}
	key, err := v.Keys(ctx, h.KeyID)
	if errors.Is(err, ErrUnknownKey) {
		return refuse(ReasonKey, err)
	}
	if err != nil {
		return fmt.Errorf("verify token: find key: %w", err)
	}
	return CheckSignature(compact, h, key)
}

func (v Verifier) checkTime(c Claims) error {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	moment := now()
	if !moment.Before(time.Unix(c.Expiry, 0).Add(v.Leeway)) {
		return refuse(ReasonExpired, nil)
	}
	// The issuer never dates ahead, so this is the difference of two clocks. It is granted without being asked for,
	// because a fresh token must not fail for it, and a longer life is not gained by it.
	if time.Unix(c.IssuedAt, 0).After(moment.Add(MaxAhead)) {
		return refuse(ReasonFuture, nil)
	}
	return nil
}
