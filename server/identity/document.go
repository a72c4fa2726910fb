package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

// Bounds of a key document (RFC 7517 §5).
const (
	maxDocument = 256 << 10
	maxKeys     = 64
)

// document is what a JWK Set says.
type document struct {
	keys []key
	hint time.Duration // spiffe_refresh_hint; zero if absent
}

// key is one public key of a document.
type key struct {
	jose.JSONWebKey
	verifies bool // the document does not reserve it for something else
}

// fits reports whether the key may check a signature of that algorithm.
func (k key) fits(alg string) bool { return k.verifies && token.Fits(k.JSONWebKey, alg) }

var errNoSet = errors.New("is not a JWK Set")

// parseDocument reads a JWK Set. Keys that cannot be used are left out, as RFC 7517 §5 has it; skipped gets each with
// its place. The error is about the document as a whole.
func parseDocument(data []byte, spiffe bool, skipped func(place int, err error)) (*document, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("is larger than %d bytes", maxDocument)
	}
	var keys []json.RawMessage
	var hint float64
	err := token.Members(data, func(name string, value []byte) error {
		malformed := false
		switch name {
		case "keys":
			malformed = json.Unmarshal(value, &keys) != nil
		case "spiffe_refresh_hint":
			malformed = json.Unmarshal(value, &hint) != nil
		}
		if malformed {
			return errNoSet
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case keys == nil:
		return nil, errNoSet
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("holds more than %d keys", maxKeys)
	}
	doc := &document{hint: time.Duration(min(max(hint, 0), 1e6) * float64(time.Second))}
	bundle := spiffe && slices.ContainsFunc(keys, saysWhichSVID)
	for i, raw := range keys {
		parsed, err := parseKey(raw, bundle)
		if err != nil {
			skipped(i, err)
			continue
		}
		doc.keys = append(doc.keys, parsed)
	}
	return doc, nil
}

// saysWhichSVID reports whether a key's use is that of a key in a SPIFFE bundle.
func saysWhichSVID(raw json.RawMessage) bool {
	use := ""
	_ = token.Members(raw, func(name string, value []byte) error {
		if name == "use" {
			_ = json.Unmarshal(value, &use) // whatever is not a string is no use
		}
		return nil
	})
	return strings.HasSuffix(use, "-svid")
}

// parseKey reads one key. In a bundle that says of each key which kind of SVID it signs, only those for JWTs are meant
// for tokens (SPIFFE Trust Domain and Bundle §4.2.2).
func parseKey(raw []byte, bundle bool) (key, error) {
	public, verifies, err := token.ParseKey(raw)
	if err != nil {
		return key{}, err
	}
	if bundle {
		verifies = verifies && public.Use == "jwt-svid"
		public.Use = "sig" // what it means here
	}
	return key{public, verifies}, nil
}

// checkJWKS returns every mistake of a JWK Set that stands in the configuration, each beginning with "jwks". Unlike a
// fetched document it is held to the letter: only public signature keys of supported types, each with its own kid.
func checkJWKS(jwks json.RawMessage, spiffe bool) []string {
	var m mistakes
	at := func(place int) string { return fmt.Sprintf("jwks.keys[%d]", place) }
	doc, err := parseDocument(jwks, spiffe, func(place int, err error) { m.add(at(place), "%v", err) })
	switch {
	case err != nil:
		m.add("jwks", "%v", err)
		return m
	case len(m) > 0:
		return m
	case len(doc.keys) == 0:
		m.add("jwks", "holds no key")
	}
	seen := make(map[string]bool, len(doc.keys))
	for i, k := range doc.keys {
		switch {
		case k.KeyID == "" || len(k.KeyID) > token.MaxKeyID:
			m.add(at(i), "needs a kid of 1 to %d bytes", token.MaxKeyID)
		case seen[k.KeyID]:
			m.add(at(i), "has the kid of another key")
		case !slices.ContainsFunc(algorithms, k.fits):
			m.add(at(i), "is not meant for checking signatures; its use must be sig, or jwt-svid in a SPIFFE bundle, "+
				"and its alg of its own type")
		}
		seen[k.KeyID] = true
	}
	return m
}
