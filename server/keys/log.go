package keys

import (
	"cmp"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/ledger"
)

// KindLogKey is the kind of the rows that hold the keys of a log; the id is the key's thumbprint (RFC 7638).
const KindLogKey = "logkey"

// LogUse is what a key of a log signs.
type LogUse string

// A log has one key of each of the first two uses, and those that signed before; and one of each standalone shim, whose
// private half only the shim has.
const (
	Events      LogUse = "event"
	Checkpoints LogUse = "checkpoint"
	OfShim      LogUse = "shim" // ShimEvents
)

// Overlap is how long a checkpoint key still signs beside the one that replaced it, so that whoever holds its public
// half has time to fetch the other.
const Overlap = 7 * 24 * time.Hour

// logKeyRow is the stored form of a key of a log. Rows are never deleted: what a key signed is verified for as long as
// the log is kept. So all of a row is sealed, and not only its secret: whoever can write to the store cannot make a key
// that once signed, nor one that signed for longer.
type logKeyRow struct {
	ID      string            `json:"kid"`
	Use     LogUse            `json:"use"`
	Number  int               `json:"number"` // counts the keys of a use
	Public  ed25519.PublicKey `json:"public"`
	Created time.Time         `json:"created"`             // signs from here on
	Retired time.Time         `json:"retired,omitzero"`    // another one signs from here on
	Revoked time.Time         `json:"revoked_at,omitzero"` // what it signs from here on is forged
	Sealed  []byte            `json:"sealed,omitempty"`    // the seed, or nothing, bound to the rest of the row
}

// seal returns the row as it is stored, with the seed of a key that still signs or with nil.
func (v vault) seal(r logKeyRow, seed []byte) (ledger.Row, error) {
	aad, err := v.rowAAD(r)
	if err != nil {
		return ledger.Row{}, err
	}
	r.Sealed = v.aead.Seal(nil, nil, seed, aad)
	return newRow(KindLogKey, r.ID, r)
}

func (v vault) rowAAD(r logKeyRow) ([]byte, error) {
	r.Sealed = nil
	binding, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return v.place(r.ID, string(binding)).aad(), nil
}

type logKey struct {
	logKeyRow
	private ed25519.PrivateKey // nil if the row has none
}

// LogRing is the keys of one log: what signs its events, and what signs its checkpoints. Neither is among the keys
// that tokens are verified with, so that whoever steals one cannot make a token. It is immutable and safe for
// concurrent use.
type LogRing struct {
	vault  vault
	keys   []*logKey // by use and number
	events *Signer
}

