package vault

import (
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
)

// Names of the fields of a value. Plain is that of a value which has one field alone.
const (
	Plain        = "value"
	Username     = "username"
	Password     = "password"
	AccessKeyID  = "access_key_id"
	SecretKey    = "secret_access_key"
	SessionToken = "session_token"
	ClientID     = "client_id"
	ClientSecret = "client_secret"
	Certificate  = "certificate" // PEM, the leaf first
	PrivateKey   = "key"         // PEM
)

// public are the fields that are no secret by themselves.
var public = []string{Username, AccessKeyID, ClientID, Certificate}

// Value is an opened secret. The zero value, and nil, hold nothing. No form of printing shows anything of it; its
// fields are reached by Field and Fields alone.
type Value struct {
	fields map[string]string
}

// NewValue returns a value of some fields.
func NewValue(fields map[string]string) *Value { return &Value{maps.Clone(fields)} }

// Field returns one field, or "".
func (v *Value) Field(name string) string {
	if v == nil {
		return ""
	}
	return v.fields[name]
}

// Fields yields all fields, by name.
func (v *Value) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if v == nil {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(v.fields)) {
			if !yield(name, v.fields[name]) {
				return
			}
		}
	}
}

// Secrets yields the fields that must not be seen, by name: all but names of users, of keys and of clients, and
// certificates.
func (v *Value) Secrets() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, text := range v.Fields() {
			if !slices.Contains(public, name) && !yield(name, text) {
				return
			}
		}
	}
}

const hidden = "[secret]"

// String shows nothing of the value.
func (*Value) String() string { return hidden }

// Format shows nothing of the value, whatever the verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalJSON shows nothing of the value.
func (Value) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// MarshalText shows nothing of the value.
func (Value) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue shows nothing of the value.
func (Value) LogValue() slog.Value { return slog.StringValue(hidden) }
