package demoissuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// key signs tokens with one algorithm.
type key struct {
	id      string
	alg     string
	private crypto.Signer
	retired bool // published, but signs no more; guarded by the issuer's lock
}

// signer returns the key that signs with alg, made now if there is none.
func (i *Issuer) signer(alg string) (*key, error) {
	if alg == "none" || alg == "HS256" {
		alg = usual[i.config.Kind].alg
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		if k.alg == alg && !k.retired {
			return k, nil
		}
	}
	private, err := generate(alg)
	if err != nil {
		return nil, err
	}
	k := &key{id: random(), alg: alg, private: private}
	i.keys = append(i.keys, k)
	return k, nil
}

func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("alg %q is not known", alg)
}

// sign returns the compact JWS. The header says what the caller wants it to say; alg is what is done.
func (k *key) sign(alg string, header, claims map[string]any) (string, error) {
	protected, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(protected) + "." + encode(payload)
	signature, err := k.signature(alg, []byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + encode(signature), nil
}

func (k *key) signature(alg string, input []byte) ([]byte, error) {
	switch alg {
	case "none":
		return nil, nil
	case "HS256":
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write(input)
		return mac.Sum(nil), nil
	}
	hash, ok := hashes[alg[len(alg)-3:]]
	if !ok { // EdDSA
		return k.private.Sign(rand.Reader, input, crypto.Hash(0))
	}
	digest := hash.New()
	digest.Write(input)
	sum := digest.Sum(nil)
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, sum)
		if err != nil {
			return nil, err
		}
		size := (private.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		if alg[:2] == "PS" {
			return rsa.SignPSS(rand.Reader, private, hash, sum,
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, private, hash, sum)
	}
	return nil, fmt.Errorf("alg %q is not known", alg)
}

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// document is the published JWK Set; for SPIFFE, the bundle of the trust domain with its X.509 authority beside the
// keys of JWT-SVIDs. The caller holds the lock.
func (i *Issuer) document() ([]byte, error) {
	var set struct {
		Keys     []jose.JSONWebKey `json:"keys"`
		Sequence int               `json:"spiffe_sequence,omitempty"`
		Hint     int               `json:"spiffe_refresh_hint,omitempty"`
	}
	set.Keys = []jose.JSONWebKey{}
	for _, k := range i.keys {
		jwk := jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}
		if i.config.Kind == SPIFFE {
			jwk.Algorithm, jwk.Use = "", "jwt-svid"
		}
		set.Keys = append(set.Keys, jwk)
	}
	if i.config.Kind == SPIFFE {
		set.Keys = append(set.Keys, i.authority)
		set.Sequence, set.Hint = len(set.Keys), 300
	}
	return json.Marshal(set)
}

// newAuthority returns a certificate authority as a bundle lists it. Nothing is ever signed with it.
func (i *Issuer) newAuthority() (jose.JSONWebKey, error) {
	private, err := generate("ES256")
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	now := i.config.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.Unix()), NotBefore: now, NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "spiffe", Host: i.config.TrustDomain}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	return jose.JSONWebKey{Key: private.Public(), Use: "x509-svid", Certificates: []*x509.Certificate{cert}}, nil
}
