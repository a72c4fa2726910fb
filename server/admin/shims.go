package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// objectShim is a standalone shim as the log names it.
const objectShim = "shim-key"

// Shim is a standalone shim that a tenant trusts with its vault.
type Shim struct {
	ID      string
	Name    string
	State   string // of ShimStates
	Created time.Time
}

// The states of a shim.
const (
	ShimTrusted = "trusted"
	// ShimUnreadable: its row is not one that this server wrote, or its key was revoked. It is given nothing, and the
	// vault's data key cannot be rotated before the shim is revoked.
	ShimUnreadable = "unreadable"
)

// ShimStates returns every state of a shim.
func ShimStates() []string { return []string{ShimTrusted, ShimUnreadable} }

// Shims lists the standalone shims that the tenant trusts, the oldest first.
func (s *Service) Shims(ctx context.Context, op Operator) ([]Shim, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	shims, err := s.cfg.Directory.Shims(v)
	if err != nil {
		return nil, fmt.Errorf("read the shims of %s: %w", v.Slug, err)
	}
	list := []Shim{}
	for _, x := range shims.All() {
		list = append(list, shimOf(x))
	}
	return list, nil
}

func shimOf(x keys.Shim) Shim {
	s := Shim{ID: x.ID, Name: x.Name, State: ShimTrusted, Created: x.Created}
	if !x.Readable {
		s.State = ShimUnreadable
	}
	return s
}

// ShimRequest is the public halves of a shim's keys.
type ShimRequest struct {
	Name      string // a slug, or empty
	Event     []byte // Ed25519, of its events
	Recipient []byte // HPKE, to which the vault's data keys are given
}

// TrustedShim is what the key file of a shim must hold about a tenant that trusts it.
type TrustedShim struct {
	Shim
	Tenant  ledger.Tenant
	Grantor []byte // Ed25519, by which the shim knows what the tenant gave it
}

