package keys

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// KindShim is the kind of the rows that hold the standalone shims of a tenant; the id is the shim's.
const KindShim = "shimkey"

// ErrShimRevoked means that a tenant does not trust a shim, or does not any more.
var ErrShimRevoked = errors.New("the tenant does not trust this shim")

// ShimEvents are the names of the events that the key of a shim may sign: what it does, and nothing that says what the
// tenant or its log is.
func ShimEvents() []string { return []string{"deny.flood", "key.use", "writer.start", "writer.stop"} }

// shimRow is the stored form of a shim: a public key to which the tenant's vault keys are given, and what was given.
//
// It is sealed whole under the data key of the log, which no shim has: whoever can write to the store cannot add a
// recipient, be it with the keys of a stolen shim. For the shim, which cannot open that, it is signed whole by a key
// that was made for this row: so the vault keys that it takes for the tenant's are those that the server gave it.
type shimRow struct {
	ID        string            `json:"id"` // thumbprint (RFC 7638) of the key that it signs its events with
	Name      string            `json:"name,omitempty"`
	Created   time.Time         `json:"created"`
	Recipient []byte            `json:"recipient"` // HPKE public key (RFC 9180), of shimKEM
	Grantor   ed25519.PublicKey `json:"grantor"`
	Grants    []grant           `json:"grants,omitempty"` // by version
	Signature []byte            `json:"signature"`        // of what stands before it, by the grantor
	Sealed    []byte            `json:"sealed"`           // the grantor's seed, bound to the rest of the row
}

// grant is one version of the vault's data key, for the shim alone.
type grant struct {
	Version int    `json:"version"`
	Sealed  []byte `json:"sealed"` // keySize bytes under the recipient, bound to tenant, shim and version
}

// The one HPKE suite: what was recorded today must not open to a quantum computer tomorrow.
func shimKEM() hpke.KEM   { return hpke.MLKEM768X25519() }
func shimKDF() hpke.KDF   { return hpke.HKDFSHA256() }
func shimAEAD() hpke.AEAD { return hpke.AES256GCM() }

// grantInfo binds a grant to its place.
func grantInfo(t ledger.Tenant, id string, version int) []byte {
	return place{tenant: t, purpose: purposeVault, object: "grant:" + id, version: strconv.Itoa(version)}.aad()
}

// text is the row without what is made of it.
func (r shimRow) text(signed bool) (string, error) {
	if r.Sealed = nil; !signed {
		r.Signature = nil
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode shim: %w", err)
	}
	return string(text), nil
}

// message is what the grantor signs.
func (r shimRow) message(t ledger.Tenant) ([]byte, error) {
	text, err := r.text(false)
	return place{tenant: t, purpose: purposeVault, object: "shim:" + r.ID, binding: text}.aad(), err
}

// place is where the row is sealed: v is the vault of the log.
func (r shimRow) place(v vault) (place, error) {
	text, err := r.text(true)
	return place{tenant: v.tenant, purpose: v.purpose, object: "shim:" + r.ID, version: strconv.Itoa(v.version),
		binding: text}, err
}

// seal signs and seals the row.
func (r shimRow) seal(v vault, grantor ed25519.PrivateKey) (ledger.Row, error) {
	message, err := r.message(v.tenant)
	if err != nil {
		return ledger.Row{}, err
	}
	r.Signature = ed25519.Sign(grantor, message)
	at, err := r.place(v)
	if err != nil {
		return ledger.Row{}, err
	}
	r.Sealed = v.aead.Seal(nil, nil, grantor.Seed(), at.aad())
	return newRow(KindShim, r.ID, r)
}

// grant returns the row with the vault's data keys as they are, and reports whether it had others.
func (r shimRow) grant(t ledger.Tenant, s *Sealer) (_ shimRow, changed bool, err error) {
	var want []sealKey
	if s != nil {
		want = s.keys
	}
	same := func(g grant, k sealKey) bool { return g.Version == k.version }
	if slices.EqualFunc(r.Grants, want, same) {
		return r, false, nil
	}
	recipient, err := shimKEM().NewPublicKey(r.Recipient)
	if err != nil {
		return r, false, fmt.Errorf("read the key of shim %s: %w", r.ID, err)
	}
	had := r.Grants
	r.Grants = nil
	for _, k := range want {
		if i := slices.IndexFunc(had, func(g grant) bool { return same(g, k) }); i >= 0 {
			r.Grants = append(r.Grants, had[i])
			continue
		}
		sealed, err := hpke.Seal(recipient, shimKDF(), shimAEAD(), grantInfo(t, r.ID, k.version), k.dek)
		if err != nil {
			return r, false, fmt.Errorf("grant to shim %s: %w", r.ID, err)
		}
		r.Grants = append(r.Grants, grant{k.version, sealed})
	}
	return r, true, nil
}

func readShimRow(row ledger.Row) (r shimRow, err error) {
	if err := json.Unmarshal(row.Value, &r); err != nil {
		return r, fmt.Errorf("read shim %s: %w", row.ID, err)
	}
	if r.ID != row.ID {
		return r, fmt.Errorf("read shim %s: the row holds another", row.ID)
	}
	return r, nil
}
