package keys

import (
	"encoding/json"
	"fmt"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Masters is a master key with those that it took the place of: it seals with the one, and opens what any of them
// sealed. So a master key is replaced while servers run.
type Masters struct {
	Master
	previous map[string]Master // by id
}

// NewMasters returns the present master key with previous ones. No two may have the same id.
func NewMasters(present Master, previous ...Master) (*Masters, error) {
	m := &Masters{Master: present, previous: make(map[string]Master, len(previous))}
	for _, p := range previous {
		if _, twice := m.previous[p.ID()]; twice || p.ID() == present.ID() {
			return nil, fmt.Errorf("master key %q is given twice", p.ID())
		}
		m.previous[p.ID()] = p
	}
	return m, nil
}

// sealedBy returns the master key of an id that m has, or m itself.
func sealedBy(m Master, id string) Master {
	if many, ok := m.(*Masters); ok {
		if p, ok := many.previous[id]; ok {
			return p
		}
	}
	return m
}

// Rewrap returns the rows of a tenant's data keys, of every purpose, that are to be sealed by the present master key
// and are not, sealed by it; with all, also those that are: a master key that is kept elsewhere may have been renewed
// there under its id. What the data keys sealed stays as it is.
func Rewrap(m Master, t ledger.Tenant, rows []ledger.Row, all bool) (put []ledger.Row, err error) {
	for _, row := range rows {
		if row.Kind != KindDEK {
			continue
		}
		var d dekRow
		if err := json.Unmarshal(row.Value, &d); err != nil {
			return nil, fmt.Errorf("rewrap: read data key %s: %w", row.ID, err)
		}
		if d.Master == m.ID() && !all {
			continue
		}
		next, err := rewrapped(m, t, row)
		if err != nil {
			return nil, fmt.Errorf("rewrap: %s: %w", row.ID, err)
		}
		put = append(put, next)
	}
	return put, nil
}

func rewrapped(m Master, t ledger.Tenant, row ledger.Row) (ledger.Row, error) {
	purpose := row.ID
	if isVaultKey(row.ID) {
		purpose = purposeVault
	}
	d, dek, err := openDEK(m, t, purpose, row)
	if err != nil {
		return ledger.Row{}, err
	}
	d.Master = m.ID()
	if d.Sealed, err = m.Seal(dek, dekPlace(t, purpose, d).aad()); err != nil {
		return ledger.Row{}, fmt.Errorf("seal data key: %w", err)
	}
	return newRow(KindDEK, row.ID, d)
}
