package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of objects and arrays in strict JSON.
const MaxDepth = 32

var (
	errSyntax    = errors.New("not valid JSON")
	errObject    = errors.New("not a JSON object")
	errUTF8      = errors.New("not valid UTF-8")
	errDepth     = errors.New("nested too deeply")
	errDuplicate = errors.New("an object names a member twice")
)

// CheckJSON reports why data is not strict JSON (RFC 8259, RFC 7493): one object in UTF-8, without unpaired surrogates,
// without an object at any depth that names a member twice (however it is escaped), nested at most MaxDepth deep.
// Two readers of such a document cannot disagree about its members.
func CheckJSON(data []byte) error { return Members(data, nil) }

// Members checks data as CheckJSON does and, on the way, calls each with every member of the outermost object, in
// order. name is unescaped; value is the member's JSON text, aliases data and is already checked. The first error of
// each ends the walk and is returned. A duplicate shows only at its second place, so that what each was told must be
// dropped when Members fails.
func Members(data []byte, each func(name string, value []byte) error) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	s := scanner{data: data}
	if s.next() != '{' {
		return errObject
	}
	if err := s.object(1, each); err != nil {
		return err
	}
	if s.next() != 0 || s.pos < len(data) {
		return errSyntax
	}
	return nil
}

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

func (s *scanner) value(depth int) error {
	switch c := s.next(); {
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		return s.array(depth+1, nil)
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

func (s *scanner) object(depth int, each func(name string, value []byte) error) error {
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
		start = s.pos
		if err := s.value(depth); err != nil {
			return err
		}
		if each != nil {
			if err := each(string(name), s.data[start:s.pos]); err != nil {
				return err
			}
		}
		if more, err := s.more('}'); !more {
			return err
		}
	}
}

func (s *scanner) array(depth int, each func(value []byte) error) error {
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
		start := s.pos
		if err := s.value(depth); err != nil {
			return err
		}
		if each != nil {
			if err := each(s.data[start:s.pos]); err != nil {
				return err
			}
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
