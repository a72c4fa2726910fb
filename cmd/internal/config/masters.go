package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// SourceTransit is the kind of a MasterKey that stays in OpenBao; its name is that of a key of a transit engine.
const SourceTransit = "openbao-transit"

// MasterKey says where a master key is.
type MasterKey struct{ Source }

// UnmarshalText reads what a Source may be, or "openbao-transit:KEY".
func (m *MasterKey) UnmarshalText(text []byte) error {
	key, ok := strings.CutPrefix(string(text), SourceTransit+":")
	if !ok {
		return m.Source.UnmarshalText(text)
	}
	if _, err := openbao.ParseTransitKey(key); err != nil {
		return err
	}
	m.Source = Source{Kind: SourceTransit, Name: key}
	return nil
}

// Transit returns the key in OpenBao; false if it is elsewhere.
func (m MasterKey) Transit() (openbao.TransitKey, bool) {
	if m.Kind != SourceTransit {
		return openbao.TransitKey{}, false
	}
	key, err := openbao.ParseTransitKey(m.Name)
	return key, err == nil
}

// Masters are the places of the master keys, the present one first.
func (c *Config) Masters() []MasterKey {
	return append([]MasterKey{c.MasterKey}, c.PreviousMasterKeys...)
}

// InTransit reports whether a master key is in OpenBao.
func (c *Config) InTransit() bool {
	return slices.ContainsFunc(c.Masters(), func(m MasterKey) bool { return m.Kind == SourceTransit })
}

// masterPath is the path of one of Masters.
func masterPath(i int) string {
	if i == 0 {
		return "master_key"
	}
	return fmt.Sprintf("previous_master_keys[%d]", i-1)
}

// masters checks the master keys beside each other, and beside where they are.
func (v *validator) masters(c *Config) {
	if c.MasterKey == (MasterKey{}) {
		v.add("master_key", "is required; bursar init makes one")
	}
	all := c.Masters()
	for i, m := range all {
		switch {
		case slices.Contains(all[:i], m):
			v.add(masterPath(i), "is given twice")
		case m.Kind == SourceTransit && !c.Vault.OpenBao.Given():
			v.add(masterPath(i), "needs vault.openbao, which says where that is")
		}
	}
}

// readMasters reads the master keys, the present one first; nil is one that stays in OpenBao. It makes one of all if
// none does.
func (v *validator) readMasters(c *Config) (all []keys.Master, together keys.Master) {
	whole := true
	for i, m := range c.Masters() {
		var master keys.Master
		if m.Kind != SourceTransit {
			master = v.readMaster(masterPath(i), m.Source)
		}
		all = append(all, master)
		whole = whole && master != nil
	}
	if !whole {
		return all, nil
	}
	together, err := JoinMasters(all)
	v.check("previous_master_keys", err)
	return all, together
}

func (v *validator) readMaster(path string, source strict.Source) keys.Master {
	data, err := source.Read()
	if err != nil {
		v.check(path, err)
		return nil
	}
	m, err := keys.FileMaster(data)
	v.check(path, err)
	return m
}

// JoinMasters makes one master key of the present one, which is the first, and those that it took the place of.
func JoinMasters(all []keys.Master) (keys.Master, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	m, err := keys.NewMasters(all[0], all[1:]...)
	if err != nil {
		return nil, err
	}
	return m, nil
}
