package identity

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
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

// Bounds of a key document (RFC 7517 §5).
const (
	maxDocument = 256 << 10
	maxKeys     = 64
	minRSA      = 2048 // bits; the JOSE library refuses more than 4096
)

// document is what a JWK Set says.
type document struct {
	keys []key
	hint time.Duration // spiffe_refresh_hint; zero if absent
}

// key is one public key of a document.
type key struct {
	id       string
	alg      string // empty if the document does not bind the key to one
	public   any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	verifies bool   // use and key_ops permit checking signatures of tokens
}

// rawKey are the members of a JWK that the JOSE library does not judge (RFC 7517 §4).
type rawKey struct {
	ID   string   `json:"kid"`
	Alg  string   `json:"alg"`
	Use  string   `json:"use"`
	Ops  []string `json:"key_ops"`
	Type string   `json:"kty"`
	D    any      `json:"d"`
	K    any      `json:"k"`

	malformed bool // a member above is of the wrong type
	svids     bool // the document is a SPIFFE bundle that says of each key which kind of SVID it signs
}

// mayVerify reports whether the key is meant for signatures of tokens. In a SPIFFE bundle that tells its keys apart,
// those for X.509 are not (SPIFFE Trust Domain and Bundle §4.2.2).
func (r rawKey) mayVerify() bool {
	if len(r.Ops) > 0 && !slices.Contains(r.Ops, "verify") {
		return false
	}
	if r.svids {
		return r.Use == "jwt-svid"
	}
	return r.Use == "" || r.Use == "sig"
}

// parseDocument reads a JWK Set. Keys that cannot be used are left out, as RFC 7517 §5 has it; skipped gets each with
// its place. The error is about the document as a whole.
func parseDocument(data []byte, spiffe bool, skipped func(place int, err error)) (*document, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("is larger than %d bytes", maxDocument)
	}
	if err := token.CheckJSON(data); err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
		Hint float64           `json:"spiffe_refresh_hint"`
	}
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		return nil, errors.New("is not a JWK Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("holds more than %d keys", maxKeys)
	}
	doc := &document{hint: time.Duration(min(max(set.Hint, 0), 1e6) * float64(time.Second))}
	members := make([]rawKey, len(set.Keys))
	svids := false
	for i, raw := range set.Keys {
		members[i].malformed = json.Unmarshal(raw, &members[i]) != nil
		svids = svids || spiffe && strings.HasSuffix(members[i].Use, "-svid")
	}
	for i, raw := range set.Keys {
		members[i].svids = svids
		parsed, err := members[i].parse(raw)
		if err != nil {
			skipped(i, err)
			continue
		}
		doc.keys = append(doc.keys, parsed)
	}
	return doc, nil
}

// parse reads the key itself.
func (r rawKey) parse(raw []byte) (key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); r.malformed || err != nil || !jwk.Valid() {
		return key{}, errors.New("is not a valid key in JWK form")
	}
	switch public := jwk.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA {
			return key{}, fmt.Errorf("is an RSA key of %d bits; at least %d are needed", bits, minRSA)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return key{}, errors.New("is not a public key of type RSA, EC or Ed25519; never put a private one here")
	}
	return key{id: r.ID, alg: r.Alg, public: jwk.Key, verifies: r.mayVerify()}, nil
}

// fits reports whether the key may check a signature of that algorithm: one key, one algorithm (RFC 8725 §3.1).
func (k key) fits(alg string) bool {
	if !k.verifies || k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return public.Curve == curves[alg]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

// checkJWKS returns every mistake of a JWK Set that stands in the configuration, each beginning with "jwks". Unlike a
// fetched document it is held to the letter: only public signature keys of supported types, each with its own kid.
func checkJWKS(jwks json.RawMessage, spiffe bool) []string {
	var m mistakes
	at := func(place int) string { return fmt.Sprintf("jwks.keys[%d]", place) }
	doc, err := parseDocument(jwks, spiffe, func(place int, err error) { m.add(at(place), "%v", err) })
	switch {
	case err != nil:
		m.add("jwks", "%v", err)
		return m
	case len(m) > 0:
		return m
	case len(doc.keys) == 0:
		m.add("jwks", "holds no key")
	}
	seen := make(map[string]bool, len(doc.keys))
	for i, k := range doc.keys {
		switch {
		case k.id == "" || len(k.id) > token.MaxKeyID:
			m.add(at(i), "needs a kid of 1 to %d bytes", token.MaxKeyID)
		case seen[k.id]:
			m.add(at(i), "has the kid of another key")
		case !k.verifies:
			m.add(at(i), "is not meant for checking signatures; its use must be sig, or jwt-svid in a SPIFFE bundle")
		}
		seen[k.id] = true
	}
	return m
}
