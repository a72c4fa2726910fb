package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

// private returns a key to sign with by alg.
func private(t *testing.T, alg string) crypto.Signer {
	t.Helper()
	var curve elliptic.Curve
	switch alg {
	case "ES256":
		return ecKey
	case "ES384":
		curve = elliptic.P384()
	case "ES512":
		curve = elliptic.P521()
	case "EdDSA":
		return edKey
	default:
		return rsaKey
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signedBy returns a JWS that the JOSE library made.
func signedBy(t *testing.T, alg string, key crypto.Signer) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(`{"sub":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// withSignature returns compact with another signature.
func withSignature(compact string, signature []byte) string {
	return compact[:strings.LastIndexByte(compact, '.')+1] + base64.RawURLEncoding.EncodeToString(signature)
}

func signatureOf(t *testing.T, compact string) []byte {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(compact[strings.LastIndexByte(compact, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func TestCheckForeignTakesEveryAlgorithmAndNothingBeside(t *testing.T) {
	for _, alg := range token.Algorithms() {
		private := private(t, alg)
		key, h := jose.JSONWebKey{Key: private.Public()}, token.Header{Algorithm: alg}
		compact := signedBy(t, alg, private)
		if err := token.CheckForeign(compact, h, key); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		signature := signatureOf(t, compact)
		for name, bad := range map[string]string{
			"another payload":     strings.Replace(compact, ".ey", ".eX", 1),
			"another header":      "eX" + compact[2:],
			"no signature":        withSignature(compact, nil),
			"half of a signature": withSignature(compact, signature[:len(signature)/2]),
			"more than one":       withSignature(compact, append([]byte{0}, signature...)),
			"zeros":               withSignature(compact, make([]byte, len(signature))),
			"another spelling":    compact + "=",
			"only a signature":    compact[strings.LastIndexByte(compact, '.')+1:],
			"nothing":             "",
		} {
			if err := token.CheckForeign(bad, h, key); reason(err) != token.ReasonSignature {
				t.Errorf("%s, %s: got %v", alg, name, err)
			}
		}
		for _, other := range append(token.Algorithms(), "none", "HS256", "") {
			if other == alg {
				continue
			}
			if err := token.CheckForeign(compact, token.Header{Algorithm: other}, key); err == nil {
				t.Errorf("a signature by %s passes for %q", alg, other)
			}
		}
	}
}

// RFC 7518 §3.5: the salt is as long as the hash. The JOSE library takes any length.
func TestCheckForeignRefusesAnotherSalt(t *testing.T) {
	key, h := jose.JSONWebKey{Key: rsaKey.Public()}, token.Header{Algorithm: "PS256"}
	compact := signedBy(t, "PS256", rsaKey)
	sum := sha256.Sum256([]byte(compact[:strings.LastIndexByte(compact, '.')]))
	for salt, good := range map[int]bool{32: true, 1: false, 20: false, 64: false, rsa.PSSSaltLengthAuto: false} {
		signature, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if err := token.CheckForeign(withSignature(compact, signature), h, key); (err == nil) != good {
			t.Errorf("a salt of %d bytes: %v", salt, err)
		}
	}
}
