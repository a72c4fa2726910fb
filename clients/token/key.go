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

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that bursar signs with (RFC 7518 §3.1, RFC 8037 §3.1). None of them is symmetric, so that a
// public key can never pass for a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}

const (
	minRSABits = 2048
	maxRSABits = 8192 // verifying costs the square of it
)

// CheckSignature reports why key did not sign compact, whose header is h. The key must be for h.Algorithm alone
// (RFC 8725 §3.1): its alg, its type and its size are checked, which the library leaves to its callers. Errors are
// *Error with ReasonAlgorithm or ReasonSignature.
func CheckSignature(compact string, h Header, key jose.JSONWebKey) error {
	if key.Algorithm != h.Algorithm || !usable(key) {
		return refuse(ReasonAlgorithm, errors.New("the key is not for this algorithm"))
	}
	jws, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil {
		return refuse(ReasonSignature, err)
	}
	if _, err := jws.Verify(key.Key); err != nil {
		return refuse(ReasonSignature, err)
	}
	return nil
}

// usable reports whether key is a public key for verifying signatures of its own alg, one of algorithms.
func usable(key jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}
	switch public := key.Key.(type) {
	case *ecdsa.PublicKey:
		return key.Algorithm == string(jose.ES256) && public.Curve == elliptic.P256()
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		return key.Algorithm == string(jose.RS256) && minRSABits <= bits && bits <= maxRSABits
	case ed25519.PublicKey:
		return key.Algorithm == string(jose.EdDSA) && len(public) == ed25519.PublicKeySize
	}
	return false
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
		key, ok, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("read key set: keys[%d]: %w", i, err)
		}
		if !ok {
			continue
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

// parseKey reads one key; ok is false for a key that is not for us.
func parseKey(raw []byte) (key jose.JSONWebKey, ok bool, err error) {
	verifies := true
	err = Members(raw, func(name string, value []byte) error {
		switch name {
		case "d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv":
			return errors.New("is not a public key")
		case "key_ops":
			var operations []string
			verifies = json.Unmarshal(value, &operations) == nil && slices.Contains(operations, "verify")
		}
		return nil
	})
	if err != nil || !verifies {
		return key, false, err
	}
	if json.Unmarshal(raw, &key) != nil {
		return key, false, nil // a key type that nobody here understands (RFC 7517 §5)
	}
	return key, key.KeyID != "" && len(key.KeyID) <= MaxKeyID && usable(key), nil
}