// CreateLog returns the rows of a new log's keys: its data key, and one key of each use.
func CreateLog(m Master, t ledger.Tenant, now time.Time) ([]ledger.Row, error) {
	now = now.UTC()
	v, row, err := newVault(m, t, purposeLog, now)
	if err != nil {
		return nil, fmt.Errorf("create log keys: %w", err)
	}
	rows := []ledger.Row{row}
	for _, use := range []LogUse{Events, Checkpoints} {
		row, err := v.newLogKey(use, 1, now)
		if err != nil {
			return nil, fmt.Errorf("create log keys: %w", err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// OpenLog reads the keys of a log among a tenant's rows; rows of other kinds are passed over. ErrNoKey: the rows hold
// none.
func OpenLog(m Master, t ledger.Tenant, rows []ledger.Row) (*LogRing, error) {
	r := new(LogRing)
	var err error
	if r.vault, err = openVault(m, t, purposeLog, rows); err != nil {
		return nil, fmt.Errorf("open log keys: %w", err)
	}
	for _, row := range rows {
		if row.Kind != KindLogKey {
			continue
		}
		k, err := r.vault.openLogKey(row)
		if err != nil {
			return nil, fmt.Errorf("open log keys: %w", err)
		}
		r.keys = append(r.keys, k)
	}
	if err := r.settle(); err != nil {
		return nil, fmt.Errorf("open log keys: %w", err)
	}
	return r, nil
}

// settle puts the keys in order, and finds out what signs.
func (r *LogRing) settle() error {
	slices.SortFunc(r.keys, func(a, b *logKey) int {
		return cmp.Or(cmp.Compare(a.Use, b.Use), cmp.Compare(a.Number, b.Number))
	})
	event, checkpoint := r.last(Events), r.last(Checkpoints)
	if event == nil || event.private == nil || checkpoint == nil || checkpoint.private == nil {
		return fmt.Errorf("no key signs events, or none checkpoints: %w", ErrNoKey)
	}
	r.events = &Signer{KeyID: event.ID, alg: EdDSA, private: event.private}
	return nil
}

func (v vault) newLogKey(use LogUse, number int, now time.Time) (ledger.Row, error) {
	private, kid, err := generateNamed(EdDSA)
	if err != nil {
		return ledger.Row{}, fmt.Errorf("make %s key: %w", use, err)
	}
	secret := private.(ed25519.PrivateKey)
	return v.seal(logKeyRow{ID: kid, Use: use, Number: number, Created: now,
		Public: secret.Public().(ed25519.PublicKey)}, secret.Seed())
}

func (v vault) openLogKey(row ledger.Row) (*logKey, error) {
	var k logKey
	if err := json.Unmarshal(row.Value, &k.logKeyRow); err != nil {
		return nil, fmt.Errorf("read key %s: %w", row.ID, err)
	}
	name, err := thumbprint(crypto.PublicKey(k.Public))
	if err != nil || name != row.ID || k.ID != row.ID {
		return nil, fmt.Errorf("read key %s: the row holds another key", row.ID)
	}
	aad, err := v.rowAAD(k.logKeyRow)
	if err != nil {
		return nil, err
	}
	seed, err := v.aead.Open(nil, nil, k.Sealed, aad)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open key %s: %w", k.ID, err)
	case len(seed) == 0:
		return &k, nil
	case len(seed) != ed25519.SeedSize:
		return nil, fmt.Errorf("open key %s: not an Ed25519 key", k.ID)
	}
	k.private = ed25519.NewKeyFromSeed(seed)
	if !k.Public.Equal(k.private.Public()) {
		return nil, fmt.Errorf("open key %s: the two halves do not belong together", k.ID)
	}
	return &k, nil
}

// ErrShimKey means that a key is the one of a shim.
var ErrShimKey = errors.New("it is the key of a shim")

// find returns the key of an id, or nil.
func (r *LogRing) find(kid string) *logKey {
	i := slices.IndexFunc(r.keys, func(k *logKey) bool { return k.ID == kid })
	if i < 0 {
		return nil
	}
	return r.keys[i]
}

// last returns the newest key of a use.
func (r *LogRing) last(use LogUse) (found *logKey) {
	for _, k := range r.keys {
		if k.Use == use {
			found = k
		}
	}
	return found
}

// Events returns what signs events now.
func (r *LogRing) Events() *Signer { return r.events }

// Notes returns what signs checkpoints, under a key name, at now: the newest key, and those that were retired less than
// Overlap ago.
func (r *LogRing) Notes(name string, now time.Time) (signers []*auditor.NoteSigner) {
	for _, k := range slices.Backward(r.keys) {
		if k.Use == Checkpoints && k.private != nil && (k.Retired.IsZero() || now.Before(k.Retired.Add(Overlap))) {
			signers = append(signers, auditor.NewNoteSigner(name, k.private))
		}
	}
	return signers
}

// Verifiers returns what verifies the checkpoints of the log, under a key name: those of all keys that were not
// revoked, and, by their ids, those of the keys that were, for what they signed before.
func (r *LogRing) Verifiers(name string) (all []note.Verifier, revoked map[string]note.Verifier, err error) {
	revoked = map[string]note.Verifier{}
	for _, k := range r.keys {
		if k.Use != Checkpoints {
			continue
		}
		text, err := note.NewEd25519VerifierKey(name, k.Public)
		if err != nil {
			return nil, nil, fmt.Errorf("encode key %s: %w", k.ID, err)
		}
		v, err := note.NewVerifier(text)
		if err != nil {
			return nil, nil, fmt.Errorf("read key %s: %w", k.ID, err)
		}
		if k.Revoked.IsZero() {
			all = append(all, v)
		} else {
			revoked[k.ID] = v
		}
	}
	return all, revoked, nil
}

// EventKeys returns the public keys that ever signed events, the oldest first, and after them those of shims.
func (r *LogRing) EventKeys() (public []auditor.EventKey) {
	for _, k := range r.keys {
		if k.Use == Checkpoints {
			continue
		}
		p := auditor.NewEventKey(k.ID, k.Public)
		if k.Use != Events {
			p.Names = []string{}
		}
		if k.Use == OfShim {
			p.Names = ShimEvents()
		}
		p.NotBefore = k.Created.Unix()
		if !k.Retired.IsZero() {
			p.Expires = k.Retired.Unix()
		}
		if !k.Revoked.IsZero() {
			p.Revoked = k.Revoked.Unix()
		}
		public = append(public, p)
	}
	return public
}
