package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// Signer signs with one key. It is safe for concurrent use; the zero Signer refuses.
type Signer struct {
	KeyID string

	alg     Alg
	private crypto.Signer
	headers sync.Map // typ → the encoded header with its dot; typ is one of the program's own few
}

// maxSignature is the longest signature, that of an RSA key of 2048 bits, in base64url with its dot.
const maxSignature = 1 + 342

// Sign returns payload as a compact JWS (RFC 7515 §7.1) whose header holds alg, kid and the given typ. typ is
// required: each class of JWT has its own (RFC 8725 §3.11).
func (s *Signer) Sign(typ string, payload []byte) (compact string, err error) {
	jws, err := s.SignBytes(typ, payload)
	return string(jws), err
}

// SignBytes is Sign for those who need no string.
func (s *Signer) SignBytes(typ string, payload []byte) (compact []byte, err error) {
	if s.private == nil || typ == "" {
		return nil, errors.New("sign: a key and a typ are needed")
	}
	header, err := s.header(typ)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	b64 := base64.RawURLEncoding
	jws := make([]byte, 0, len(header)+b64.EncodedLen(len(payload))+maxSignature)
	jws = b64.AppendEncode(append(jws, header...), payload)
	signature, err := s.signature(jws)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return b64.AppendEncode(append(jws, '.'), signature), nil
}

func (s *Signer) header(typ string) (string, error) {
	if header, ok := s.headers.Load(typ); ok {
		return header.(string), nil
	}
	text, err := json.Marshal(struct {
		Alg   Alg    `json:"alg"`
		KeyID string `json:"kid"`
		Type  string `json:"typ"`
	}{s.alg, s.KeyID, typ})
	if err != nil {
		return "", err
	}
	header := base64.RawURLEncoding.EncodeToString(text) + "."
	s.headers.Store(typ, header)
	return header, nil
}

// signature returns the signature of input in the form of JOSE (RFC 7518 §3, RFC 8037 §3.1).
//
// An ECDSA signature is a function of key and input alone (RFC 6979): that costs less than a random one, and does not
// rest on randomness. What would make it the weaker one is signing the same input again with an error in the
// arithmetic; no input is ever signed twice, because each holds a random id.
func (s *Signer) signature(input []byte) ([]byte, error) {
	if private, ok := s.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(private, input), nil
	}
	sum := sha256.Sum256(input)
	switch private := s.private.(type) {
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		der, err := private.Sign(nil, sum[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return fixed(der)
	}
	return nil, errors.New("the key is of no type that signs here")
}

// half is the size of each of the two numbers of a signature by ES256.
const half = 32

// fixed returns the numbers r and s of an ECDSA signature on P-256 as 32 bytes each (RFC 7518 §3.4). der is as
// crypto/ecdsa makes it: a SEQUENCE of two INTEGERs, short enough that each length is one byte.
func fixed(der []byte) ([]byte, error) {
	signature := make([]byte, 2*half)
	rest := der[min(2, len(der)):]
	for i := range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || len(rest) < 2+int(rest[1]) {
			return nil, errShape
		}
		size := int(rest[1])
		number := rest[2 : 2+size]
		rest = rest[2+size:]
		if len(number) > 0 && number[0] == 0 { // it says that the number is not negative
			number = number[1:]
		}
		if len(number) > half {
			return nil, errShape
		}
		end := (i + 1) * half
		copy(signature[end-len(number):end], number)
	}
	return signature, nil
}

var errShape = errors.New("the ECDSA signature is not of P-256")
