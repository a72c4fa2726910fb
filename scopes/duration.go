package scopes

import (
	"errors"
	"strings"
	"time"
)

// MaxLife bounds the life of every access token, from iat to exp. Nobody can be given more, whatever a policy says.
const MaxLife = 15 * time.Minute

// Duration is written as Go writes durations, such as "90s" or "2m". The zero value is no time at all.
type Duration time.Duration

// String returns the duration without its zero units: "2m", not "2m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}

// MarshalText writes what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads. The error does not repeat it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("a duration is a number and a unit, such as 90s or 2m")
	}
	*d = Duration(v)
	return nil
}
