package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Key is a signing key, without its private part.
type Key struct {
	ID      string // kid
	Alg     string
	State   string // of States
	Created time.Time
	Since   time.Time // when it came into its state
	Until   time.Time // when a retired key leaves the JWKS; else zero
}

// States are those of a Key, in the order in which Keys lists them.
func States() []string {
	return []string{string(keys.StateNext), string(keys.StateActive), string(keys.StateRetired),
		string(keys.StateRevoked)}
}

// Keys lists the tenant's signing keys: by algorithm, then by state, then the newest first.
func (s *Service) Keys(ctx context.Context, op Operator) ([]Key, error) {
	if err := s.allow(ctx, op, ReadConfig); err != nil {
		return nil, err
	}
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	return s.keys(v), nil
}

func (s *Service) keys(v *tenant.View) []Key {
	info := v.Ring.Info(s.cfg.Directory.Now())
	list := make([]Key, len(info))
	for i, k := range info {
		list[i] = Key{ID: k.KeyID, Alg: string(k.Alg), State: string(k.State), Created: k.Created, Since: k.Created}
		switch k.State {
		case keys.StateActive:
			list[i].Since = k.ActiveFrom
		case keys.StateRetired:
			list[i].Since, list[i].Until = k.RetiredAt, k.GoneAt
		case keys.StateRevoked:
			list[i].Since = k.RetiredAt
		}
	}
	rank := func(k Key) int { return slices.Index(States(), k.State) }
	slices.SortStableFunc(list, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Alg, b.Alg), cmp.Compare(rank(a), rank(b)), b.Created.Compare(a.Created))
	})
	return list
}

// RotateKeys lets the next key of alg sign, or of every algorithm that the tenant has if alg is empty: as soon as every
// verifier can know it. A rotation that is still to take effect is not made twice. It returns the keys after that.
func (s *Service) RotateKeys(ctx context.Context, op Operator, alg string) ([]Key, error) {
	return s.changeKeys(ctx, op, func(v *tenant.View) error {
		algs := []keys.Alg{keys.Alg(alg)}
		switch {
		case alg == "":
			algs = algorithms(v.Ring, s.cfg.Directory.Now())
		case !v.Ring.Has(keys.Alg(alg)):
			return invalid("key.alg", "alg: is not an algorithm that this tenant has a key of")
		}
		return s.rotate(ctx, op, v, algs)
	})
}

// changeKeys makes a change of the tenant's keys, as change does, and returns the keys after it.
func (s *Service) changeKeys(ctx context.Context, op Operator, try func(*tenant.View) error) ([]Key, error) {
	if err := s.allow(ctx, op, WriteKeys); err != nil {
		return nil, err
	}
	err := s.change(ctx, op.slug, func() error {
		v, err := s.cfg.Directory.Fresh(ctx, op.slug)
		if err != nil {
			return err
		}
		return try(v)
	})
	if err != nil {
		return nil, err
	}
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	return s.keys(v), nil
}

// rotate rotates the keys of some algorithms in one commit, with one event each. Where there is nothing to do it
// commits nothing.
func (s *Service) rotate(ctx context.Context, op Operator, v *tenant.View, algs []keys.Alg) error {
	var c ledger.Change
	var events []audit.Event
	for _, alg := range algs {
		put, gone, err := v.Ring.Rotate(alg, s.cfg.Directory.Now())
		if err != nil {
			return fmt.Errorf("rotate keys of %s: %w", v.Slug, err)
		}
		if len(put) == 0 {
			continue
		}
		c.Put, c.Delete = append(c.Put, put...), append(c.Delete, gone...)
		events = append(events, op.keyEvent("rotate", v, put[0]))
	}
	if len(events) == 0 {
		return nil
	}
	_, err := s.commit(ctx, v, c, events...)
	return err
}

// RevokeKey takes a key out of the JWKS at once, so that nothing that it signed verifies any more. If it was the active
// one its successor signs at once. It returns the keys after that. A revoked key stays as it is.
func (s *Service) RevokeKey(ctx context.Context, op Operator, kid string) ([]Key, error) {
	return s.changeKeys(ctx, op, func(v *tenant.View) error {
		put, gone, err := v.Ring.Revoke(kid, s.cfg.Directory.Now())
		switch {
		case errors.Is(err, keys.ErrNoKey):
			return fault.Wrap(fault.NotFound, "key.unknown", "The tenant has no such signing key.", err)
		case err != nil:
			return fmt.Errorf("revoke key of %s: %w", v.Slug, err)
		case len(put) == 0:
			return nil
		}
		i := slices.IndexFunc(put, func(row ledger.Row) bool { return row.Kind == keys.KindKey && row.ID == kid })
		if i < 0 {
			return fmt.Errorf("revoke key of %s: the change lacks the key", v.Slug)
		}
		_, err = s.commit(ctx, v, ledger.Change{Put: put, Delete: gone}, op.keyEvent("revoke", v, put[i]))
		return err
	})
}

// keyEvent records what becomes of one key; its row holds the private half sealed, so that a hash of it tells nothing.
func (o Operator) keyEvent(verb string, v *tenant.View, row ledger.Row) audit.Event {
	before, _ := v.Row(row.Kind, row.ID)
	return o.event("admin."+objectKey+"."+verb, audit.Change{Object: objectKey, ID: row.ID,
		Before: audit.Digest(before), After: audit.Digest(row.Value)})
}

func algorithms(ring *keys.Ring, now time.Time) []keys.Alg {
	var algs []keys.Alg
	for _, k := range ring.Info(now) {
		if !slices.Contains(algs, k.Alg) && ring.Has(k.Alg) {
			algs = append(algs, k.Alg)
		}
	}
	return algs
}

// Maintain rotates the signing keys that have become old, and seals anew what an older data key of a vault sealed, in
// every tenant that this process serves. Call it every few minutes. Of several processes that find the same key old one
// rotates it; the others lose to its commit and leave it at that. Its error joins those of all tenants; one tenant's
// does not keep another's keys from being rotated.
func (s *Service) Maintain(ctx context.Context) error {
	var all []error
	for _, slug := range s.cfg.Directory.Loaded() {
		for _, maintain := range []func(context.Context, string) error{s.rotateDue, s.rewrap} {
			if err := maintain(ctx, slug); err != nil && !errors.Is(err, fault.ErrConflict) {
				all = append(all, fmt.Errorf("maintain tenant %s: %w", slug, err))
			}
		}
	}
	return errors.Join(all...)
}

func (s *Service) rotateDue(ctx context.Context, slug string) error {
	v, err := s.cfg.Directory.Fresh(ctx, slug)
	if err != nil {
		return err
	}
	due := v.Ring.Due(s.cfg.Directory.Now(), s.cfg.RotateEvery)
	if len(due) == 0 {
		return nil
	}
	return s.rotate(ctx, schedule, v, due)
}

// schedule is who acts, in the log, where no operator does.
var schedule = Operator{id: "schedule"}
