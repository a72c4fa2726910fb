// Package scrub finds secret values in what an upstream answers, in every encoding in which an upstream is likely to
// repeat them, and masks them.
//
// What is found: a value as it is; in base64, standard or for URLs, wherever it lies in what was encoded; in hex of
// either case; and each of these with some or all of its characters written as percent escapes, as escapes of JSON and
// of program text, or as HTML entities, up to three deep; and broken over lines, those of an event stream among them.
// What is masked keeps its length.
//
// What is not found: a value that was encrypted, compressed, reversed, hashed, encoded twice over in base64, sent in
// pieces, or otherwise turned into something else. An upstream that wants to give its own key away cannot be kept from
// it by looking.
package scrub

import (
	"math"
	"sync"
)

// Shortest is the length in bytes from which a value is searched for. A shorter one would be found in text that has
// nothing to do with it: of those, headers are cleaned, and nothing else.
const Shortest = 8

// Scrubber knows the values to find. It is immutable and safe for concurrent use. A nil Scrubber finds nothing.
type Scrubber struct {
	machine machine
	folded  func() *machine // of the same forms in lower case, for the names of headers
	least   int             // length of the shortest form
	short   []string        // values below Shortest
	also    *Scrubber       // looks for further values
	cuts    func()          // see Cuts
}

// New prepares to find values. It returns nil if there is none, and takes about the time of a hundred lookups for each
// byte of them: keep what it returns.
func New(values ...string) *Scrubber {
	s := &Scrubber{least: math.MaxInt}
	var forms []form
	for _, value := range values {
		switch {
		case len(value) >= Shortest:
			forms = append(forms, formsOf(value)...)
		case value != "":
			s.short = append(s.short, value)
		}
	}
	if len(forms) == 0 && len(s.short) == 0 {
		return nil
	}
	for _, f := range forms {
		s.least = min(s.least, len(f.text))
	}
	s.machine = build(forms)
	s.folded = sync.OnceValue(func() *machine {
		folded := build(inLowerCase(forms))
		return &folded
	})
	return s
}

// With returns a scrubber that finds further values as well, for a moment: it takes no longer to make than New of them
// does, and longer to search.
func (s *Scrubber) With(values ...string) *Scrubber {
	if len(values) == 0 {
		return s
	}
	more := New(values...)
	if more == nil {
		return s
	}
	more.also = s
	return more
}

// Cuts returns a scrubber that also tells of each value of which only the beginning stood at the end of a text. Masking
// that keeps what was cut off from being seen; and it tells whoever can have text of theirs repeated there that it was
// the beginning of a value. So it must not be allowed often.
func (s *Scrubber) Cuts(tell func()) *Scrubber {
	if s == nil {
		return nil
	}
	told := *s
	told.cuts, told.also = tell, s.also.Cuts(tell)
	return &told
}

// Mask masks the values in b, which is a whole: a value that its end cuts short is masked as well. It returns how often
// it did.
func (s *Scrubber) Mask(b []byte) (hits int) {
	for ; s != nil; s = s.also {
		hits += s.machine.mask(b, s.cuts)
	}
	return hits
}

// String returns text with the values in it masked, and how often it did that.
func (s *Scrubber) String(text string) (masked string, hits int) {
	for ; s != nil; s = s.also {
		n := 0
		text, n = s.machine.maskString(text, s.cuts)
		hits += n
	}
	return text, hits
}

func (m *machine) mask(b []byte, cuts func()) (hits int) {
	e := search{m: m, cuts: cuts}
	e.run(b, true)
	return e.hits
}

func (m *machine) maskString(text string, cuts func()) (masked string, hits int) {
	var room [512]byte // on the stack; nearly every header is shorter
	b := append(room[:0], text...)
	if hits = m.mask(b, cuts); hits == 0 {
		return text, 0
	}
	return string(b), hits
}
