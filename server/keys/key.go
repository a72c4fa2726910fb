package keys

import (
	"crypto"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Alg is a signature algorithm by its JOSE name (RFC 7518 §3.1, RFC 8037 §3.1).
type Alg string

const (
	ES256 Alg = "ES256"
	RS256 Alg = "RS256" // 2048 bits; thirty times the cost of the others to sign
	EdDSA Alg = "EdDSA" // Ed25519, always under this name
)

// The kinds of rows that belong to a ring.
const (
	KindDEK = "dek" // id = purpose
	KindKey = "key" // id = kid
)

// The purposes of a tenant's data keys, which are the ids of their rows.
const (
	purposeSign = "sign"
	purposeLog  = "log"
	// purposeVault is the id of the data key that seals now; an older version has its number behind it ("vault.3").
	purposeVault = "vault"
)

// dekRow is the stored form of a tenant's data key for one purpose.
type dekRow struct {
	Master  string    `json:"master"` // id of the master key that sealed it
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Sealed  []byte    `json:"sealed"` // keySize bytes under the master
	// Prints is keySize bytes under this data key, the newest of purpose vault: what names the secrets. It goes on from
	// one version of the data key to the next.
	Prints []byte `json:"prints,omitempty"`
}

func dekPlace(t ledger.Tenant, purpose string, d dekRow) place {
	return place{tenant: t, purpose: purpose, object: "dek", version: strconv.Itoa(d.Version), binding: d.Master}
}

// vault seals a tenant's private keys of one purpose.
type vault struct {
	tenant  ledger.Tenant
	purpose string
	version int
	aead    cipher.AEAD
}

// newVault makes a tenant's data key of a purpose and its row.
func newVault(m Master, t ledger.Tenant, purpose string, now time.Time) (vault, ledger.Row, error) {
	dek := make([]byte, keySize)
	_, _ = rand.Read(dek) // never fails (crypto/rand)
	d := dekRow{Master: m.ID(), Version: 1, Created: now}
	sealed, err := m.Seal(dek, dekPlace(t, purpose, d).aad())
	if err != nil {
		return vault{}, ledger.Row{}, fmt.Errorf("seal data key: %w", err)
	}
	d.Sealed = sealed
	row, err := newRow(KindDEK, purpose, d)
	if err != nil {
		return vault{}, ledger.Row{}, err
	}
	aead, err := newAEAD(dek)
	return vault{t, purpose, d.Version, aead}, row, err
}

// openVault opens the tenant's data key of a purpose among its rows; ErrNoKey if there is none.
func openVault(m Master, t ledger.Tenant, purpose string, rows []ledger.Row) (vault, error) {
	i := slices.IndexFunc(rows, func(row ledger.Row) bool { return row.Kind == KindDEK && row.ID == purpose })
	if i < 0 {
		return vault{}, fmt.Errorf("data key: %w", ErrNoKey)
	}
	d, dek, err := openDEK(m, t, purpose, rows[i])
	if err != nil {
		return vault{}, err
	}
	aead, err := newAEAD(dek)
	if err != nil {
		return vault{}, fmt.Errorf("open data key: %w", err)
	}
	return vault{t, purpose, d.Version, aead}, nil
}

// openDEK opens the data key that a row holds.
func openDEK(m Master, t ledger.Tenant, purpose string, row ledger.Row) (d dekRow, dek []byte, err error) {
	if err := json.Unmarshal(row.Value, &d); err != nil {
		return d, nil, fmt.Errorf("read data key: %w", err)
	}
	present := m.ID()
	if m = sealedBy(m, d.Master); d.Master != m.ID() {
		return d, nil, fmt.Errorf("open data key: it is sealed by master key %q, and the configured one is %q",
			d.Master, present)
	}
	if dek, err = m.Open(d.Sealed, dekPlace(t, purpose, d).aad()); err != nil {
		return d, nil, fmt.Errorf("open data key: %w", err)
	}
	return d, dek, nil
}

func (v vault) place(kid, binding string) place {
	return place{
		tenant: v.tenant, purpose: v.purpose, object: "key:" + kid, version: strconv.Itoa(v.version), binding: binding,
	}
}

// keyRow is the stored form of a signing key. When a key stops signing and when it leaves the published set follows
// from its successor's ActiveFrom, and is therefore not stored.
type keyRow struct {
	ID         string    `json:"kid"`
	Alg        Alg       `json:"alg"`
	Number     int       `json:"number"`               // counts the keys of Alg; they sign in this order
	Created    time.Time `json:"created"`              // published from here on
	ActiveFrom time.Time `json:"active_from,omitzero"` // signs from here on; zero for the next key
	RevokedAt  time.Time `json:"revoked_at,omitzero"`  // unpublished from here on; Sealed is gone
	Sealed     []byte    `json:"sealed,omitempty"`     // PKCS #8 under the data key
}

// key is a keyRow that was opened.
type key struct {
	keyRow
	public jose.JSONWebKey
	signer *Signer // nil if revoked
}

// newKey makes a key that is published from now on.
func (v vault) newKey(alg Alg, number int, now time.Time) (keyRow, error) {
	private, kid, err := generateNamed(alg)
	if err != nil {
		return keyRow{}, fmt.Errorf("make %s key: %w", alg, err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return keyRow{}, fmt.Errorf("encode %s key: %w", alg, err)
	}
	sealed := v.aead.Seal(nil, nil, plain, v.place(kid, string(alg)).aad())
	return keyRow{ID: kid, Alg: alg, Number: number, Created: now, Sealed: sealed}, nil
}

// Known reports whether bursar can sign with alg.
func (a Alg) Known() bool { return a == ES256 || a == RS256 || a == EdDSA }

func generate(alg Alg) (crypto.Signer, error) {
	switch alg {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, errors.New("the algorithm is none of ES256, RS256, EdDSA")
}

// generateNamed makes a key whose name does not begin with a hyphen: operators type it into command lines, which would
// take it for a flag.
func generateNamed(alg Alg) (private crypto.Signer, kid string, err error) {
	for kid == "" || kid[0] == '-' {
		if private, err = generate(alg); err != nil {
			return nil, "", err
		}
		if kid, err = thumbprint(private.Public()); err != nil {
			return nil, "", err
		}
	}
	return private, kid, nil
}

// thumbprint names a key by itself (RFC 7638), so that a kid never has two meanings.
func thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

func (v vault) openKey(row ledger.Row) (*key, error) {
	var k key
	if err := json.Unmarshal(row.Value, &k.keyRow); err != nil {
		return nil, fmt.Errorf("read key %s: %w", row.ID, err)
	}
	if k.ID != row.ID {
		return nil, fmt.Errorf("read key %s: the row holds another key", row.ID)
	}
	if k.revoked() {
		return &k, nil
	}
	plain, err := v.aead.Open(nil, nil, k.Sealed, v.place(k.ID, string(k.Alg)).aad())
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", k.ID, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", k.ID, err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("open key %s: not a signing key", k.ID)
	}
	k.public = jose.JSONWebKey{Key: private.Public(), KeyID: k.ID, Algorithm: string(k.Alg), Use: "sig"}
	k.signer = &Signer{KeyID: k.ID, alg: k.Alg, private: private}
	return &k, nil
}

func (r keyRow) revoked() bool { return !r.RevokedAt.IsZero() }

func (r keyRow) row() (ledger.Row, error) { return newRow(KindKey, r.ID, r) }

func newRow(kind, id string, value any) (ledger.Row, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return ledger.Row{}, fmt.Errorf("encode %s: %w", kind, err)
	}
	return ledger.Row{Kind: kind, ID: id, Value: encoded}, nil
}
