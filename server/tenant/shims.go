package tenant

import (
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Shims returns the standalone shims that the tenant of v trusts. It takes rows alone, whatever else is wrong with v.
func (d *Directory) Shims(v *View) (*keys.Shims, error) {
	return keys.OpenShims(d.cfg.Master, v.ID, v.allRows())
}

// Rewrapped returns the rows of data keys that are to be sealed by the present master key: see keys.Rewrap.
func (d *Directory) Rewrapped(id ledger.Tenant, rows []ledger.Row, all bool) ([]ledger.Row, error) {
	return keys.Rewrap(d.cfg.Master, id, rows, all)
}

// MasterKey returns the id of the present master key.
func (d *Directory) MasterKey() string { return d.cfg.Master.ID() }
