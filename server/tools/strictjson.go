package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxJSONDepth bounds how deep a JSON body under a constraint is nested.
const maxJSONDepth = 64

var errJSON = errors.New("not one JSON value that all readers read alike")

// node is a JSON value: a map[string]node, a []node, or a scalar as json.Decoder.Token gives it with UseNumber.
type node any

// parseJSON reads a JSON text strictly. It refuses what readers disagree on: bytes that are not UTF-8, a second value,
// and an object in which two names are equal but for their case, because some readers take the first of two, some the
// last, and some do not tell capitals from small letters.
func parseJSON(text []byte) (node, error) {
	if !utf8.Valid(text) {
		return nil, errJSON
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := parseValue(d, maxJSONDepth)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return value, nil
}

func parseValue(d *json.Decoder, depth int) (node, error) {
	t, err := d.Token()
	if err != nil || depth == 0 {
		return nil, errJSON
	}
	switch t {
	case json.Delim('{'):
		return parseObject(d, depth-1)
	case json.Delim('['):
		list := []node{}
		for d.More() {
			item, err := parseValue(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}

func parseObject(d *json.Decoder, depth int) (node, error) {
	object, folded := map[string]node{}, map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok || folded[fold(name)] {
			return nil, errJSON
		}
		folded[fold(name)] = true
		if object[name], err = parseValue(d, depth); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

// fold returns one text for all that are equal but for the case of their letters (Unicode's simple folding).
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// pointer is a JSON pointer (RFC 6901), token by token.
type pointer []string

// parsePointer reads a pointer to a place within a document. "-", the place behind the end of an array, is none.
func parsePointer(text string) (pointer, error) {
	err := errors.New("must be a JSON pointer below the whole document, such as /visibility (RFC 6901)")
	if text == "" || text[0] != '/' || !utf8.ValidString(text) {
		return nil, err
	}
	tokens := strings.Split(text[1:], "/")
	for i, t := range tokens {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(t)
		if strings.Contains(plain, "~") || t == "-" {
			return nil, err
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens, nil
}

// find returns the value at a place of a document.
func (p pointer) find(n node) (node, bool) {
	for _, token := range p {
		switch at := n.(type) {
		case map[string]node:
			next, ok := at[token]
			if !ok {
				return nil, false
			}
			n = next
		case []node:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) || strconv.Itoa(i) != token {
				return nil, false
			}
			n = at[i]
		default:
			return nil, false
		}
	}
	return n, true
}

// within reports whether a place is another one, or lies below it.
func (p pointer) within(q pointer) bool {
	if len(p) < len(q) {
		return false
	}
	for i := range q {
		if p[i] != q[i] {
			return false
		}
	}
	return true
}

// scalar returns the JSON text of a string, number, boolean or null, by which it is compared; false for anything else.
// Numbers are compared as they are written: 1.0 is not 1.
func scalar(v any) (string, bool) {
	switch v.(type) {
	case nil, bool, string, float64, int, json.Number:
		text, err := json.Marshal(v)
		return string(text), err == nil
	}
	return "", false
}
