package keys

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// MaxShims bounds the shims that a tenant trusts at a time: each change of the vault's data keys is given to all.
const MaxShims = 32

var (
	// ErrShimKnown means that a tenant knows the shim already, or knew it once.
	ErrShimKnown = errors.New("the shim is known")
	// ErrTooManyShims means that a tenant trusts MaxShims.
	ErrTooManyShims = errors.New("too many shims")
)

// Shims are the standalone shims that a tenant trusts with its vault. They are immutable.
type Shims struct {
	ring   *LogRing
	sealer *Sealer // nil as long as there is no vault
	shims  []*shim
}

// shim is a row that was read.
type shim struct {
	shimRow
	grantor ed25519.PrivateKey
	broken  error // why nothing is given to it; nil if all is well
}

// OpenShims reads a tenant's shims among its rows, with the keys of its log and of its vault. A row that this server
// did not write, or whose key was revoked, is one that nothing is given to.
func OpenShims(m Master, t ledger.Tenant, rows []ledger.Row) (*Shims, error) {
	s := new(Shims)
	var err error
	if s.ring, err = OpenLog(m, t, rows); err != nil {
		return nil, fmt.Errorf("open shims: %w", err)
	}
	if s.sealer, err = OpenVault(m, t, rows); err != nil && !errors.Is(err, ErrNoKey) {
		return nil, fmt.Errorf("open shims: %w", err)
	}
	for _, row := range rows {
		if row.Kind == KindShim {
			s.shims = append(s.shims, s.open(row))
		}
	}
	slices.SortFunc(s.shims, func(a, b *shim) int { return cmp.Compare(s.number(a.ID), s.number(b.ID)) })
	return s, nil
}

// number counts the shims in the order in which they came to be trusted; what never was comes last.
func (s *Shims) number(id string) int {
	if k := s.ring.find(id); k != nil && k.Use == OfShim {
		return k.Number
	}
	return math.MaxInt
}

// open reads one row.
func (s *Shims) open(row ledger.Row) *shim {
	r, err := readShimRow(row)
	opened := &shim{shimRow: r, broken: err}
	if err != nil {
		opened.ID = row.ID
		return opened
	}
	if k := s.ring.find(r.ID); k == nil || k.Use != OfShim || !k.Revoked.IsZero() {
		opened.broken = fmt.Errorf("open shim %s: %w: its key signs nothing", r.ID, ErrShimRevoked)
		return opened
	}
	at, err := r.place(s.ring.vault)
	if err != nil {
		opened.broken = err
		return opened
	}
	seed, err := s.ring.vault.aead.Open(nil, nil, r.Sealed, at.aad())
	if err != nil || len(seed) != ed25519.SeedSize {
		opened.broken = fmt.Errorf("open shim %s: %w", r.ID, ErrSealed)
		return opened
	}
	opened.grantor = ed25519.NewKeyFromSeed(seed)
	return opened
}

// Shim is a shim as an operator sees it.
type Shim struct {
	ID       string
	Name     string
	Created  time.Time
	Readable bool // its row is one that this server wrote, so that it is given the vault's keys
}

// All returns the shims, the oldest first.
func (s *Shims) All() []Shim {
	all := make([]Shim, len(s.shims))
	for i, x := range s.shims {
		all[i] = Shim{ID: x.ID, Name: x.Name, Created: x.Created, Readable: x.broken == nil}
	}
	return all
}

