package keys

import (
	"cmp"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Sealer seals and opens a tenant's secrets with its data keys of purpose vault: it seals with the newest, and opens
// with every one that is still there. It is immutable and safe for concurrent use.
type Sealer struct {
	tenant ledger.Tenant
	keys   []sealKey // by version, the newest last; never empty
	prints []byte    // names secrets; nil where it is not at hand
}

// sealKey is one version of a vault's data key.
type sealKey struct {
	version int
	created time.Time
	dek     []byte
	aead    cipher.AEAD
}

// ErrSealed means that sealed bytes do not open here: they were changed, moved, or sealed with a key that is gone.
var ErrSealed = errors.New("does not open in this place")

// CreateVault returns the row of a new vault's data key.
func CreateVault(m Master, t ledger.Tenant, now time.Time) (ledger.Row, error) {
	prints := make([]byte, keySize)
	_, _ = rand.Read(prints) // never fails (crypto/rand)
	row, err := newSealRow(m, t, 1, prints, now)
	if err != nil {
		return row, fmt.Errorf("create vault: %w", err)
	}
	return row, nil
}

// newSealRow makes a version of a vault's data key.
func newSealRow(m Master, t ledger.Tenant, version int, prints []byte, now time.Time) (ledger.Row, error) {
	dek := make([]byte, keySize)
	_, _ = rand.Read(dek) // never fails (crypto/rand)
	aead, err := newAEAD(dek)
	if err != nil {
		return ledger.Row{}, err
	}
	d := dekRow{Master: m.ID(), Version: version, Created: now.UTC()}
	d.Prints = aead.Seal(nil, nil, prints, printsPlace(t, version).aad())
	if d.Sealed, err = m.Seal(dek, dekPlace(t, purposeVault, d).aad()); err != nil {
		return ledger.Row{}, fmt.Errorf("seal data key: %w", err)
	}
	return newRow(KindDEK, purposeVault, d)
}

func printsPlace(t ledger.Tenant, version int) place {
	return place{tenant: t, purpose: purposeVault, object: "prints", version: strconv.Itoa(version)}
}

// OpenVault opens the data keys of a vault among a tenant's rows; other rows are passed over. ErrNoKey: there is none
// yet, so that there are no secrets either.
func OpenVault(m Master, t ledger.Tenant, rows []ledger.Row) (*Sealer, error) {
	s := &Sealer{tenant: t}
	current := 0
	for _, row := range rows {
		if row.Kind != KindDEK || !isVaultKey(row.ID) {
			continue
		}
		d, dek, err := openDEK(m, t, purposeVault, row)
		if err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
		if err := s.add(d.Version, dek, d.Created); err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
		switch row.ID {
		case purposeVault:
			current = d.Version
			prints := printsPlace(t, d.Version)
			if s.prints, err = s.keys[len(s.keys)-1].aead.Open(nil, nil, d.Prints, prints.aad()); err != nil {
				return nil, fmt.Errorf("open vault: %w", err)
			}
		case oldVaultKey(d.Version):
		default:
			return nil, fmt.Errorf("open vault: row %s holds another data key", row.ID)
		}
	}
	if err := s.settle(current); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return s, nil
}

// add takes one version of the data key.
func (s *Sealer) add(version int, dek []byte, created time.Time) error {
	aead, err := newAEAD(dek)
	if err != nil {
		return fmt.Errorf("open data key: %w", err)
	}
	s.keys = append(s.keys, sealKey{version, created, dek, aead})
	return nil
}

// settle puts the keys in order, and refuses them if the newest is not the current one.
func (s *Sealer) settle(current int) error {
	if len(s.keys) == 0 {
		return fmt.Errorf("data key: %w", ErrNoKey)
	}
	slices.SortFunc(s.keys, func(a, b sealKey) int { return cmp.Compare(a.version, b.version) })
	for i, k := range s.keys {
		if i > 0 && s.keys[i-1].version == k.version {
			return fmt.Errorf("there are two data keys of version %d", k.version)
		}
	}
	if current != s.Version() {
		return errors.New("the newest data key is not the one that seals: rows were put back")
	}
	return nil
}

func oldVaultKey(version int) string { return purposeVault + "." + strconv.Itoa(version) }

func isVaultKey(id string) bool {
	return id == purposeVault || strings.HasPrefix(id, purposeVault+".")
}

// Tenant returns whose secrets these are.
func (s *Sealer) Tenant() ledger.Tenant { return s.tenant }

// Version returns the number of the data key that seals now, from 1.
func (s *Sealer) Version() int { return s.keys[len(s.keys)-1].version }

// Versions returns the numbers of all data keys that are still there, the newest last.
func (s *Sealer) Versions() []int {
	all := make([]int, len(s.keys))
	for i, k := range s.keys {
		all[i] = k.version
	}
	return all
}

// versionSize is the length of the number of the data key, which stands before what it sealed.
const versionSize = 4

// Seal seals plain for one place of the vault: the object, its version, and what else must not change. It begins with
// the number of the data key. Plain may be empty: what is sealed then are the three texts.
func (s *Sealer) Seal(object, version, binding string, plain []byte) []byte {
	k := s.keys[len(s.keys)-1]
	sealed := binary.BigEndian.AppendUint32(nil, uint32(k.version))
	return k.aead.Seal(sealed, nil, plain, s.place(object, version, binding).aad())
}

// Open returns what Seal sealed for the same place; ErrSealed for everything else.
func (s *Sealer) Open(object, version, binding string, sealed []byte) ([]byte, error) {
	with := SealedWith(sealed)
	i := slices.IndexFunc(s.keys, func(k sealKey) bool { return k.version == with })
	if i < 0 {
		return nil, fmt.Errorf("open %s: data key %d: %w", object, with, ErrSealed)
	}
	plain, err := s.keys[i].aead.Open(nil, nil, sealed[versionSize:], s.place(object, version, binding).aad())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", object, ErrSealed)
	}
	return plain, nil
}