// TrustShim lets a standalone shim open the tenant's vault, and sign what it does in the tenant's log. For platform
// admins alone: whoever has the shim's key and can read the store has the tenant's secrets. A shim that is known, or
// was once, is a Conflict, so that a call whose answer was lost is not repeated but made with other keys.
func (s *Service) TrustShim(ctx context.Context, op Operator, r ShimRequest) (done *TrustedShim, err error) {
	if err := s.allow(ctx, op, WriteShims); err != nil {
		return nil, err
	}
	if r.Name != "" {
		if err := scopes.CheckSlug(r.Name); err != nil {
			return nil, invalid("shim.name", "name: "+err.Error())
		}
	}
	err = s.change(ctx, op.slug, func() error {
		v, shims, err := s.shims(ctx, op)
		if err != nil {
			return err
		}
		now := s.cfg.Directory.Now()
		put, grantor, err := shims.Trust(keys.ShimPublic{Event: r.Event, Recipient: r.Recipient}, r.Name, now)
		if err != nil {
			return errShim(err)
		}
		row := put[slices.IndexFunc(put, func(row ledger.Row) bool { return row.Kind == keys.KindShim })]
		created := op.event("admin."+objectShim+".create",
			audit.Change{Object: objectShim, ID: row.ID, After: audit.Digest(row.Value)})
		events := append([]audit.Event{created}, op.logKeyEvents(nil, put)...)
		done = &TrustedShim{Tenant: v.ID, Grantor: grantor,
			Shim: Shim{ID: row.ID, Name: r.Name, State: ShimTrusted, Created: now}}
		_, err = s.commit(ctx, v, ledger.Change{Put: put}, events...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// errShim is what the caller is told of a shim that cannot be trusted.
func errShim(err error) error {
	switch {
	case errors.Is(err, keys.ErrShimKnown):
		return fault.Wrap(fault.Conflict, "shim.known", "The tenant knows this shim, or did once; make another key.", err)
	case errors.Is(err, keys.ErrTooManyShims):
		return fault.Wrap(fault.Conflict, "shim.too_many", fmt.Sprintf(
			"The tenant trusts %d shims; revoke one that is not used any more.", keys.MaxShims), err)
	}
	return invalid("shim.keys", "event_key, recipient_key: must be the public halves of a shim's keys")
}

// shims reads the tenant's shims, whatever else is wrong with the tenant.
func (s *Service) shims(ctx context.Context, op Operator) (*tenant.View, *keys.Shims, error) {
	v, err := s.cfg.Directory.Bare(ctx, op.slug)
	if err != nil {
		return nil, nil, err
	}
	shims, err := s.cfg.Directory.Shims(v)
	if err != nil {
		return nil, nil, fmt.Errorf("read the shims of %s: %w", v.Slug, err)
	}
	return v, shims, nil
}

// RevokedShim says what came of a revocation.
type RevokedShim struct {
	// Rotated: a new data key seals the tenant's secrets from now on, which the shim does not have. False of a tenant
	// without secrets, and of one another shim of which is unreadable: rotate the vault's key when that one is revoked.
	Rotated bool
	// Secrets is how many secrets the shim could open until now; somebody else may have them if its key was stolen.
	Secrets int
}

// RevokeShim ends the trust in a standalone shim at once: it opens nothing that is read after this, what it signs is
// forged, and a new data key takes the place of the one that it had, under which everything is sealed anew. A shim that
// was revoked before stays as it is.
func (s *Service) RevokeShim(ctx context.Context, op Operator, id string) (done *RevokedShim, err error) {
	if err := s.allow(ctx, op, WriteShims); err != nil {
		return nil, err
	}
	err = s.change(ctx, op.slug, func() error {
		done, err = s.revokeShim(ctx, op, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	for range rewrapAtOnce {
		if more, err := s.rewrapStep(ctx, op.slug); err != nil || !more {
			break // what is left is Maintain's
		}
	}
	return done, nil
}

// revokeShim is one attempt.
func (s *Service) revokeShim(ctx context.Context, op Operator, id string) (*RevokedShim, error) {
	v, shims, err := s.shims(ctx, op)
	if err != nil {
		return nil, err
	}
	put, gone, err := shims.Revoke(id, s.cfg.Directory.Now())
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, fault.Wrap(fault.NotFound, "shim.unknown", "The tenant has no such shim.", err)
	case err != nil:
		return nil, fmt.Errorf("revoke shim of %s: %w", v.Slug, err)
	}
	done := &RevokedShim{Secrets: len(v.Vault.List())}
	c := ledger.Change{Put: put, Delete: gone}
	if c.Empty() {
		return done, nil
	}
	before, _ := v.Row(keys.KindShim, id)
	events := append([]audit.Event{op.event("admin."+objectShim+".delete",
		audit.Change{Object: objectShim, ID: id, Before: audit.Digest(before)})},
		op.logKeyEvents(logKeysOf(v), put)...)
	if rotated, e, err := s.rotated(op, v, c); err == nil {
		c, done.Rotated, events = rotated, true, append(events, e)
	}
	_, err = s.commit(ctx, v, c, events...)
	return done, err
}

// rotated returns a change with a new data key for the vault, given to those shims that are left, and its event. An
// error must not keep a shim from being revoked.
func (s *Service) rotated(op Operator, v *tenant.View, c ledger.Change) (ledger.Change, audit.Event, error) {
	put, err := s.cfg.Directory.RotateVault(v)
	if err != nil {
		return c, audit.Event{}, err
	}
	before, _ := v.Row(put[0].Kind, put[0].ID)
	e := op.event("admin."+objectDataKey+".rotate", audit.Change{Object: objectDataKey, ID: put[0].ID,
		Before: audit.Digest(before), After: audit.Digest(put[0].Value)})
	c.Put = slices.Concat(c.Put, put)
	return c, e, s.cfg.Directory.Grant(v, &c)
}

// logKeysOf returns the keys of the tenant's log, as its rows have them.
func logKeysOf(v *tenant.View) (all []keys.LogKey) {
	for _, row := range v.Rows(keys.KindLogKey) {
		if k, ok := keys.ReadLogKey(row); ok {
			all = append(all, k)
		}
	}
	return all
}
