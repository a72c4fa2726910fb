package exchange

import (
	"fmt"
	"log/slog"
)

// What holds a token says so and nothing else, whoever prints, logs or encodes it.
const redacted = "[redacted]"

// Format hides the tokens from every verb of package fmt.
func (Request) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the tokens from package slog.
func (Request) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the tokens from whatever encodes them.
func (Request) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format hides the token from every verb of package fmt.
func (Question) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the token from package slog.
func (Question) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the token from whatever encodes it.
func (Question) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format hides the token from every verb of package fmt.
func (Result) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the token from package slog.
func (Result) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the token from whatever encodes it.
func (Result) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format hides what the attempt holds from every verb of package fmt.
func (*Attempt) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what the attempt holds from package slog.
func (*Attempt) LogValue() slog.Value { return slog.StringValue(redacted) }
