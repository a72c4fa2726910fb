package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxGlob bounds a pattern, in bytes; the longest SPIFFE ID has as many.
const MaxGlob = 2048

// CheckGlob reports why pattern is not one.
func CheckGlob(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("is empty; * stands for any one segment")
	case len(pattern) > MaxGlob:
		return fmt.Errorf("has %d bytes; at most %d are allowed", len(pattern), MaxGlob)
	case !utf8.ValidString(pattern):
		return errors.New("is not UTF-8")
	case strings.Contains(pattern, "**"):
		return errors.New("holds **; one * stands for a whole segment and never crosses / or :, so write each segment")
	case strings.ContainsFunc(pattern, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("holds a character that is not printable")
	}
	return nil
}

// Glob reports whether pattern describes all of s. A * stands for one or more printable characters other than / and :,
// so it stays within a segment of a path, a URI or a colon-separated name; every other character stands for itself, in
// its own case. So "*" is any s of one segment. A pattern that CheckGlob refuses describes nothing, and nothing
// describes an s that is not UTF-8. The time is linear in the lengths.
func Glob(pattern, s string) bool {
	if CheckGlob(pattern) != nil || !utf8.ValidString(s) {
		return false
	}
	literals := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(s, literals[0])
	if !ok || len(literals) == 1 {
		return ok && rest == ""
	}
	// Each * ends at the first place where what follows it begins: a literal that holds / or : has no second place
	// that the * could reach, and one without them leaves the next * no less room by coming early.
	last := len(literals) - 1
	for _, literal := range literals[1:last] {
		_, first := utf8.DecodeRuneInString(rest)
		i := strings.Index(rest[first:], literal)
		if i < 0 || !isSegment(rest[:first+i]) {
			return false
		}
		rest = rest[first+i+len(literal):]
	}
	tail, ok := strings.CutSuffix(rest, literals[last])
	return ok && isSegment(tail)
}

// isSegment reports whether a * may stand for s.
func isSegment(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == ':' || !unicode.IsPrint(r) })
}
