package outpost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/current"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// slot is one tenant's place in the directory.
type slot struct {
	tenant keys.ShimTenant
	view   atomic.Pointer[shim.View] // nil as long as the tenant cannot be used
	fresh  current.Joint[*shim.View]
	cover  cover
	// of the shared read, of which there is one at a time:
	backend vault.Backend // or nil
	vault   *vault.Vault  // as read last; it knows what was seen of each secret
	trouble error         // why the tenant could not be used when it was read last
	again   time.Time     // not before then it is read again
}

// refresh returns the slot's view as it stands in the store when refresh is called, or later.
func (d *Directory) refresh(ctx context.Context, s *slot) (*shim.View, error) {
	v, err := s.fresh.Do(ctx, &d.running, func(ctx context.Context) (*shim.View, error) { return d.renew(ctx, s) })
	if err != nil {
		return nil, unreadable("tenant.read", err)
	}
	return v, nil
}

// pause is how long a tenant that cannot be used stays so without another look, beside what the store itself says.
const pause = 250 * time.Millisecond

// renew reads what the slot's view lacks. A view is complete or it is not made: while the keys of a new revision cannot
// be fetched, nothing of it is used, and nothing of the one before it either. Of a store that went back, nothing is
// used that the server does not vouch for.
func (d *Directory) renew(ctx context.Context, s *slot) (*shim.View, error) {
	if s.trouble != nil && d.cfg.Now().Before(s.again) {
		return nil, s.trouble
	}
	old := s.view.Load()
	p, err := d.cfg.Store.Position(ctx, s.tenant.ID)
	if err != nil {
		return nil, err
	}
	d.clock.Observe(p.Time)
	switch {
	case old == nil:
	case p.Revision < old.Revision || p.Cutoffs < old.Cutoffs.Seq: // it is another store, or an older one
		old = nil
	case covers(old, p):
		return old, nil
	}
	next := new(shim.View)
	if old != nil {
		*next = *old
	}
	if old == nil || old.Revision < p.Revision {
		if next, err = d.read(ctx, s); err != nil {
			return nil, d.note(s, err)
		}
	}
	if old != nil {
		next.Cutoffs = old.Cutoffs
	}
	if next.Cutoffs == nil || next.Cutoffs.Seq < p.Cutoffs {
		if next.Cutoffs, err = d.cutoffs(ctx, s.tenant.ID, next.Cutoffs); err != nil {
			return nil, err
		}
	}
	_ = d.note(s, nil)
	s.view.Store(next)
	return next, nil
}

// note remembers why a tenant cannot be used, and says it once; or, with nil, that it can again. A store that does not
// answer is nothing about the tenant.
func (d *Directory) note(s *slot, err error) error {
	if errors.Is(err, fault.ErrUnavailable) || errors.Is(err, context.Canceled) {
		return err
	}
	switch {
	case err == nil && s.trouble != nil:
		d.cfg.Logger.Info("the tenant can be used again", "tenant", s.tenant.Slug)
	case err != nil && s.trouble == nil:
		d.cfg.Logger.Error("the tenant cannot be used; its calls are answered with 503 until it can",
			"tenant", s.tenant.Slug, "error", err)
	}
	if s.trouble = err; err != nil {
		s.view.Store(nil)
		s.again = d.cfg.Now().Add(pause)
	}
	return err
}

// read makes a view of the tenant's rows as they stand, without its cutoffs.
func (d *Directory) read(ctx context.Context, s *slot) (*shim.View, error) {
	rows, at, err := d.cfg.Store.Rows(ctx, s.tenant.ID, Kinds()...)
	if err != nil {
		return nil, err
	}
	d.clock.Observe(at.Time)
	v := &shim.View{ID: s.tenant.ID, Slug: s.tenant.Slug, Issuer: d.cfg.BaseURL + "/t/" + s.tenant.Slug,
		Revision: at.Revision, Private: d.cfg.Private[s.tenant.Slug]}
	if v.Secrets, err = d.open(s, rows); err != nil {
		return nil, err
	}
	if v.Tools, err = d.tools(s, rows); err != nil {
		return nil, err
	}
	if v.Verify, err = d.keys(ctx, s.tenant.Slug, at.Revision); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "tenant.keys",
			"The keys of the tenant's tokens cannot be fetched right now; try again shortly.", err)
	}
	return v, nil
}

// open opens the tenant's secrets, with what the tenant gave this shim.
func (d *Directory) open(s *slot, rows []ledger.Row) (*vault.Vault, error) {
	sealer, err := d.cfg.Key.OpenVault(s.tenant.ID, rows)
	switch {
	case errors.Is(err, keys.ErrShimRevoked):
		return nil, fault.Wrap(fault.Unavailable, "shim.revoked", "The tenant does not trust this shim.", err)
	case errors.Is(err, keys.ErrNoKey): // it has no secrets
		s.vault = vault.Open(nil, nil, rows).After(s.vault)
	case err != nil:
		d.cfg.Logger.Error("the secrets of the tenant cannot be opened", "tenant", s.tenant.Slug, "error", err)
		s.vault = vault.Broken(err, rows).After(s.vault)
	default:
		s.vault = vault.Open(sealer, s.backend, rows).After(s.vault)
	}
	return s.vault, nil
}

// tools reads the tenant's tools. One that says something which this version does not know is left out: it may be a
// restriction.
func (d *Directory) tools(s *slot, rows []ledger.Row) (*tools.Tools, error) {
	var all []tools.Tool
	for _, row := range rows {
		if row.Kind != kindTool {
			continue
		}
		var tool tools.Tool
		decoder := json.NewDecoder(bytes.NewReader(row.Value))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&tool); err != nil || decoder.More() {
			d.cfg.Logger.Error("a tool says what this version does not know, and is not served; update bursar-shim",
				"tenant", s.tenant.Slug, "tool", row.ID, "error", err)
			continue
		}
		all = append(all, tool)
	}
	index, found := tools.New(all, tools.Place{BaseURL: d.cfg.BaseURL, ShimURL: d.cfg.URL, Tenant: s.tenant.Slug,
		Stored: true})
	if len(found) > 0 {
		return nil, fault.Wrap(fault.Unavailable, "tenant.unreadable", "The tenant's tools cannot be used.",
			fmt.Errorf("stored tools have mistakes: %s", found[0]))
	}
	return index, nil
}

// cutoffs reads what came after those that are known.
func (d *Directory) cutoffs(ctx context.Context, id ledger.Tenant, known *revoke.State) (*revoke.State, error) {
	var after int64
	if known != nil {
		after = known.Seq
	}
	more, at, err := d.cfg.Store.Cutoffs(ctx, id, after)
	if err != nil {
		return nil, err
	}
	return known.With(more, at), nil
}
