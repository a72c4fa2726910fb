package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that bursar signs with (RFC 7518 §3.1, RFC 8037 §3.1). None of them is symmetric, so that a
// public key can never pass for a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}

// foreign are those that somebody else's key may be for: every asymmetric one.
var foreign = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
}

// Bounds of an RSA key. The library reads no larger one (jose.MaxRSAModulusBits), because verifying costs the square of
// the size.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// usable reports whether key is for verifying signatures of its own alg, one of algorithms.
func usable(key jose.JSONWebKey) bool {
	return slices.Contains(algorithms, jose.SignatureAlgorithm(key.Algorithm)) && Fits(key, key.Algorithm)
}

// Fits reports whether key is a public key that verifies signatures by alg, any of Algorithms. A key that names an alg
// is for that one alone (RFC 8725 §3.1), one that names a use for that use. The library leaves both to its callers.
func Fits(key jose.JSONWebKey, alg string) bool {
	return (key.Algorithm == "" || key.Algorithm == alg) && (key.Use == "" || key.Use == "sig") &&
		able(key.Key, jose.SignatureAlgorithm(alg))
}

// able reports whether the key is of the type and size that alg takes.
func able(key any, alg jose.SignatureAlgorithm) bool {
	switch public := key.(type) {
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && public.Curve == elliptic.P256() ||
			alg == jose.ES384 && public.Curve == elliptic.P384() ||
			alg == jose.ES512 && public.Curve == elliptic.P521()
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		rsa := strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
		return rsa && slices.Contains(foreign, alg) && minRSABits <= bits && bits <= maxRSABits
	case ed25519.PublicKey:
		return alg == jose.EdDSA && len(public) == ed25519.PublicKeySize
	}
	return false
}

// Algorithms are those that a key can fit: the asymmetric ones of RFC 7518 §3.1, and EdDSA (RFC 8037 §3.1).
func Algorithms() []string {
	names := make([]string, len(foreign))
	for i, alg := range foreign {
		names[i] = string(alg)
	}
	return names
}

// ErrPrivateKey means that a key which should be public has a private or symmetric part, and may have leaked.
var ErrPrivateKey = errors.New("holds a private or symmetric key; keep that with its owner and publish the public one")

var errNoKey = fmt.Errorf("is not a public JSON Web Key of P-256, P-384, P-521, Ed25519, or RSA of %d to %d bits",
	minRSABits, maxRSABits)

// ParseKey reads one public key of a JWK Set (RFC 7517 §4). verifies is whether its key_ops, if there are any, permit
// verifying; use and alg remain in the key, and Fits heeds them. Members that say nothing of this are passed over.
// ErrPrivateKey is for every key with a private member, whatever else it holds; any other error for a key that cannot
// verify anything. Errors are the end of a sentence that begins with the key.
func ParseKey(raw []byte) (key jose.JSONWebKey, verifies bool, err error) {
	private, malformed := false, false
	verifies = true
	err = Members(raw, func(name string, value []byte) error {
		switch name {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv":
			private = true
		case "key_ops":
			var operations []string
			malformed = json.Unmarshal(value, &operations) != nil
			verifies = slices.Contains(operations, "verify")
		}
		return nil
	})
	able := func(alg jose.SignatureAlgorithm) bool { return able(key.Key, alg) }
	switch {
	case private:
		return jose.JSONWebKey{}, false, ErrPrivateKey
	case err != nil || malformed || key.UnmarshalJSON(raw) != nil || !slices.ContainsFunc(foreign, able):
		return jose.JSONWebKey{}, false, errNoKey
	}
	return key, verifies, nil
}

// KeySet reads an issuer's published keys (RFC 7517 §5) for Verifier.Keys. Keys without kid or alg, and keys that
// are not for verifying ES256, RS256 or EdDSA, are passed over. A document that is not strict JSON, names a kid twice,
// holds a private or symmetric key, or has no usable key is an error.
func KeySet(jwks []byte) (func(ctx context.Context, kid string) (jose.JSONWebKey, error), error) {
	var keys []json.RawMessage
	err := Members(jwks, func(name string, value []byte) error {
		if name != "keys" {
			return nil
		}
		return json.Unmarshal(value, &keys)
	})
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	byID := make(map[string]jose.JSONWebKey, len(keys))
	for i, raw := range keys {
		key, verifies, err := ParseKey(raw)
		switch {
		case errors.Is(err, ErrPrivateKey):
			return nil, fmt.Errorf("read key set: keys[%d]: %w", i, err)
		case err != nil, !verifies, !usable(key), key.KeyID == "", len(key.KeyID) > MaxKeyID:
			continue // not for us, or of a kind that nobody here understands (RFC 7517 §5)
		}
		if _, twice := byID[key.KeyID]; twice {
			return nil, fmt.Errorf("read key set: keys[%d]: kid is not unique", i)
		}
		byID[key.KeyID] = key
	}
	if len(byID) == 0 {
		return nil, errors.New("read key set: no usable key")
	}
	return func(_ context.Context, kid string) (jose.JSONWebKey, error) {
		key, ok := byID[kid]
		if !ok {
			return jose.JSONWebKey{}, ErrUnknownKey
		}
		return key, nil
	}, nil
}
