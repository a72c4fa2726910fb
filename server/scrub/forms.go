package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// kind is the encoding of a form. It decides what other bytes can stand for its bytes.
type kind uint8

const (
	plain   kind = 1 << iota
	base64s      // in the standard alphabet
	hexes        // in lower case
)

// form is one encoding of a value, or the part of one that does not depend on what is around the value.
type form struct {
	text []byte
	kind kind
}

// dropped is how many characters the second form of an encoding lacks at its start. A line break is looked past only
// after as many characters and one more, since otherwise every line would have to wait for the next one; if fewer stand
// before it, the second form is found after it.
const dropped = 3

// formsOf returns what is searched for of a value of at least Shortest bytes.
func formsOf(value string) []form {
	forms := []form{{[]byte(value), plain}}
	encoded := [][]byte{[]byte(hex.EncodeToString([]byte(value)))}
	for shift := range 3 {
		encoded = append(encoded, inBase64(value, shift))
	}
	for i, text := range encoded {
		kind := base64s
		if i == 0 {
			kind = hexes
		}
		forms = append(forms, form{text, kind}, form{text[dropped:], kind})
	}
	return forms
}

// inBase64 returns the characters that stand for nothing but value where it begins shift bytes after a multiple of
// three (RFC 4648 §4: a character is six bits).
func inBase64(value string, shift int) []byte {
	whole := append(make([]byte, shift), value...)
	text := base64.StdEncoding.AppendEncode(nil, whole)
	return text[(shift*8+5)/6 : len(whole)*8/6]
}

func inLowerCase(forms []form) []form {
	folded := make([]form, len(forms))
	for i, f := range forms {
		folded[i] = form{bytes.ToLower(f.text), f.kind}
	}
	return folded
}

// stand is what a byte can stand for besides itself, in forms of a kind.
type stand struct {
	for_ byte
	kind kind
}

// stands lists the other spellings: hex in upper case, base64 for URLs (RFC 4648 §5), and the blank of HTML forms. A
// byte without one has a kind of zero.
var stands = [256]stand{
	'A': {'a', hexes}, 'B': {'b', hexes}, 'C': {'c', hexes},
	'D': {'d', hexes}, 'E': {'e', hexes}, 'F': {'f', hexes},
	'-': {'+', base64s}, '_': {'/', base64s},
	'+': {' ', plain},
}
