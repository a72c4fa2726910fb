package vault

import (
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// List returns all secrets by name.
func (v *Vault) List() []Secret {
	if v == nil {
		return nil
	}
	all := make([]Secret, 0, len(v.secrets))
	for _, name := range slices.Sorted(maps.Keys(v.secrets)) {
		all = append(all, v.secrets[name].named(name).info())
	}
	return all
}

// named is the secret under the name of its row, whatever the row says.
func (s *secret) named(name string) *secret {
	if s.row.Name == name {
		return s
	}
	return &secret{row: secretRow{Name: name}, broken: s.broken}
}

// Get returns a secret. fault.NotFound: there is none of that name.
func (v *Vault) Get(name string) (Secret, error) {
	s := v.find(name)
	if s == nil {
		return Secret{}, errUnknown()
	}
	return s.named(name).info(), nil
}

// Err returns why no secret can be read; nil if nothing is wrong with the data keys.
func (v *Vault) Err() error {
	if v == nil {
		return nil
	}
	return v.broken
}

// Sealer returns what seals the vault's secrets, or nil if there was never a secret.
func (v *Vault) Sealer() *keys.Sealer {
	if v == nil {
		return nil
	}
	return v.sealer
}

// Progress says how far the secrets are sealed with the newest data key.
type Progress struct {
	DataKey int // version of the newest; 0 if there is none
	Total   int // secrets that can be read
	Left    int // of them, those that something older seals
	Old     int // data keys beside the newest that are still there
}

// Done reports whether nothing is left to be sealed anew, and no data key to be deleted.
func (p Progress) Done() bool { return p.Left == 0 && p.Old == 0 }

// Progress returns how far a rotation of the data key has come.
func (v *Vault) Progress() (p Progress) {
	if v.Sealer() == nil {
		return p
	}
	p.DataKey, p.Old = v.sealer.Version(), len(v.sealer.Versions())-1
	for _, s := range v.secrets {
		if s.broken != nil {
			continue
		}
		p.Total++
		if s.row.dataKey() != p.DataKey {
			p.Left++
		}
	}
	return p
}

// Bounds of one step of Rewrap, so that its commit stays short.
const (
	rewrapRows  = 64
	rewrapBytes = 1 << 20
)

// Rewrap returns the next step of sealing everything with the newest data key, and how many secrets it seals anew. With
// the last one go the older data keys. A step that was not committed is made again by whoever asks next: all that it
// needs is in the rows. An empty change: nothing is left to do.
func (v *Vault) Rewrap(now time.Time) (c Change, count int, err error) {
	if v.Sealer() == nil {
		return Change{}, 0, nil
	}
	size, left := 0, false
	for _, name := range slices.Sorted(maps.Keys(v.secrets)) {
		s := v.secrets[name]
		if s.broken != nil || s.row.dataKey() == v.sealer.Version() {
			continue
		}
		if left = count == rewrapRows || size >= rewrapBytes; left {
			break
		}
		r, err := v.edit(name)
		if err != nil {
			return Change{}, 0, err
		}
		one, err := v.changed(r, 0, now)
		if err != nil {
			return Change{}, 0, err
		}
		c.Put = append(c.Put, one.Put...)
		size += len(one.Put[0].Value)
		count++
	}
	if !left {
		c.Delete = v.sealer.Old()
	}
	return c, count, nil
}

// Shred returns the change after which nothing of the vault ever opens again, be it a copy of its rows: its data keys
// go, and the rows with them. A copy that has the data keys, too, still opens with the master key. The rows are all of
// the tenant's.
func (v *Vault) Shred(rows []ledger.Row) (Change, error) {
	c := Change{Delete: keys.VaultKeys(rows)}
	for _, row := range rows {
		if row.Kind == Kind {
			c.Delete = append(c.Delete, ledger.Key{Kind: Kind, ID: row.ID})
		}
	}
	if len(c.Delete) == 0 {
		return c, fault.New(fault.NotFound, "secret.none", "The tenant has no secrets.")
	}
	for name, s := range v.secrets {
		for i := range s.row.Versions {
			if s.broken == nil && s.row.Versions[i].State != Destroyed {
				c.Drop = append(c.Drop, v.kept(name, &s.row.Versions[i])...)
			}
		}
	}
	slices.Sort(c.Drop)
	return c, nil
}
