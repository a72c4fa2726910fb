package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"errors"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Signed returns the payload of an access token (RFC 9068 §2.1) that a key of its kid signed, for Parse. It says
// nothing of the claims, of time or of revocation. key returns the issuer's key of a kid, or ErrUnknownKey. Errors are
// *Error.
func Signed(compact string, key func(kid string) (jose.JSONWebKey, error)) (payload []byte, err error) {
	header, payload, err := Split(compact)
	if err != nil {
		return nil, err
	}
	h, err := ParseHeader(header)
	if err != nil {
		return nil, err
	}
	if !h.IsAccessToken() {
		return nil, refuse(ReasonType, nil)
	}
	public, err := key(h.KeyID)
	if err != nil {
		return nil, refuse(ReasonKey, err)
	}
	if err := CheckSignature(compact, h, public); err != nil {
		return nil, err
	}
	return payload, nil
}

// CheckSignature reports why key did not sign compact, whose header is h. The key must be for h.Algorithm alone
// (RFC 8725 §3.1), one of those that bursar signs with. compact must be canonical. Errors are *Error with
// ReasonAlgorithm or ReasonSignature.
func CheckSignature(compact string, h Header, key jose.JSONWebKey) error {
	if key.Algorithm != h.Algorithm || !usable(key) {
		return refuse(ReasonAlgorithm, errors.New("the key is not for this algorithm"))
	}
	return CheckForeign(compact, h, key)
}

// CheckForeign is CheckSignature for somebody else's key: h.Algorithm may be any of Algorithms, and the key need not
// name one. It must fit it (Fits).
func CheckForeign(compact string, h Header, key jose.JSONWebKey) error {
	if !Fits(key, h.Algorithm) {
		return refuse(ReasonAlgorithm, errors.New("the key is not for this algorithm"))
	}
	dot := max(strings.LastIndexByte(compact, '.'), 0)
	signature, err := decodePart(strings.TrimPrefix(compact[dot:], "."))
	if err != nil {
		return refuse(ReasonSignature, err)
	}
	if !signed([]byte(compact[:dot]), signature, jose.SignatureAlgorithm(h.Algorithm), key.Key) {
		return refuse(ReasonSignature, nil)
	}
	return nil
}

// hashes are those of the algorithms that sign a hash.
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.ES256: crypto.SHA256, jose.RS256: crypto.SHA256, jose.PS256: crypto.SHA256,
	jose.ES384: crypto.SHA384, jose.RS384: crypto.SHA384, jose.PS384: crypto.SHA384,
	jose.ES512: crypto.SHA512, jose.RS512: crypto.SHA512, jose.PS512: crypto.SHA512,
}

// signed reports whether signature is that of input by alg (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1) and by the private
// half of key, which fits alg.
func signed(input, signature []byte, alg jose.SignatureAlgorithm, key any) bool {
	if public, ok := key.(ed25519.PublicKey); ok {
		return ed25519.Verify(public, input, signature)
	}
	hash := hashes[alg]
	digest := hash.New()
	digest.Write(input)
	sum := digest.Sum(nil)
	switch public := key.(type) {
	case *ecdsa.PublicKey:
		size := (public.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, sum, r, s)
	case *rsa.PublicKey:
		if strings.HasPrefix(string(alg), "PS") {
			same := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(public, hash, sum, signature, &same) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, sum, signature) == nil
	}
	return false
}
