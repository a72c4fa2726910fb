package forge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Key signs.
type Key struct {
	private crypto.Signer
	ID      string // kid; may be empty
	Alg     string // such as ES256
}

// ReadKey reads a private key: a JWK, or PEM in PKCS #8, PKCS #1 or SEC 1. An empty id or algorithm is taken from the
// JWK, the algorithm else from the type of the key.
func ReadKey(data []byte, id, alg string) (*Key, error) {
	k := &Key{ID: id, Alg: alg}
	var err error
	if block, _ := pem.Decode(data); block != nil {
		k.private, err = parsePEM(block)
	} else {
		err = k.parseJWK(data)
	}
	if err != nil {
		return nil, err
	}
	if k.Alg == "" {
		k.Alg = usual(k.private)
	}
	if _, err := k.signature(k.Alg, nil); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *Key) parseJWK(data []byte) error {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil {
		return errors.New("neither PEM nor a JWK")
	}
	private, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return errors.New("the JWK holds no private key for signatures")
	}
	k.private = private
	if k.ID == "" {
		k.ID = jwk.KeyID
	}
	if k.Alg == "" {
		k.Alg = jwk.Algorithm
	}
	return nil
}

func parsePEM(block *pem.Block) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the PEM holds no private key for signatures")
}

func usual(private crypto.Signer) string {
	switch key := private.(type) {
	case *rsa.PrivateKey:
		return "RS256"
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P384():
			return "ES384"
		case elliptic.P521():
			return "ES512"
		}
		return "ES256"
	}
	return "EdDSA"
}

// NewKey returns a fresh key of P-256 that nobody knows, under an id that somebody may know.
func NewKey(id string) *Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // package rand does not fail
	}
	return &Key{private: private, ID: id, Alg: "ES256"}
}

// NewKeyFor returns a fresh key that signs by an algorithm.
func NewKeyFor(alg, id string) (*Key, error) {
	k := NewKey(id)
	k.Alg = alg
	var err error
	switch {
	case strings.HasPrefix(alg, "RS"), strings.HasPrefix(alg, "PS"):
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case alg == "EdDSA", alg == "Ed25519":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	case alg == "ES384":
		k.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case alg == "ES512":
		k.private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case alg != "ES256":
		return nil, fmt.Errorf("algorithm %q is not known here", alg)
	}
	return k, err
}

// Twin returns an RSA key as one of the other kind of padding; nil if the key has no other algorithm.
func (k *Key) Twin() *Key {
	next := *k
	switch {
	case strings.HasPrefix(k.Alg, "RS"):
		next.Alg = "PS" + k.Alg[2:]
	case strings.HasPrefix(k.Alg, "PS"):
		next.Alg = "RS" + k.Alg[2:]
	default:
		return nil
	}
	return &next
}

// Head is the header of a proper token of the key.
func (k *Key) Head() map[string]any {
	head := map[string]any{"alg": k.Alg, "typ": "JWT"}
	if k.ID != "" {
		head["kid"] = k.ID
	}
	return head
}

// Sign returns a compact JWS. It is signed by the key's own algorithm, whatever the header says.
func (k *Key) Sign(header, payload string) string {
	signature, err := k.signature(k.Alg, []byte(input(header, payload)))
	if err != nil {
		panic(err) // the algorithm was tried when the key was read
	}
	return Compact(header, payload, signature)
}

// SignRaw signs a payload as it stands, without encoding it (RFC 7797 §3).
func (k *Key) SignRaw(header, payload string) string {
	signature, err := k.signature(k.Alg, []byte(encode([]byte(header))+"."+payload))
	if err != nil {
		panic(err) // as above
	}
	return encode([]byte(header)) + "." + payload + "." + encode(signature)
}

func (k *Key) signature(alg string, input []byte) ([]byte, error) {
	hashes := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	hash := hashes[alg[max(0, len(alg)-3):]]
	digest := input
	if hash != 0 {
		h := hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		if alg == usual(private) {
			return signECDSA(private, digest)
		}
	case *rsa.PrivateKey:
		if hash != 0 && strings.HasPrefix(alg, "RS") {
			return private.Sign(rand.Reader, digest, hash)
		}
		if hash != 0 && strings.HasPrefix(alg, "PS") {
			return private.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
		}
	case ed25519.PrivateKey:
		if alg == "EdDSA" || alg == "Ed25519" {
			return private.Sign(rand.Reader, input, crypto.Hash(0))
		}
	}
	return nil, fmt.Errorf("the key cannot sign by %q", alg)
}

// signECDSA returns r and s side by side (RFC 7518 §3.4).
func signECDSA(private *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	der, err := ecdsa.SignASN1(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return nil, err
	}
	size := (private.Curve.Params().BitSize + 7) / 8
	return append(pair.R.FillBytes(make([]byte, size)), pair.S.FillBytes(make([]byte, size))...), nil
}

// Public returns the key's public half.
func (k *Key) Public() *Public {
	jwk := jose.JSONWebKey{Key: k.private.Public(), KeyID: k.ID, Algorithm: k.Alg, Use: "sig"}
	text, err := jwk.MarshalJSON()
	if err != nil {
		panic(err) // every type that ReadKey lets in can be written
	}
	return &Public{ID: k.ID, key: k.private.Public(), jwk: text}
}

// Public is a key that everybody may have.
type Public struct {
	ID  string
	key crypto.PublicKey
	jwk json.RawMessage
}

// JWK is the key as RFC 7517 writes it.
func (p *Public) JWK() json.RawMessage { return p.jwk }

// Secrets are the texts of the key that a careless verifier takes for the secret of HS256, each by its name.
func (p *Public) Secrets() map[string][]byte {
	secrets := map[string][]byte{"its JWK": p.jwk}
	if der, err := x509.MarshalPKIXPublicKey(p.key); err == nil {
		secrets["its PEM"] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		secrets["its DER"] = der
	}
	return secrets
}

// HS256 signs with a shared secret (RFC 7518 §3.2), or with what is taken for one.
func HS256(header, payload string, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input(header, payload)))
	return Compact(header, payload, mac.Sum(nil))
}

// KeySet reads a JWK Set; keys that cannot be read are left out.
func KeySet(document []byte) ([]*Public, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("not a JWK Set")
	}
	var all []*Public
	for _, raw := range set.Keys {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil {
			continue
		}
		public := jwk.Public()
		all = append(all, &Public{ID: jwk.KeyID, key: public.Key, jwk: raw})
	}
	return all, nil
}

// Verify reports whether the key made the signature of a compact JWT, by the algorithm that its header names.
func (p *Public) Verify(compact string) bool {
	algs := []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512,
		jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}
	jws, err := jose.ParseSignedCompact(compact, algs)
	if err != nil {
		return false
	}
	_, err = jws.Verify(p.key)
	return err == nil
}
