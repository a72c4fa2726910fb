package token_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
)

// FuzzParseHeader holds what a header is read as against encoding/json.
func FuzzParseHeader(f *testing.F) {
	for _, seed := range []string{`{"alg":"ES256","kid":"k","typ":"at+jwt"}`, `{"alg":"none"}`, `{"alg":1}`, `{}`,
		`{"alg":"ES256","crit":[]}`, `{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","alg":"none"}`, `{"typ":null}`,
		`{"alg":"ES256","kid":"` + strings.Repeat("k", token.MaxKeyID+1) + `"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if token.CheckJSON(data) != nil {
			return // Canonical comes before
		}
		h, err := token.ParseHeader(data)
		if err != nil {
			if h != (token.Header{}) {
				t.Errorf("refused, and read as %+v", h)
			}
			return
		}
		var all map[string]any
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatalf("accepted what encoding/json does not: %v", err)
		}
		text := func(name string) string { s, _ := all[name].(string); return s }
		want := token.Header{Type: text("typ"), Algorithm: text("alg"), KeyID: text("kid")}
		for name := range all {
			want.Others = want.Others || name != "typ" && name != "alg" && name != "kid"
		}
		if h != want || h.Algorithm == "" || len(h.KeyID) > token.MaxKeyID || all["crit"] != nil {
			t.Errorf("%s is read as %+v", data, h)
		}
	})
}

// FuzzMembers holds the members of an object, and their order, against encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":{"a":[{}]},"c":"\u00e9"}`, ` { "a" : null } `, `{"\u0061":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if token.CheckJSON(data) != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			return // not an object
		}
		var names []string
		err := token.Members(data, func(name string, value []byte) error {
			if string(want[name]) != string(value) {
				t.Errorf("%s is %s, for encoding/json %s", name, value, want[name])
			}
			names = append(names, name)
			return nil
		})
		slices.Sort(names)
		if err != nil || len(slices.Compact(names)) != len(want) {
			t.Errorf("%s has the members %q: %v", data, names, err)
		}
	})
}

// FuzzSplitSubject takes subjects apart, and makes the same of the parts.
func FuzzSplitSubject(f *testing.F) {
	for _, seed := range []string{"client:bot", "corp:a:b", ":", "x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		issuer, sub, ok := token.SplitSubject(s)
		if ok != strings.Contains(s, ":") || strings.Contains(issuer, ":") {
			t.Errorf("%q is %q and %q", s, issuer, sub)
		}
		if ok && token.Subject(issuer, sub) != s || !ok && issuer != s {
			t.Errorf("%q became %q and %q", s, issuer, sub)
		}
	})
}
