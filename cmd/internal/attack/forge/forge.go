// Package forge makes JSON Web Tokens that no proper issuer would make: of a genuine one whatever an attacker could
// make of it who has no key, and with a key everything else. Headers and payloads are JSON text, so that they can say
// things that no encoder would write.
package forge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
)

// Token is a compact JWS taken apart (RFC 7515 §7.1).
type Token struct {
	Header, Payload string // JSON text
	Signature       []byte
	input           string // what the signature covers, as it was spelled
}

var errNoJWT = errors.New("not a JWT in compact form")

// Parse takes a compact JWT apart and proves nothing.
func Parse(compact string) (*Token, error) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return nil, errNoJWT
	}
	decoded := make([][]byte, 3)
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return nil, errNoJWT
		}
	}
	t := &Token{Header: string(decoded[0]), Payload: string(decoded[1]), Signature: decoded[2],
		input: parts[0] + "." + parts[1]}
	if t.Claims() == nil || members(t.Header) == nil {
		return nil, errNoJWT
	}
	return t, nil
}

// Claims returns the members of the payload; numbers are json.Number.
func (t *Token) Claims() map[string]any { return members(t.Payload) }

// Head returns the members of the header.
func (t *Token) Head() map[string]any { return members(t.Header) }

func members(text string) (all map[string]any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&all) != nil {
		return nil
	}
	return all
}

// Text writes members as JSON. It panics on what JSON cannot say, which is a mistake of this program.
func Text(all map[string]any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(all); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// With returns a copy of members in which the changes replace others; nil removes one.
func With(all, changes map[string]any) map[string]any {
	next := maps.Clone(all)
	if next == nil {
		next = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(next, name)
		} else {
			next[name] = value
		}
	}
	return next
}

// Twice writes members with one more in front, whether its name is there already or not.
func Twice(all map[string]any, name string, value any) string {
	first := strings.TrimSuffix(Text(map[string]any{name: value}), "}")
	return first + "," + strings.TrimPrefix(Text(all), "{")
}

// Compact writes a header, a payload and a signature in compact form.
func Compact(header, payload string, signature []byte) string {
	return input(header, payload) + "." + encode(signature)
}

func input(header, payload string) string {
	return encode([]byte(header)) + "." + encode([]byte(payload))
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// UnusedBits returns the other spelling of a compact JWT whose last character has bits that no byte needs, and "" if it
// has none such.
func UnusedBits(compact string) string {
	last := strings.IndexByte(alphabet, compact[len(compact)-1])
	other := last ^ 1
	if last < 0 || len(compact[strings.LastIndexByte(compact, '.')+1:])%4 == 0 {
		return ""
	}
	return compact[:len(compact)-1] + alphabet[other:other+1]
}

// Padded returns a compact JWT with the padding that RFC 7515 §2 leaves out, and "" if it needs none.
func Padded(compact string) string {
	signature := compact[strings.LastIndexByte(compact, '.')+1:]
	if len(signature)%4 == 0 {
		return ""
	}
	return compact + strings.Repeat("=", 4-len(signature)%4)
}

// Bare returns a JWT without its signature and the dot before it.
func Bare(t *Token) string { return t.input }

// Broken returns a compact JWT with a line break within its signature.
func Broken(compact string) string {
	at := min(strings.LastIndexByte(compact, '.')+5, len(compact))
	return compact[:at] + "\n" + compact[at:]
}

// JSON returns a compact JWT in the flattened JSON serialization (RFC 7515 §7.2.2).
func JSON(compact string) string {
	parts := strings.Split(compact, ".")
	return Text(map[string]any{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
}

// Flipped returns a compact JWT with one bit of its signature changed.
func Flipped(t *Token) string {
	signature := bytes.Clone(t.Signature)
	if len(signature) == 0 {
		signature = []byte{0}
	}
	signature[len(signature)/2] ^= 1
	return t.input + "." + encode(signature)
}
