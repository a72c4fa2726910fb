package tenant

import (
	"fmt"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/vault"
)

// OpenVault returns the vault in which v's next secret is to be put. If it is the first one ever the vault has a new
// data key, whose rows must be put with the secret's.
func (d *Directory) OpenVault(v *View) (*vault.Vault, []ledger.Row, error) {
	if v.Vault.Sealer() != nil || v.Vault.Err() != nil {
		return v.Vault, nil, nil
	}
	row, err := keys.CreateVault(d.cfg.Master, v.ID, d.Now())
	if err != nil {
		return nil, nil, err
	}
	rows := []ledger.Row{row}
	return d.plan(v.ID, v.Slug).open(rows), rows, nil
}

// RotateVault returns the rows after which a new data key seals v's secrets.
func (d *Directory) RotateVault(v *View) ([]ledger.Row, error) {
	sealer := v.Vault.Sealer()
	if sealer == nil {
		return nil, fault.Wrap(fault.NotFound, "secret.none", "The tenant has no secrets.", v.Vault.Err())
	}
	return sealer.Rotate(d.cfg.Master, d.Now())
}

// Grant completes a change of v that makes or deletes data keys of its vault: the standalone shims of the tenant are
// given what there is after it.
func (d *Directory) Grant(v *View, c *ledger.Change) error {
	put, err := keys.Granted(d.cfg.Master, v.ID, v.allRows(), c.Put, c.Delete)
	if err != nil {
		return fmt.Errorf("give the vault's data keys to the shims of %s: %w", v.Slug, err)
	}
	c.Put = append(c.Put, put...)
	return nil
}
