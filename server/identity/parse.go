package identity

import (
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/clients/token"
)

// Bounds of claims, in bytes.
const (
	maxClaim = 2048 // iss, sub, and a value of aud
	maxJTI   = 1024
)

// century bounds how far a date may lie from now; beyond it arithmetic with times is not to be trusted.
const century = 100 * 365 * 24 * time.Hour

// opened is a token taken apart. Nothing of it is to be believed yet.
type opened struct {
	header  token.Header
	payload []byte // not read yet
}

// open takes a compact JWS apart. Other spellings of the same token are refused.
func open(compact string) (opened, error) {
	header, payload, err := token.Split(compact)
	if err == nil {
		err = token.CheckJSON(header)
	}
	if err != nil {
		return opened{}, refuse(reasonNotCanonical, err)
	}
	h, err := token.ParseHeader(header)
	if errors.Is(err, token.ErrCritical) {
		return opened{}, refuse(reasonCritical, nil)
	}
	if e, ok := errors.AsType[*token.Error](err); ok {
		return opened{}, refuse(headerReasons[e.Reason], err)
	}
	return opened{h, payload}, err
}

var headerReasons = map[string]string{
	token.ReasonMalformed: reasonMalformed,
	token.ReasonAlgorithm: reasonAlgorithm,
	token.ReasonKey:       reasonKeyUnknown,
}

// claims are the registered claims of a payload (RFC 7519 §4.1), each of the right type, and the whole payload beside.
type claims struct {
	all           map[string]any
	iss, sub, jti string
	aud           []string
	exp           time.Time
	iat, nbf      time.Time // zero if absent
}

// parseClaims reads a payload. It judges form only; now is what dates are plausible against.
func parseClaims(payload []byte, now time.Time) (*claims, error) {
	all, err := token.Object(payload)
	switch {
	case errors.Is(err, token.ErrNumber):
		return nil, refuse(reasonMalformed, err)
	case err != nil:
		return nil, refuse(reasonNotCanonical, err)
	}
	c, ok := &claims{all: all}, false
	if c.iss, ok = c.text("iss", maxClaim); !ok {
		return nil, refuse(reasonMalformed, errors.New("iss"))
	}
	if c.sub, ok = c.text("sub", maxClaim); !ok || c.sub == "" {
		return nil, refuse(reasonSubject, nil)
	}
	if c.jti, ok = c.text("jti", maxJTI); !ok {
		return nil, refuse(reasonJTI, nil)
	}
	if c.aud, ok = audience(c.all["aud"]); !ok {
		return nil, refuse(reasonAudience, errors.New("aud is absent or neither a string nor a list of strings"))
	}
	if c.exp, ok = c.date("exp", now); !ok || c.exp.IsZero() {
		return nil, refuse(reasonDate, errors.New("exp"))
	}
	if c.iat, ok = c.date("iat", now); !ok {
		return nil, refuse(reasonDate, errors.New("iat"))
	}
	if c.nbf, ok = c.date("nbf", now); !ok {
		return nil, refuse(reasonDate, errors.New("nbf"))
	}
	if !c.isOpenID() {
		return nil, refuse(reasonMalformed, errors.New("nonce, at_hash, _claim_names or _claim_sources"))
	}
	return c, nil
}

// text returns a claim that is absent, or a string of 1 to limit bytes without control characters.
func (c *claims) text(name string, limit int) (string, bool) {
	value, present := c.all[name]
	s, ok := value.(string)
	return s, !present || ok && isText(s, limit)
}

// isText reports whether s has 1 to limit bytes of UTF-8 and no control characters.
func isText(s string, limit int) bool {
	return s != "" && len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isOpenID reports whether the claims that OpenID Connect Core 1.0 adds to RFC 7519 are of its types, and whether of
// those that are elsewhere (§5.6.2) it is said where. Nothing here rests on them: but no provider writes others.
func (c *claims) isOpenID() bool {
	for _, name := range []string{"nonce", "at_hash"} {
		if _, ok := c.all[name].(string); !ok && c.all[name] != nil {
			return false
		}
	}
	names, okNames := c.all["_claim_names"].(map[string]any)
	sources, okSources := c.all["_claim_sources"].(map[string]any)
	for _, source := range names {
		where, ok := source.(string)
		if _, said := sources[where].(map[string]any); !ok || !said {
			return false
		}
	}
	return (okNames || c.all["_claim_names"] == nil) && (okSources || c.all["_claim_sources"] == nil)
}

// audience returns aud, a string or a list of them (RFC 7519 §4.1.3).
func audience(value any) ([]string, bool) {
	if one, ok := value.(string); ok {
		return []string{one}, true
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	all := make([]string, len(list))
	for i, value := range list {
		if all[i], ok = value.(string); !ok {
			return nil, false
		}
	}
	return all, true
}

// date returns a claim that is absent, or a number of seconds within a century of now (RFC 7519 §2, NumericDate). A
// fraction is dropped, which ends a token early rather than late.
func (c *claims) date(name string, now time.Time) (time.Time, bool) {
	value, present := c.all[name]
	if !present {
		return time.Time{}, true
	}
	var seconds float64
	switch v := value.(type) {
	case int64:
		seconds = float64(v)
	case float64:
		seconds = v
	default:
		return time.Time{}, false
	}
	if !(seconds >= 0) || math.Abs(seconds-float64(now.Unix())) > century.Seconds() {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