func (s *Sealer) place(object, version, binding string) place {
	return place{tenant: s.tenant, purpose: purposeVault, object: object, version: version, binding: binding}
}

// SealedWith returns the number of the data key that sealed something, or 0.
func SealedWith(sealed []byte) int {
	if len(sealed) < versionSize {
		return 0
	}
	return int(binary.BigEndian.Uint32(sealed))
}

// PrintSize is the length of a fingerprint, in bytes; it is written in hex.
const PrintSize = 8

// Fingerprint names a plain value without telling anything of it: the first bytes of its HMAC-SHA256 under a key of the
// tenant's, which outlives the data keys. Two values of one tenant have the same fingerprint if they are the same. It
// is empty where that key is not at hand, as in a standalone shim.
func (s *Sealer) Fingerprint(plain []byte) string {
	if len(s.prints) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, s.prints)
	mac.Write(plain)
	return hex.EncodeToString(mac.Sum(nil)[:PrintSize])
}

// Rotate returns the rows after which a new data key seals: its own, and that of the one before it, under its number,
// for as long as something is sealed with it.
func (s *Sealer) Rotate(m Master, now time.Time) ([]ledger.Row, error) {
	last := s.keys[len(s.keys)-1]
	next, err := newSealRow(m, s.tenant, last.version+1, s.prints, now)
	if err != nil {
		return nil, fmt.Errorf("rotate vault key: %w", err)
	}
	old := dekRow{Master: m.ID(), Version: last.version, Created: last.created}
	if old.Sealed, err = m.Seal(last.dek, dekPlace(s.tenant, purposeVault, old).aad()); err != nil {
		return nil, fmt.Errorf("rotate vault key: seal data key: %w", err)
	}
	row, err := newRow(KindDEK, oldVaultKey(last.version), old)
	return []ledger.Row{next, row}, err
}

// Old returns the keys of the rows of the data keys that seal no more: once nothing is sealed with them they can go.
func (s *Sealer) Old() (rows []ledger.Key) {
	for _, k := range s.keys[:len(s.keys)-1] {
		rows = append(rows, ledger.Key{Kind: KindDEK, ID: oldVaultKey(k.version)})
	}
	return rows
}

// VaultKey is the id of the row of a vault's newest data key.
const VaultKey = purposeVault

// VaultKeys returns the keys of the rows that hold data keys of a vault: without them nothing that they sealed ever
// opens again. None of them needs to be one that opens.
func VaultKeys(rows []ledger.Row) (all []ledger.Key) {
	for _, row := range rows {
		if row.Kind == KindDEK && isVaultKey(row.ID) {
			all = append(all, ledger.Key{Kind: row.Kind, ID: row.ID})
		}
	}
	return all
}
