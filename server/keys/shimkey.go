package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/ledger"
)

// shimPrefix begins a shim's key file: bursar-shim-key:v1:<JSON in base64>, on one line.
const shimPrefix = "bursar-shim-key:v1:"

// ShimKey is everything that a standalone shim holds of its own: a key to which its tenants' vault keys are given, and
// the key that signs what it does. It never holds a master key, and neither key is good for a tenant that does not
// trust it. It is safe for concurrent use.
type ShimKey struct {
	ID        string
	signer    *Signer
	recipient hpke.PrivateKey
	tenants   []ShimTenant
}

// ShimTenant is a tenant that trusts a shim.
type ShimTenant struct {
	Slug    string            `json:"slug"`
	ID      ledger.Tenant     `json:"id"`
	Grantor ed25519.PublicKey `json:"grantor"` // signs what the tenant gives the shim
}

// ShimPublic is what a tenant must know to trust a shim. The private halves never leave the machine that made them.
type ShimPublic struct {
	Event     ed25519.PublicKey
	Recipient []byte // HPKE public key, ML-KEM-768 with X25519
}

// id checks the keys, and returns the name of the shim.
func (p ShimPublic) id() (string, error) {
	if len(p.Event) != ed25519.PublicKeySize {
		return "", errors.New("the key that signs events is no Ed25519 key")
	}
	if _, err := shimKEM().NewPublicKey(p.Recipient); err != nil {
		return "", errors.New("the key that receives is no HPKE key of ML-KEM-768 with X25519")
	}
	return thumbprint(p.Event)
}

// NewShimKey makes a key that no tenant trusts yet.
func NewShimKey() (*ShimKey, error) {
	private, kid, err := generateNamed(EdDSA)
	if err != nil {
		return nil, fmt.Errorf("make shim key: %w", err)
	}
	recipient, err := shimKEM().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make shim key: %w", err)
	}
	return newShimKey(kid, private.(ed25519.PrivateKey), recipient), nil
}

func newShimKey(id string, event ed25519.PrivateKey, recipient hpke.PrivateKey) *ShimKey {
	return &ShimKey{ID: id, recipient: recipient, signer: &Signer{KeyID: id, alg: EdDSA, private: event}}
}

// Public returns the public halves.
func (k *ShimKey) Public() ShimPublic {
	return ShimPublic{Event: k.signer.private.Public().(ed25519.PublicKey), Recipient: k.recipient.PublicKey().Bytes()}
}

// Trusted returns the key with a tenant that trusts it.
func (k *ShimKey) Trusted(t ShimTenant) *ShimKey {
	next := *k
	next.tenants = append(slices.Clone(k.tenants), t)
	return &next
}

// Tenants returns those that trusted the shim when its key was made, in the order of the file.
func (k *ShimKey) Tenants() []ShimTenant { return slices.Clone(k.tenants) }

// shimFile is what the base64 of a key file holds.
type shimFile struct {
	ID        string       `json:"id"`
	Event     []byte       `json:"event"`     // Ed25519 seed
	Recipient []byte       `json:"recipient"` // HPKE private key
	Tenants   []ShimTenant `json:"tenants"`
}

// File returns the content of the shim's key file.
func (k *ShimKey) File() ([]byte, error) {
	recipient, err := k.recipient.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write shim key: %w", err)
	}
	text, err := json.Marshal(shimFile{ID: k.ID, Event: k.signer.private.(ed25519.PrivateKey).Seed(),
		Recipient: recipient, Tenants: k.tenants})
	if err != nil {
		return nil, fmt.Errorf("write shim key: %w", err)
	}
	return fmt.Appendf(nil, "%s%s\n", shimPrefix, base64.StdEncoding.EncodeToString(text)), nil
}

