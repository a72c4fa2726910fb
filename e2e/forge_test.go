package e2e_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// forge signs anything with any key, and publishes a key document that no proper issuer would have.
type forge struct {
	URL     string
	keys    map[string]*forgedKey
	fetches atomic.Int64
}

type forgedKey struct {
	id      string
	private crypto.Signer
	jwk     []byte // the public key
}

// newForge publishes these keys, and under /moved, /page and /big metadata that leads nowhere:
//
//	es256, second, rs256  for signatures
//	enc, ops              for encryption, by use and by key_ops
//	svid, ed, x509        in a bundle of its own, for JWT-SVIDs by ECDSA and by EdDSA, and for certificates
//	twin                  not at all; it has the kid of es256
//	client, other         not at all; they are registered with clients
func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{keys: map[string]*forgedKey{}}
	documents := map[string][]json.RawMessage{}
	for _, k := range []struct {
		name, id, kind, use, in string
		ops                     []string
	}{
		{name: "es256", use: "sig", in: "/jwks"},
		{name: "second", use: "sig", in: "/jwks"},
		{name: "rs256", kind: "RSA", use: "sig", in: "/jwks"},
		{name: "enc", use: "enc", in: "/jwks"},
		{name: "ops", ops: []string{"encrypt"}, in: "/jwks"},
		{name: "svid", use: "jwt-svid", in: "/bundle"},
		{name: "ed", kind: "Ed25519", use: "jwt-svid", in: "/bundle"},
		{name: "x509", use: "x509-svid", in: "/bundle"},
		{name: "twin", id: "es256"},
		{name: "client", use: "sig"},
		{name: "other", id: "client", use: "sig"},
	} {
		id := cmp.Or(k.id, k.name)
		private := newKey(t, k.kind)
		jwk := publicJWK(t, private, map[string]any{"kid": id, "use": k.use, "key_ops": k.ops})
		f.keys[k.name] = &forgedKey{id: id, private: private, jwk: jwk}
		documents[k.in] = append(documents[k.in], jwk)
	}
	const metadata = "/.well-known/openid-configuration"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.fetches.Add(1)
		switch r.URL.Path {
		case "/moved" + metadata:
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case "/page" + metadata:
			_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
		case "/big" + metadata:
			_, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20))
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": documents[r.URL.Path]})
		}
	}))
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// newKey returns a key of a kind: RSA, Ed25519, or P-256 if it is empty.
func newKey(t *testing.T, kind string) (private crypto.Signer) {
	t.Helper()
	var err error
	switch kind {
	case "RSA":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "Ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// publicJWK returns a public key with further members; empty ones are left out.
func publicJWK(t *testing.T, private crypto.Signer, more map[string]any) []byte {
	t.Helper()
	text, err := jose.JSONWebKey{Key: private.Public()}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range more {
		if ops, isOps := value.([]string); value != "" && (!isOps || len(ops) > 0) {
			members[name] = value
		}
	}
	if text, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	return text
}

// sign returns a compact JWS of a header and payload as they are written. alg says how it is signed, whatever the
// header says: ES256, ES384 (with a key of another curve), RS256, PS256, EdDSA, none, HS256-PEM or HS256-JWK.
func (f *forge) sign(t *testing.T, key, alg, header, payload string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := f.keys[key].signature(alg, []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(signature)
}

func (k *forgedKey) signature(alg string, input []byte) ([]byte, error) {
	switch alg {
	case "none":
		return nil, nil
	case "HS256-PEM":
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		return mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), input), err
	case "HS256-JWK":
		return mac(k.jwk, input), nil
	}
	if alg == "EdDSA" {
		return k.private.Sign(nil, input, crypto.Hash(0))
	}
	hash := crypto.SHA256
	if alg == "ES384" {
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	case *rsa.PrivateKey:
		if alg == "PS256" {
			return rsa.SignPSS(rand.Reader, private, hash, digest, nil)
		}
	}
	return k.private.Sign(rand.Reader, digest, hash)
}

func mac(secret, input []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(input)
	return h.Sum(nil)
}
