package clients

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that a client may sign with (RFC 7518 §3.1, RFC 8037 §3.1): asymmetric ones, so that a public
// key can never pass for a shared secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
}

const (
	maxKeys    = 16 // of one client
	minRSABits = 2048
	maxRSABits = 8192 // verifying costs the square of it
)

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

// parseKey reads one public key, or says what is wrong with it.
func parseKey(raw []byte) (key jose.JSONWebKey, what string) {
	verifies := true
	err := token.Members(raw, func(name string, value []byte) error {
		switch name {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv":
			what = "holds a private or symmetric key; keep that with the client, and give its public key here"
		case "key_ops":
			var operations []string
			verifies = json.Unmarshal(value, &operations) == nil && slices.Contains(operations, "verify")
		}
		return nil
	})
	switch {
	case err != nil || what == "" && json.Unmarshal(raw, &key) != nil:
		return key, "is not a JSON Web Key of type EC, RSA or OKP (Ed25519)"
	case what != "":
		return key, what
	case key.KeyID == "" || len(key.KeyID) > token.MaxKeyID:
		return key, fmt.Sprintf("needs a kid of 1 to %d bytes", token.MaxKeyID)
	case key.Use != "" && key.Use != "sig" || !verifies:
		return key, `is not for verifying signatures; set use to "sig" and drop key_ops`
	case !slices.ContainsFunc(algorithms, func(alg jose.SignatureAlgorithm) bool { return fits(key, alg) }):
		return key, "must be P-256, P-384, P-521, Ed25519 or RSA of 2048 to 8192 bits, and its alg must be of that type"
	}
	return key, ""
}

// fits reports whether key is a public key that verifies signatures by alg. A key that names an alg is for that one
// alone (RFC 8725 §3.1), which the library leaves to its callers.
func fits(key jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(alg) {
		return false
	}
	switch public := key.Key.(type) {
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && public.Curve == elliptic.P256() ||
			alg == jose.ES384 && public.Curve == elliptic.P384() ||
			alg == jose.ES512 && public.Curve == elliptic.P521()
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		rsa := strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
		return rsa && minRSABits <= bits && bits <= maxRSABits
	case ed25519.PublicKey:
		return alg == jose.EdDSA && len(public) == ed25519.PublicKeySize
	}
	return false
}

// verify checks the signature of compact, whose header is h. Without a kid there must be exactly one key that fits.
func (k keySet) verify(compact string, h token.Header) error {
	alg := jose.SignatureAlgorithm(h.Algorithm)
	candidates := slices.DeleteFunc(slices.Clone(k), func(key jose.JSONWebKey) bool {
		return h.KeyID != "" && h.KeyID != key.KeyID || !fits(key, alg)
	})
	if len(candidates) != 1 {
		return refuse(ReasonAssertionSignature, errors.New("no single key of that kid and alg"))
	}
	jws, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil {
		return refuse(ReasonAssertionSignature, err)
	}
	if _, err := jws.Verify(candidates[0].Key); err != nil {
		return refuse(ReasonAssertionSignature, err)
	}
	return nil
}