// ReadShimKey reads the content of a shim's key file. Its errors say what is wrong and hold nothing of the content.
func ReadShimKey(content []byte) (*ShimKey, error) {
	line, ok := strings.CutPrefix(strings.TrimRight(string(content), "\r\n"), shimPrefix)
	if !ok {
		return nil, fmt.Errorf("read shim key: does not begin with %q", shimPrefix)
	}
	text, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		return nil, errors.New("read shim key: not one line of standard base64 with padding")
	}
	var f shimFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&f) != nil || decoder.More() {
		return nil, errors.New("read shim key: not what this version writes")
	}
	if len(f.Event) != ed25519.SeedSize {
		return nil, errors.New("read shim key: it has no key for events")
	}
	event := ed25519.NewKeyFromSeed(f.Event)
	if id, err := thumbprint(event.Public()); err != nil || id != f.ID {
		return nil, errors.New("read shim key: its id is not that of its key")
	}
	recipient, err := shimKEM().NewPrivateKey(f.Recipient)
	if err != nil {
		return nil, errors.New("read shim key: it has no key to receive with")
	}
	k := newShimKey(f.ID, event, recipient)
	for _, t := range f.Tenants {
		twice := slices.ContainsFunc(k.tenants, func(x ShimTenant) bool { return x.Slug == t.Slug || x.ID == t.ID })
		if t.Slug == "" || t.ID == "" || t.ID == ledger.Platform || len(t.Grantor) != ed25519.PublicKeySize || twice {
			return nil, errors.New("read shim key: its tenants are not what this version writes")
		}
		k.tenants = append(k.tenants, t)
	}
	if len(k.tenants) == 0 {
		return nil, errors.New("read shim key: it is for no tenant")
	}
	return k, nil
}

// trust returns what a tenant gave the shim, among its rows; ErrShimRevoked if it is nothing.
func (k *ShimKey) trust(t ledger.Tenant, rows []ledger.Row) (shimRow, error) {
	i := slices.IndexFunc(k.tenants, func(x ShimTenant) bool { return x.ID == t })
	j := slices.IndexFunc(rows, func(row ledger.Row) bool { return row.Kind == KindShim && row.ID == k.ID })
	if i < 0 || j < 0 {
		return shimRow{}, ErrShimRevoked
	}
	r, err := readShimRow(rows[j])
	if err != nil {
		return r, err
	}
	message, err := r.message(t)
	if err != nil {
		return r, err
	}
	if !ed25519.Verify(k.tenants[i].Grantor, message, r.Signature) {
		return r, fmt.Errorf("read shim %s: the row is not one that the tenant's server wrote", r.ID)
	}
	return r, nil
}

// Signer returns what signs the shim's events in a tenant's log, as long as the tenant trusts the shim: among its rows
// is that of the shim. ErrShimRevoked otherwise.
func (k *ShimKey) Signer(t ledger.Tenant, rows []ledger.Row) (*Signer, error) {
	if _, err := k.trust(t, rows); err != nil {
		return nil, fmt.Errorf("open the key of the shim: %w", err)
	}
	return k.signer, nil
}

// OpenVault opens the vault's data keys that a tenant gave the shim, among its rows, for opening alone. ErrShimRevoked:
// it gave none; ErrNoKey: it has no vault yet, so that there are no secrets either.
func (k *ShimKey) OpenVault(t ledger.Tenant, rows []ledger.Row) (*Sealer, error) {
	r, err := k.trust(t, rows)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	s := &Sealer{tenant: t}
	current := 0
	for _, g := range r.Grants {
		dek, err := hpke.Open(k.recipient, shimKDF(), shimAEAD(), grantInfo(t, k.ID, g.Version), g.Sealed)
		if err != nil || len(dek) != keySize {
			return nil, fmt.Errorf("open vault: grant of data key %d: %w", g.Version, ErrSealed)
		}
		if err := s.add(g.Version, dek, r.Created); err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
		current = max(current, g.Version)
	}
	if err := s.settle(current); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return s, nil
}
