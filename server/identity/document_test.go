package identity_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/identity"
)

// published changes the issuer's own key document.
func (w *world) published(change func(keys []m) []m) string {
	w.Helper()
	var set struct {
		Keys []m `json:"keys"`
	}
	if err := json.Unmarshal(w.inline(), &set); err != nil {
		w.Fatal(err)
	}
	text, err := json.Marshal(m{"keys": change(set.Keys)})
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// serve makes the tenant fetch the given document, and counts how often it does.
func (w *world) serve(document string) *atomic.Int32 {
	w.Helper()
	fetches := new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		fmt.Fprint(rw, document)
	}))
	w.Cleanup(server.Close)
	w.entry.JWKSURI = server.URL
	w.pool = w.trust("acme", w.entry)
	return fetches
}

// with sets members of every key; nil removes one.
func with(pairs ...any) func([]m) []m {
	return func(keys []m) []m {
		for _, k := range keys {
			for name, value := range object(pairs) {
				if k[name] = value; value == nil {
					delete(k, name)
				}
			}
		}
		return keys
	}
}

func plus(extra ...m) func([]m) []m {
	return func(keys []m) []m { return append(keys, extra...) }
}

// TestKeysOfADocument (T-14, T-59): a kid names one key or none, no kid means one candidate, and no document is so
// large that it keeps us busy.
func TestKeysOfADocument(t *testing.T) {
	weak := base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{0xc1}, 128))
	huge := base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{0xc1}, 2048))
	other := func(kid string) m {
		w := newWorld(t, identity.OIDC)
		var set struct{ Keys []m }
		if err := json.Unmarshal(w.inline(), &set); err != nil {
			t.Fatal(err)
		}
		if set.Keys[0]["kid"] = kid; kid == "" {
			delete(set.Keys[0], "kid")
		}
		return set.Keys[0]
	}
	private := m{"kty": "EC", "crv": "P-256", "kid": "private", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
		"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}
	for _, r := range []struct {
		name   string
		change func([]m) []m
		mint   demoissuer.Request
		reason string
	}{
		{name: "as published", change: with()},
		{name: "without use", change: with("use", nil)},
		{name: "without alg", change: with("alg", nil)},
		{name: "key_ops that verify", change: with("key_ops", []string{"verify"})},
		{name: "for encryption", change: with("use", "enc"), reason: "token.key_unfit"},
		{name: "for SVIDs", change: with("use", "jwt-svid"), reason: "token.key_unfit"},
		{name: "key_ops that encrypt", change: with("key_ops", []string{"encrypt"}), reason: "token.key_unfit"},
		{name: "key_ops of the wrong type", change: with("key_ops", "verify"), reason: "token.key_unknown"},
		{name: "for another algorithm", change: with("alg", "ES384"), reason: "token.key_unfit"},
		{name: "alg in lower case", change: with("alg", "es256"), reason: "token.key_unfit"},
		{name: "of another curve", change: with("alg", nil), mint: header("alg", "ES384"), reason: "token.key_unfit"},
		{name: "a private key", change: func([]m) []m { return []m{private} }, mint: header("kid", "private"),
			reason: "token.key_unknown"},
		{name: "a private key that is not even one", change: with("d", "AAAA"), reason: "token.key_unknown"},
		{name: "a private part without the rest", change: with("p", "AAAA"), reason: "token.key_unknown"},
		{name: "key_ops without any", change: with("key_ops", []string{}), reason: "token.key_unfit"},
		{name: "a symmetric key", change: with("kty", "oct", "k", "AAAA"), reason: "token.key_unknown"},
		{name: "a point off the curve", change: with("x", base64.RawURLEncoding.EncodeToString(make([]byte, 32))),
			reason: "token.key_unknown"},
		{name: "an RSA key of 1024 bits", change: with("kty", "RSA", "n", weak, "e", "AQAB", "alg", "RS256"),
			mint: header("alg", "RS256"), reason: "token.key_unknown"},
		{name: "an RSA key of 16384 bits", change: with("kty", "RSA", "n", huge, "e", "AQAB", "alg", "RS256"),
			mint: header("alg", "RS256"), reason: "token.key_unknown"},
		{name: "no keys", change: func([]m) []m { return []m{} }, reason: "token.key_unknown"},
		{name: "beside a key of a type of the future", change: plus(m{"kty": "AKP", "kid": "pq", "pub": "AAAA"})},
		{name: "beside something that is no key", change: plus(m{"kid": 7})},
		{name: "beside another key", change: plus(other("other"))},
		{name: "of another's key under its own kid",
			change: func(keys []m) []m { return []m{other(keys[0]["kid"].(string))} },
			reason: "token.signature"},
		{name: "two keys of one kid", change: func(keys []m) []m {
			return append(keys,
				other(keys[0]["kid"].(string)))
		},
			reason: "token.key_unknown"},
		{name: "two keys of one kid, one of them for another algorithm", change: func(keys []m) []m {
			twin := other(keys[0]["kid"].(string))
			twin["alg"] = "ES384"
			return append(keys, twin)
		}},
		{name: "no kid in the token and one candidate", change: plus(m{"kty": "AKP"}), mint: header("kid", nil)},
		{name: "no kid in the token and two candidates", change: plus(other("other")), mint: header("kid", nil),
			reason: "token.key_unknown"},
		{name: "no kid at all", change: with("kid", nil), mint: header("kid", nil)},
		{name: "a kid that only the token has", change: with("kid", nil), reason: "token.key_unknown"},
		{name: "64 keys", change: func(keys []m) []m { return append(slices.Repeat([]m{{}}, 63), keys...) }},
		{name: "65 keys", change: func(keys []m) []m { return append(slices.Repeat([]m{{}}, 64), keys...) },
			reason: "issuer.unreachable"},
		{name: "10,000 keys", change: func(keys []m) []m { return append(slices.Repeat([]m{{}}, 10_000), keys...) },
			reason: "issuer.unreachable"},
		{name: "more than 256 KiB", change: with("pad", strings.Repeat("x", 256<<10)), reason: "issuer.unreachable"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, identity.OIDC)
			w.entry.Algorithms = []string{"ES256", "ES384", "RS256"}
			w.serve(w.published(r.change))
			switch _, err := w.verify(w.mint(r.mint)); {
			case r.reason != "":
				wantReason(t, err, r.reason)
			case err != nil:
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestDocumentsThatAreNoKeySets(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	for _, document := range []string{"", "{}", "[]", "null", `{"keys":null}`, `{"keys":{}}`, `{"keys":[]`,
		`{"keys":[],"keys":[]}`,
		"\ufeff" + `{"keys":[]}`, `{"keys":[]} {}`, `<html></html>`} {
		fetches := w.serve(document)
		w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
		if fetches.Load() != 1 {
			t.Errorf("%q: %d fetches", document, fetches.Load())
		}
	}
}

func TestKeysOfABundle(t *testing.T) {
	svid := func(keys []m) []m { // without the X.509 authority
		return slices.DeleteFunc(keys, func(k m) bool { return k["use"] != "jwt-svid" })
	}
	for _, r := range []struct {
		name   string
		change func([]m) []m
		reason string
	}{
		{name: "as published", change: with()},
		{name: "without the X.509 authority", change: svid},
		{name: "an X.509 authority", change: func(keys []m) []m { return with("use", "x509-svid")(svid(keys)) },
			reason: "token.key_unfit"},
		{name: "a key without use beside an X.509 authority", reason: "token.key_unfit", change: func(keys []m) []m {
			for _, k := range keys {
				if k["use"] == "jwt-svid" {
					delete(k, "use")
				}
			}
			return keys
		}},
		{name: "a plain key set without use", change: func(keys []m) []m { return with("use", nil)(svid(keys)) }},
		{name: "a plain key set for signatures", change: func(keys []m) []m { return with("use", "sig")(svid(keys)) }},
		{name: "a plain key set for encryption", change: func(keys []m) []m { return with("use", "enc")(svid(keys)) },
			reason: "token.key_unfit"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, identity.SPIFFE)
			w.serve(w.published(r.change))
			switch _, err := w.verify(w.mint(demoissuer.Request{})); {
			case r.reason != "":
				wantReason(t, err, r.reason)
			case err != nil:
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestRefreshHintOnlyShortens(t *testing.T) {
	for hint, seconds := range map[string]int{"60": 60, "1": 30, "86400": 300, "0": 300, "-5": 300, "1e300": 300} {
		w := newWorld(t, identity.SPIFFE)
		fetches := w.serve(strings.Replace(w.published(with()), `{"keys"`, `{"spiffe_refresh_hint":`+hint+`,"keys"`, 1))
		w.accept(w.mint(demoissuer.Request{}))
		w.clock.advance(time.Duration(seconds)*4/5*time.Second - time.Second)
		w.accept(w.mint(demoissuer.Request{}))
		if n := fetches.Load(); n != 1 {
			t.Errorf("hint %s: %d fetches before the keys were old", hint, n)
		}
		w.clock.advance(time.Duration(seconds)/5*time.Second + time.Second)
		w.accept(w.mint(demoissuer.Request{}))
		if n := fetches.Load(); n != 2 {
			t.Errorf("hint %s: %d fetches after %d seconds, want 2", hint, n, seconds)
		}
	}
}

func TestInlineKeys(t *testing.T) {
	for _, kind := range []identity.Kind{identity.OIDC, identity.Kubernetes} {
		w := newWorld(t, kind)
		w.entry.JWKS, w.entry.Network.AllowPrivate = w.inline(), false
		w.pool = w.trust("acme", w.entry)
		w.server.Close()
		w.accept(w.mint(demoissuer.Request{}))
		w.clock.advance(24 * time.Hour)
		w.accept(w.mint(demoissuer.Request{}))
		w.issuer.Rotate()
		w.refuse(w.mint(demoissuer.Request{}), "token.key_unknown")
		w.wantFetches(0)
	}
}
