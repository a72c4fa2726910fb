// Package leak looks for keys where none may be. It does not know how the shim masks them: it undoes every encoding
// that it knows, wherever it can be undone, and looks at what comes out. A part of a key that is long enough to be of
// use is found as well.
package leak

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fragment is the number of bytes of a key that is a leak.
const fragment = 12

// Oracle looks for some keys. It is immutable, and may be used by any goroutine.
type Oracle struct {
	keys     []string
	parts    [][]byte // of the keys, forwards and backwards; each a leak
	patterns []pattern
}

// pattern is a text that stands for a key whatever is around it.
type pattern struct {
	form string
	text []byte
}

// Of returns an Oracle for keys, each of at least eight bytes.
func Of(keys ...string) *Oracle {
	o := &Oracle{keys: keys}
	for i, key := range keys {
		if len(key) < 8 {
			panic(fmt.Sprintf("key %d is too short to be looked for", i))
		}
		for _, text := range [][]byte{[]byte(key), backwards(key)} {
			n := min(fragment, len(text))
			for at := range len(text) - n + 1 {
				o.parts = append(o.parts, text[at:at+n])
			}
		}
		o.patterns = append(o.patterns, patternsOf(key)...)
	}
	return o
}

func backwards(text string) []byte {
	b := []byte(text)
	slices.Reverse(b)
	return b
}

// Finding is a leak.
type Finding struct {
	Form string // how the key is written
	At   int    // where it begins, in what is left when the encodings are undone
	Near string // what stands before it, and the key's length of stars
}

func (f Finding) String() string { return fmt.Sprintf("%s at %d, after %q", f.Form, f.At, f.Near) }

// Find returns what holds a key or a part of one, under any encodings that are known, one in another.
func (o *Oracle) Find(content []byte) (found []Finding) {
	for _, v := range views(content) {
		for _, part := range o.parts {
			if i := bytes.Index(v.content, part); i >= 0 {
				near := string(v.content[max(0, i-40):i]) + strings.Repeat("*", len(part))
				found = append(found, Finding{v.form, i, near})
				break // one of each view is enough
			}
		}
	}
	return found
}

// Scan is Find for content that is too large for it: it looks for whole keys, and their halves, in one encoding each.
func (o *Oracle) Scan(content []byte) (found []Finding) {
	for _, p := range o.patterns {
		if i := bytes.Index(content, p.text); i >= 0 {
			found = append(found, Finding{p.form, i, string(content[max(0, i-40):i]) + "***"})
		}
	}
	return found
}

// large is the size, in bytes, from which the views of a content would take too much memory.
const large = 4 << 20

// Check fails the test if content holds a key. It is searched by Find, or by Scan if it is large.
func (o *Oracle) Check(t testing.TB, what string, content []byte) {
	t.Helper()
	find := o.Find
	if len(content) > large {
		find = o.Scan
	}
	if found := find(content); len(found) > 0 {
		t.Errorf("%s holds a key: %s; %d findings", what, found[0], len(found))
	}
}
