package scopes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Scope is one action at one tool; on the wire "tool:action". The zero Scope is not valid and is covered by nothing.
type Scope struct {
	Tool   string // a slug
	Action string // dotted slugs
}

// String returns the wire form.
func (s Scope) String() string { return s.Tool + ":" + s.Action }

func (s Scope) compare(t Scope) int {
	if c := strings.Compare(s.Tool, t.Tool); c != 0 {
		return c
	}
	return strings.Compare(s.Action, t.Action)
}

// Parse reads one scope in wire form.
func Parse(s string) (Scope, error) {
	tool, action, ok := strings.Cut(s, ":")
	if !ok || CheckSlug(tool) != nil || CheckAction(action) != nil {
		return Scope{}, errors.New("a scope is written tool:action, such as payments:refunds.read")
	}
	return Scope{tool, action}, nil
}

// MaxRequested bounds the scopes of one request.
const MaxRequested = 64

// Words splits a scope parameter (RFC 6749 §3.3): tokens of %x21 / %x23-5B / %x5D-7E separated by single spaces.
// Order and repetition mean nothing; repeated words are dropped. An empty parameter has no words.
func Words(param string) ([]string, error) {
	if param == "" {
		return nil, nil
	}
	// Counted before they are split, so that a long parameter costs no more than reading it.
	if n := strings.Count(param, " ") + 1; n > MaxRequested {
		return nil, fmt.Errorf("scope names %d scopes; at most %d are allowed", n, MaxRequested)
	}
	words := strings.Split(param, " ")
	for _, w := range words {
		if w == "" {
			return nil, errors.New("scope words must be separated by single spaces")
		}
		for i := range len(w) {
			if c := w[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
				return nil, errors.New("scope holds a character that RFC 6749 section 3.3 does not allow")
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}