// Trust returns the rows after which the tenant trusts a shim with its vault, and what the shim's key file must hold to
// know that its vault keys come from here. ErrShimKnown: an id is never used again.
func (s *Shims) Trust(p ShimPublic, name string, now time.Time) ([]ledger.Row, ed25519.PublicKey, error) {
	id, err := p.id()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("trust shim: %w", err)
	case s.ring.find(id) != nil:
		return nil, nil, fmt.Errorf("trust shim %s: %w", id, ErrShimKnown)
	case len(s.shims) >= MaxShims:
		return nil, nil, fmt.Errorf("trust shim: %w", ErrTooManyShims)
	}
	now = now.UTC()
	number := 1
	if last := s.ring.last(OfShim); last != nil {
		number = last.Number + 1
	}
	signs, err := s.ring.vault.seal(logKeyRow{ID: id, Use: OfShim, Number: number, Created: now, Public: p.Event}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("trust shim: %w", err)
	}
	public, grantor, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("trust shim: %w", err)
	}
	row := shimRow{ID: id, Name: name, Created: now, Recipient: p.Recipient, Grantor: public}
	if row, _, err = row.grant(s.ring.vault.tenant, s.sealer); err != nil {
		return nil, nil, fmt.Errorf("trust shim: %w", err)
	}
	trusted, err := row.seal(s.ring.vault, grantor)
	return []ledger.Row{signs, trusted}, public, err
}

// Revoke returns the change after which a shim is trusted no more: what it signs from now on is forged, and it is given
// nothing. It keeps what it was given: rotate the vault's data key with it. ErrNoKey: there is no such shim; of one
// that was revoked before, nothing is left to change.
func (s *Shims) Revoke(id string, now time.Time) (put []ledger.Row, gone []ledger.Key, err error) {
	k := s.ring.find(id)
	held := slices.ContainsFunc(s.shims, func(x *shim) bool { return x.ID == id })
	if (k == nil || k.Use != OfShim) && !held {
		return nil, nil, fmt.Errorf("revoke shim %s: %w", id, ErrNoKey)
	}
	if held {
		gone = append(gone, ledger.Key{Kind: KindShim, ID: id})
	}
	if k == nil || k.Use != OfShim || !k.Revoked.IsZero() {
		return nil, gone, nil
	}
	row := k.logKeyRow
	row.Revoked = now.UTC()
	ended, err := s.ring.vault.seal(row, nil)
	return []ledger.Row{ended}, gone, err
}

// regrant returns the rows of the shims that do not have the vault's data keys as they are. A row that is not to be
// trusted is an error, and nothing is given to anybody.
func (s *Shims) regrant() (put []ledger.Row, err error) {
	for _, x := range s.shims {
		if x.broken != nil {
			return nil, x.broken
		}
		r, changed, err := x.grant(s.ring.vault.tenant, s.sealer)
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		row, err := r.seal(s.ring.vault, x.grantor)
		if err != nil {
			return nil, err
		}
		put = append(put, row)
	}
	return put, nil
}

// Granted returns the rows that must be put together with a change of a tenant's rows, so that its shims have the data
// keys of the vault as they are after it: those that it makes, and none that it deletes. Before are the tenant's rows
// of kinds dek, logkey and shimkey, at least. A change that leaves the vault's data keys alone needs nothing.
func Granted(m Master, t ledger.Tenant, before, put []ledger.Row, gone []ledger.Key) ([]ledger.Row, error) {
	vault := func(kind, id string) bool { return kind == KindDEK && isVaultKey(id) }
	if !slices.ContainsFunc(put, func(row ledger.Row) bool { return vault(row.Kind, row.ID) }) &&
		!slices.ContainsFunc(gone, func(key ledger.Key) bool { return vault(key.Kind, key.ID) }) {
		return nil, nil
	}
	after := slices.DeleteFunc(slices.Clone(before), func(row ledger.Row) bool {
		key := ledger.Key{Kind: row.Kind, ID: row.ID}
		return slices.Contains(gone, key) ||
			slices.ContainsFunc(put, func(p ledger.Row) bool { return p.Kind == key.Kind && p.ID == key.ID })
	})
	after = append(after, put...)
	if !slices.ContainsFunc(after, func(row ledger.Row) bool { return row.Kind == KindShim }) {
		return nil, nil
	}
	s, err := OpenShims(m, t, after)
	if err != nil {
		return nil, err
	}
	return s.regrant()
}
