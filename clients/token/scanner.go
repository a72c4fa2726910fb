package token

import (
	"bytes"
	"encoding/json"
)

// scanner reads valid UTF-8. Each method starts at the first byte of what it reads and stops behind its last.
type scanner struct {
	data []byte
	pos  int
}

// next skips white space and returns the byte that follows, without passing it; 0 at the end.
func (s *scanner) next() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// byte returns the current byte; 0 at the end.
func (s *scanner) byte() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// document reads one object and nothing behind it. member is called for each of its members, and reads the value.
func (s *scanner) document(member func(name []byte) error) error {
	if s.next() != '{' {
		return errObject
	}
	if err := s.object(1, member); err != nil {
		return err
	}
	if s.next() != 0 || s.pos < len(s.data) {
		return errSyntax
	}
	return nil
}

// value passes a value.
func (s *scanner) value(depth int) error {
	switch c := s.next(); {
	case c == '{':
		return s.object(depth+1, func([]byte) error { return s.value(depth + 1) })
	case c == '[':
		return s.array(depth+1, func() error { return s.value(depth + 1) })
	case c == '"':
		return s.string()
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return errSyntax
}

// object passes an object; member is called where each value begins, and passes it.
func (s *scanner) object(depth int, member func(name []byte) error) error {
	if depth > MaxDepth {
		return errDepth
	}
	var seen names
	s.pos++
	if s.next() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.next() != '"' {
			return errSyntax
		}
		start := s.pos
		if err := s.string(); err != nil {
			return err
		}
		name := unquote(s.data[start:s.pos])
		if !seen.add(name) {
			return errDuplicate
		}
		if s.next() != ':' {
			return errSyntax
		}
		s.pos++
		s.next()
		if err := member(name); err != nil {
			return err
		}
		if more, err := s.more('}'); !more {
			return err
		}
	}
}

// array passes an array; element is called where each one begins, and passes it.
func (s *scanner) array(depth int, element func() error) error {
	if depth > MaxDepth {
		return errDepth
	}
	s.pos++
	if s.next() == ']' {
		s.pos++
		return nil
	}
	for {
		s.next()
		if err := element(); err != nil {
			return err
		}
		if more, err := s.more(']'); !more {
			return err
		}
	}
}

// more passes the comma before another element, or the closing byte.
func (s *scanner) more(closing byte) (bool, error) {
	c := s.next()
	if c != ',' && c != closing {
		return false, errSyntax
	}
	s.pos++
	return c == ',', nil
}

func (s *scanner) string() error {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < 0x20:
			return errSyntax
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return errSyntax
}

// escape stops at the last byte of the escape sequence, or of the surrogate pair that it begins.
func (s *scanner) escape() error {
	s.pos++
	if s.byte() != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), s.byte()) < 0 {
			return errSyntax
		}
		return nil
	}
	r, ok := s.hex()
	switch {
	case !ok || 0xdc00 <= r && r < 0xe000:
		return errSyntax
	case r < 0xd800 || r >= 0xe000:
		return nil
	}
	if !bytes.HasPrefix(s.data[s.pos+1:], []byte(`\u`)) {
		return errSyntax
	}
	s.pos += 2
	if low, ok := s.hex(); !ok || low < 0xdc00 || low >= 0xe000 {
		return errSyntax
	}
	return nil
}

// hex reads the four digits behind the current 'u' and stops at the last.
func (s *scanner) hex() (r rune, ok bool) {
	for range 4 {
		s.pos++
		c := s.byte()
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (s *scanner) number() error {
	if s.byte() == '-' {
		s.pos++
	}
	if s.byte() == '0' {
		s.pos++
	} else if !s.digits() {
		return errSyntax
	}
	if s.byte() == '.' {
		s.pos++
		if !s.digits() {
			return errSyntax
		}
	}
	if s.byte()|0x20 == 'e' {
		s.pos++
		if c := s.byte(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.byte()) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unquote returns the text of a checked JSON string; it aliases quoted where nothing is escaped.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it is a checked string
	return []byte(text)
}

// names are the members of one object. The few that a token has are compared one by one; beyond them a map keeps a
// hostile document from costing quadratic time.
type names struct {
	few  [16][]byte
	n    int
	many map[string]struct{}
}

func (s *names) add(name []byte) bool {
	for _, other := range s.few[:s.n] {
		if bytes.Equal(other, name) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if _, ok := s.many[string(name)]; ok {
		return false
	}
	if s.many == nil {
		s.many = make(map[string]struct{})
	}
	s.many[string(name)] = struct{}{}
	return true
}
