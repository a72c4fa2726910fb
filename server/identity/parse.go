package identity

import (
	"bytes"
	"encoding/json"
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
	plain   bool // the header holds nothing but alg, kid and typ
	payload []byte
}

// open takes a compact JWS apart. Duplicate members and other spellings of the same token are refused.
func open(compact string) (*opened, error) {
	header, payload, err := token.Canonical(compact)
	if err != nil {
		return nil, refuse(reasonNotCanonical, err)
	}
	t := &opened{plain: true, payload: payload}
	critical := false
	err = token.Members(header, func(name string, _ []byte) error {
		switch name {
		case "alg", "kid", "typ":
		case "crit", "b64":
			critical = true
		default:
			t.plain = false
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, refuse(reasonMalformed, err)
	case critical:
		return nil, refuse(reasonCritical, nil)
	}
	t.header, err = token.ParseHeader(header)
	if e, ok := errors.AsType[*token.Error](err); ok {
		return nil, refuse(headerReasons[e.Reason], err)
	}
	if err != nil {
		return nil, refuse(reasonMalformed, err)
	}
	return t, nil
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
	c := new(claims)
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if err := dec.Decode(&c.all); err != nil {
		return nil, refuse(reasonMalformed, err)
	}
	for name, value := range c.all {
		exactly, err := exact(value)
		if err != nil {
			return nil, refuse(reasonMalformed, err)
		}
		c.all[name] = exactly
	}
	var ok bool
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
	for name, date := range map[string]*time.Time{"exp": &c.exp, "iat": &c.iat, "nbf": &c.nbf} {
		if *date, ok = c.date(name, now); !ok {
			return nil, refuse(reasonDate, errors.New(name))
		}
	}
	if c.exp.IsZero() {
		return nil, refuse(reasonDate, errors.New("no exp"))
	}
	return c, nil
}

// exact gives every number within value its Go type: int64 if it is whole and fits, else float64. Two ids that differ
// in their last digit must not become one, as they would be if all numbers were float64.
func exact(value any) (_ any, err error) {
	switch v := value.(type) {
	case json.Number:
		if whole, err := v.Int64(); err == nil {
			return whole, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = exact(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = exact(v[name]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
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
