package token

import (
	"errors"
	"strconv"
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

// ErrNumber means that a number is too large for a float64.
var ErrNumber = errors.New("a number is too large")

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
	return s.document(func(name []byte) error {
		start := s.pos
		if err := s.value(1); err != nil || each == nil {
			return err
		}
		return each(string(name), s.data[start:s.pos])
	})
}

// Object checks data as CheckJSON does and, on the way, reads it: objects as map[string]any, arrays as []any, a number
// as int64 if it is whole and fits, else as float64. Two ids that differ in their last digit must not become one, as
// they would be if all numbers were float64. One that is too large for both is ErrNumber.
func Object(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errUTF8
	}
	s, all := scanner{data: data}, map[string]any{}
	err := s.document(func(name []byte) (err error) {
		all[string(name)], err = s.read(1)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// read returns a value as Object gives it.
func (s *scanner) read(depth int) (any, error) {
	switch s.next() {
	case '{':
		all := map[string]any{}
		err := s.object(depth+1, func(name []byte) (err error) {
			all[string(name)], err = s.read(depth + 1)
			return err
		})
		return all, err
	case '[':
		all := []any{}
		err := s.array(depth+1, func() error {
			value, err := s.read(depth + 1)
			all = append(all, value)
			return err
		})
		return all, err
	}
	start := s.pos
	if err := s.value(depth); err != nil {
		return nil, err
	}
	switch text := s.data[start:s.pos]; text[0] {
	case '"':
		return string(unquote(text)), nil
	case 't', 'f':
		return text[0] == 't', nil
	case 'n':
		return nil, nil
	default:
		if whole, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return whole, nil
		}
		number, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return nil, ErrNumber
		}
		return number, nil
	}
}
