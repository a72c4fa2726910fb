package auditor_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// jwsOf puts a JWS together from what it holds.
func jwsOf(header, claims string) []byte {
	e := base64.RawURLEncoding
	return []byte(e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims)) + "." +
		e.EncodeToString(make([]byte, 64)))
}

const (
	goodHeader = `{"alg":"EdDSA","kid":"k","typ":"secevent+jwt"}`
	goodClaims = `{"iss":"https://a/t/b","aud":"https://a/t/b/log","iat":1,"jti":"j","wid":"w","wsn":1,"txn":"x",` +
		`"events":{"urn:bursar:event:token.exchange:v1":{"outcome":"allowed"},"https://schemas.openid.net/x":{}}}`
)

func TestParseSET(t *testing.T) {
	s, err := auditor.ParseSET(jwsOf(goodHeader, goodClaims))
	if err != nil {
		t.Fatal(err)
	}
	if s.KeyID != "k" || s.Issuer != "https://a/t/b" || s.Audience != "https://a/t/b/log" || s.IssuedAt != 1 ||
		s.ID != "j" || s.Writer != "w" || s.Sequence != 1 || s.Txn != "x" || s.Name != "token.exchange" ||
		string(s.Body) != `{"outcome":"allowed"}` || string(s.Claims) != goodClaims {
		t.Errorf("%+v", s)
	}
	if s.Verify(key("k").Public().(ed25519.PublicKey)) || s.Verify(nil) {
		t.Error("nobody signed it")
	}
}

func TestOtherSpellingsOfAnEventAreRefused(t *testing.T) {
	header := func(old, new string) []byte { return jwsOf(strings.Replace(goodHeader, old, new, 1), goodClaims) }
	with := func(old, new string) []byte { return jwsOf(goodHeader, strings.Replace(goodClaims, old, new, 1)) }
	good := jwsOf(goodHeader, goodClaims)
	for name, entry := range map[string][]byte{
		"nothing":                    nil,
		"two parts":                  good[:bytes.LastIndexByte(good, '.')],
		"four parts":                 append(bytes.Clone(good), ".x"...),
		"padding":                    append(bytes.Clone(good), '='),
		"a line end":                 append(bytes.Clone(good), '\n'),
		"bits after the end":         append(bytes.Clone(good[:len(good)-1]), 'B'),
		"a header that is none":      jwsOf("x", goodClaims),
		"no signature":               header("EdDSA", "none"),
		"another algorithm":          header("EdDSA", "ES256"),
		"another type":               header("secevent+jwt", "at+jwt"),
		"no kid":                     header(`"kid":"k",`, ""),
		"an empty kid":               header(`"kid":"k"`, `"kid":""`),
		"crit":                       header(`"kid":"k"`, `"kid":"k","crit":["x"]`),
		"another header":             header(`"kid":"k"`, `"kid":"k","jku":"https://evil.example"`),
		"kid twice":                  header(`"kid":"k"`, `"kid":"l","kid":"k"`),
		"claims that are none":       jwsOf(goodHeader, "x"),
		"claims twice":               with(`"iat":1`, `"iat":2,"iat":1`),
		"claims by another name":     with(`"iat":1`, `"IAT":1`),
		"rest":                       jwsOf(goodHeader, goodClaims+"{}"),
		"two audiences":              with(`"https://a/t/b/log"`, `["https://a/t/b/log"]`),
		"no issuer":                  with(`"iss":"https://a/t/b",`, ""),
		"no jti":                     with(`"jti":"j",`, ""),
		"no writer":                  with(`"wid":"w",`, ""),
		"a long writer":              with(`"wid":"w"`, `"wid":"`+strings.Repeat("w", 65)+`"`),
		"no number":                  with(`"wsn":1,`, ""),
		"a number that is not whole": with(`"wsn":1`, `"wsn":1.5`),
		"a negative number":          with(`"wsn":1`, `"wsn":-1`),
		"no events":                  with(`"events"`, `"event"`),
		"no event of ours":           with("urn:bursar:", "urn:other:"),
		"two events of ours":         with(`{"outcome"`, `{},"urn:bursar:event:x:v1":{"outcome"`),
		"another version":            with(":v1", ":v2"),
		"no name":                    with("token.exchange", ""),
		"an event that is none":      with(`{"outcome":"allowed"}`, `"allowed"`),
		"too large":                  with(`"txn":"x"`, `"txn":"`+strings.Repeat("x", auditor.MaxSET)+`"`),
	} {
		if s, err := auditor.ParseSET(entry); s != nil || err == nil {
			t.Errorf("%s is accepted: %s", name, entry)
		}
	}
}

func TestATokenIsFoundHoweverItIsWritten(t *testing.T) {
	for value, want := range map[string]bool{
		"eyJhbGciOiJub25lIn0.e30.":                true,
		"Bearer eyJhbGciOiJub25lIn0.e30.c2ln":     true,
		`\u0065yJhbGciOiJub25lIn0.e30.c2ln`:       true,
		`eyJhbGciOiJub25lIn0\u002ee30`:            true,
		`eyJhbGciOiJub25lIn0`:                     false, // a hash could be that
		`a \"quoted\" name with \\ and eyJ in it`: false,
	} {
		s, err := auditor.ParseSET(jwsOf(goodHeader, strings.Replace(goodClaims, `"allowed"`, `"`+value+`"`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if s.HoldsToken() != want {
			t.Errorf("%s: %v", value, !want)
		}
	}
}
