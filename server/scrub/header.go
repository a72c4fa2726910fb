package scrub

import (
	"net/http"
	"strings"
)

// Header masks the values in all fields of h, which may be a trailer, and drops those whose name has one: a name that
// was changed would be another field. It returns how often it did either. A name with the beginning of an escape is
// dropped in any case: its letters have lost their case, and with it what they were.
func (s *Scrubber) Header(h http.Header) (hits int) {
	for ; s != nil; s = s.also {
		hits += s.header(h)
	}
	return hits
}

func (s *Scrubber) header(h http.Header) (hits int) {
	for name, values := range h {
		if n := s.inName(name); n > 0 || strings.ContainsAny(name, "%&") {
			delete(h, name)
			hits += n
			continue
		}
		for i, value := range values {
			masked, n := s.field(value)
			values[i] = masked
			hits += n
		}
	}
	return hits
}

// inName returns how often a name has a value. Names have no case (RFC 9110 §5.1): they lose it on their way.
func (s *Scrubber) inName(name string) (hits int) {
	for _, short := range s.short {
		if strings.EqualFold(name, short) {
			hits++
		}
	}
	if len(name) < s.least { // no escape makes a form shorter
		return hits
	}
	_, n := s.folded().maskString(strings.ToLower(name), s.cuts)
	return hits + n
}

// field masks the content of a field. Of a value that is too short to be searched for, whole words are.
func (s *Scrubber) field(content string) (masked string, hits int) {
	masked, hits = s.machine.maskString(content, s.cuts)
	if strings.Contains(content, " ") {
		// A field that was folded has a blank in the place of each line break (RFC 9112 §5.2).
		if folded, n := s.machine.maskString(strings.ReplaceAll(masked, " ", "\n"), s.cuts); n > 0 {
			masked, hits = strings.ReplaceAll(folded, "\n", " "), hits+n
		}
	}
	for _, short := range s.short {
		for from := 0; ; {
			i := strings.Index(masked[from:], short)
			if i < 0 {
				break
			}
			start, end := from+i, from+i+len(short)
			if from = start + 1; inWord(masked, start-1) || inWord(masked, end) {
				continue
			}
			masked = masked[:start] + strings.Repeat("*", len(short)) + masked[end:]
			from = end
			hits++
		}
	}
	return masked, hits
}

func inWord(text string, i int) bool {
	return i >= 0 && i < len(text) && (isAlphanumeric(text[i]) || text[i] == '_' || text[i] >= 0x80)
}
