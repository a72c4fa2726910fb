package token_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestCanonicalTakesATokenApart(t *testing.T) {
	header, payload, err := token.Canonical(b64(`{"alg":"x"}`) + "." + b64(`{}`) + "." + b64("signature"))
	if err != nil || string(header) != `{"alg":"x"}` || string(payload) != `{}` {
		t.Errorf("got %q, %q, %v", header, payload, err)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	h, p, s := b64(`{"alg":"x"}`), b64(`{"a":1}`), b64("signature!") // 10 bytes: the last character has unused bits
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	if _, _, err := token.Canonical(join(h, p, s)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"nothing":                         "",
		"two dots":                        "..",
		"two parts":                       join(h, p),
		"four parts":                      join(h, p, s, s),
		"five parts, as an encrypted one": join(h, p, s, s, s),
		"no header":                       join("", p, s),
		"no payload":                      join(h, "", s),
		"no signature":                    join(h, p, ""),
		"a space in front":                " " + join(h, p, s),
		"a newline behind":                join(h, p, s) + "\n",
		"a newline in the header":         join(h[:4]+"\n"+h[4:], p, s),
		"a newline in the payload":        join(h, p[:4]+"\r\n"+p[4:], s),
		"a newline in the signature":      join(h, p, s[:4]+"\n"+s[4:]),
		"padding":                         join(h, p, s+"=="),
		"set unused bits":                 join(h, p, s[:len(s)-1]+string(s[len(s)-1]+1)),
		"standard base64":                 join(h, p, "++//"),
		"an impossible length":            join(h, p, "AAAAA"),
		"a JSON serialization":            `{"payload":"` + p + `","signature":"` + s + `"}`,
		"a header that is no object":      join(b64(`"x"`), p, s),
		"a payload that is no object":     join(h, b64(`[1]`), s),
		"a payload that is no JSON":       join(h, b64(`{`), s),
		"a member named twice":            join(h, b64(`{"a":1,"a":1}`), s),
		"a member named twice, deep down": join(h, b64(`{"a":[{"b":{"c":1,"\u0063":1}}]}`), s),
		"a letter beyond ASCII":           join(h, p, s) + "é",
		"too long":                        join(h, p, strings.Repeat("AAAA", token.MaxSize/4)),
	}
	for name, compact := range tests {
		header, payload, err := token.Canonical(compact)
		if reason(err) != token.ReasonMalformed || header != nil || payload != nil {
			t.Errorf("%s: got %q, %q, %v", name, header, payload, err)
		}
	}
}

func TestCheckJSON(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat("}", n-1) }
	many := func(last string) string {
		var b strings.Builder
		for i := range 100 {
			b.WriteString(`"m` + strconv.Itoa(i) + `":0,`)
		}
		return "{" + b.String() + `"` + last + `":0}`
	}
	for document, ok := range map[string]bool{
		`{}`:     true,
		" {\t} ": true,
		`{"a":0,"b":-0,"c":1.50,"d":1e5,"e":-1.2E-3,"f":"\"\\\/\b\f\n\r\t\u00e9","g":[],"h":[1,[2]]}`: true,
		`{"a":true,"A":false,"":null}`:        true,
		`{"a":"\ud83d\ude00"}`:                true,
		`{"a":{"x":1},"b":{"x":1},"x":1}`:     true,
		`{"a":1}{}`:                           false,
		`{"a":1},`:                            false,
		`{"a":1,}`:                            false,
		`{,"a":1}`:                            false,
		`{"a":[1,]}`:                          false,
		`{"a":[}`:                             false,
		`{"a" 1}`:                             false,
		`{"a":}`:                              false,
		`{a:1}`:                               false,
		`{'a':1}`:                             false,
		`{"a":01}`:                            false,
		`{"a":+1}`:                            false,
		`{"a":.5}`:                            false,
		`{"a":1.}`:                            false,
		`{"a":1e}`:                            false,
		`{"a":-}`:                             false,
		`{"a":NaN}`:                           false,
		`{"a":tru}`:                           false,
		`{"a":truee}`:                         false,
		`{"a":"\x"}`:                          false,
		`{"a":"\u12g4"}`:                      false,
		`{"a":"\u12`:                          false,
		`{"a":"` + "\n" + `"}`:                false,
		`{"a":"\ud83d"}`:                      false,
		`{"a":"\ude00"}`:                      false,
		`{"a":"\ud83d\u0041"}`:                false,
		`{"a":1,"a":1}`:                       false,
		`{"a":1,"\u0061":1}`:                  false,
		`{"\ud83d\ude00":1,"😀":1}`:            false,
		`{"":1,"":1}`:                         false,
		`{"a":1}` + "\x00":                    false,
		"\ufeff{}":                            false,
		"{\"a\":\"\xc0\x80\"}":                false,
		`// {}`:                               false,
		nested(token.MaxDepth):                true,
		nested(token.MaxDepth + 1):            false,
		strings.Repeat("[", 10_000):           false,
		`{"a":` + strings.Repeat("[", 10_000): false,
		many("new"):                           true,
		many("m0"):                            false,
		many("m17"):                           false,
		many("m99"):                           false,
	} {
		if err := token.CheckJSON([]byte(document)); (err == nil) != ok {
			t.Errorf("%.80q: got %v", document, err)
		}
	}
}

// What CheckJSON accepts, encoding/json reads too; what it refuses of valid objects has a reason that it names.
func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e3,"\u00e9\ud83d\ude00",{"b":null}]}`))
	f.Add(full().Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		err := token.CheckJSON(data)
		valid := json.Valid(data)
		if err == nil && !valid {
			t.Errorf("accepted what is not JSON: %q", data)
		}
		if err != nil && err.Error() == "not valid JSON" && valid && !bytes.Contains(data, []byte(`\u`)) {
			t.Errorf("called valid JSON invalid: %q", data)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	f.Add(goodES(f))
	f.Add("e30.e30.AA")
	f.Add("e30.e30.AB")
	f.Add("e30.e30\n.AA")
	f.Fuzz(func(t *testing.T, compact string) {
		header, payload, err := token.Canonical(compact)
		if err != nil {
			return
		}
		signature, err := base64.RawURLEncoding.DecodeString(compact[strings.LastIndexByte(compact, '.')+1:])
		if err != nil {
			t.Fatal(err)
		}
		if again := b64(string(header)) + "." + b64(string(payload)) + "." + b64(string(signature)); again != compact {
			t.Errorf("%q has another spelling %q", compact, again)
		}
	})
}
