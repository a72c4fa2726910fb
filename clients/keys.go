package clients

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/go-jose/go-jose/v4"
)

const maxKeys = 16 // of one client

// keySet are the public keys of a registration, each fit for something.
type keySet []jose.JSONWebKey

// problem is a mistake at a path below the document.
type problem struct{ path, what string }

// parseKeys reads the key set of a registration (RFC 7517 §5). Unlike a fetched document it is our operator's own, so
// that a key which could never verify anything is a mistake, not something to pass over.
func parseKeys(jwks []byte) (keys keySet, problems []problem) {
	fail := func(path, what string) { problems = append(problems, problem{path, what}) }
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if token.CheckJSON(jwks) != nil || json.Unmarshal(jwks, &document) != nil {
		fail("", `must be a JSON object with an array "keys" (RFC 7517 section 5), without repeated members`)
		return nil, problems
	}
	if n := len(document.Keys); n == 0 || n > maxKeys {
		fail(".keys", fmt.Sprintf("must hold 1 to %d keys", maxKeys))
		return nil, problems
	}
	for i, raw := range document.Keys {
		key, what := parseKey(raw)
		if what == "" && slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool { return k.KeyID == key.KeyID }) {
			what = "has the kid of another key; each needs its own"
		}
		if what != "" {
			fail(fmt.Sprintf(".keys[%d]", i), what)
			continue
		}
		keys = append(keys, key)
	}
	return keys, problems
}

// Thumbprints returns the RFC 7638 thumbprints of the keys in JWKS, SHA-256 in base64url. By them a key is known again,
// whatever its kid and whoever has it.
func (a Auth) Thumbprints() []string {
	keys, _ := parseKeys(a.JWKS)
	var all []string
	for _, key := range keys {
		if sum, err := key.Thumbprint(crypto.SHA256); err == nil { // which no key of parseKeys fails
			all = append(all, base64.RawURLEncoding.EncodeToString(sum))
		}
	}
	return all
}

// parseKey reads one public key, or says what is wrong with it.
func parseKey(raw []byte) (key jose.JSONWebKey, what string) {
	key, verifies, err := token.ParseKey(raw)
	fits := func(alg string) bool { return token.Fits(key, alg) }
	switch {
	case err != nil:
		return key, err.Error()
	case key.KeyID == "" || len(key.KeyID) > token.MaxKeyID:
		return key, fmt.Sprintf("needs a kid of 1 to %d bytes", token.MaxKeyID)
	case !verifies || !slices.ContainsFunc(token.Algorithms(), fits):
		return key, `is not for verifying signatures; set use to "sig", drop key_ops, and give no alg of another type`
	}
	return key, ""
}

// verify checks the signature of compact, whose header is h. Without a kid there must be exactly one key that fits.
func (k keySet) verify(compact string, h token.Header) error {
	candidates := slices.DeleteFunc(slices.Clone(k), func(key jose.JSONWebKey) bool {
		return h.KeyID != "" && h.KeyID != key.KeyID || !token.Fits(key, h.Algorithm)
	})
	if len(candidates) != 1 {
		return refuse(ReasonAssertionSignature, errors.New("no single key of that kid and alg"))
	}
	jws, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(h.Algorithm)})
	if err != nil {
		return refuse(ReasonAssertionSignature, err)
	}
	if _, err := jws.Verify(candidates[0].Key); err != nil {
		return refuse(ReasonAssertionSignature, err)
	}
	return nil
}
