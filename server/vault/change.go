package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Change is a change of a tenant's secrets that is not made yet.
type Change struct {
	Put    []ledger.Row
	Delete []ledger.Key
	// Drop are references that nothing leads to any more once the change is made.
	Drop []string
	// Secret is the secret after the change, Version the version that the change is about; its Number is 0 if it is about
	// the whole secret.
	Secret  Secret
	Version Info
}

// Empty reports whether the change changes nothing, because all is as it should be already.
func (c Change) Empty() bool { return len(c.Put)+len(c.Delete) == 0 }

// Keep stores the draft's fields in the vault's backend, if it has one, before the draft is put. A draft that is kept
// and then not put is to be dropped. Errors are *fault.Error.
func (v *Vault) Keep(ctx context.Context, d *Draft) error {
	switch {
	case v.broken != nil:
		return sealed(v.broken)
	case v.backend == nil || d.ref != "":
		return nil
	case v.sealer == nil:
		return fmt.Errorf("keep secret: %w", keys.ErrNoKey)
	}
	ref, err := v.backend.Put(ctx, v.sealer.Tenant(), d.Name, maps.Clone(d.Fields))
	if err != nil {
		return fault.Wrap(fault.Unavailable, "secret.backend", "The secret cannot be stored right now.", err)
	}
	d.ref = ref
	return nil
}

// Drop destroys in the vault's backend what the references lead to. The error is the first of all.
func (v *Vault) Drop(ctx context.Context, refs ...string) (first error) {
	for _, ref := range refs {
		if v.backend == nil {
			return fault.New(fault.Unavailable, "secret.backend", "The secret is kept where this server does not look.")
		}
		if err := v.backend.Destroy(ctx, v.sealer.Tenant(), ref); err != nil && first == nil {
			first = fault.Wrap(fault.Unavailable, "secret.backend", "The secret cannot be destroyed right now.", err)
		}
	}
	return first
}

// Kept returns by what the backend finds a draft's fields.
func (d *Draft) Kept() []string {
	if d.ref == "" {
		return nil
	}
	return []string{d.ref}
}

// Put adds a version, staged or at once active. The draft is checked, and kept. Errors are *fault.Error: secret.sealed,
// secret.too_many, secret.moved.
func (v *Vault) Put(d *Draft, by string, now time.Time) (Change, error) {
	r, err := v.edit(d.Name)
	switch {
	case v.sealer == nil && isUnknown(err):
		return Change{}, fmt.Errorf("put secret: %w", keys.ErrNoKey)
	case err != nil && !isUnknown(err):
		return Change{}, err
	case err != nil:
		r = &secretRow{Name: d.Name}
		if len(v.secrets) >= MaxSecrets {
			return Change{}, fault.New(fault.Conflict, "secret.too_many",
				fmt.Sprintf("The tenant has %d secrets; it can have no more.", MaxSecrets))
		}
	}
	if r.left() >= MaxVersions {
		return Change{}, fault.New(fault.Conflict, "secret.too_many",
			fmt.Sprintf("The secret has %d versions; destroy those that nobody needs.", MaxVersions))
	}
	r.Last++
	n := versionRow{Number: r.Last, State: Staged, Created: now.UTC(), Since: now.UTC(), By: by,
		Fingerprint: v.sealer.Fingerprint(canonical(d.Fields)), Size: d.size(),
		Fields: slices.Sorted(maps.Keys(d.Fields)),
		Terms:  terms{Binding: d.Binding, DecisionMode: d.DecisionMode, Unscrubbable: d.short(MinSize)},
	}
	if n.Fingerprint == "" {
		return Change{}, errors.New("put secret: nobody who only opens secrets can put one")
	}
	b := body{Fields: d.Fields}
	if v.backend != nil {
		if d.ref == "" {
			return Change{}, errors.New("put secret: the draft is not kept")
		}
		n.Terms.Backend = v.backend.Name()
		b = body{Ref: d.ref, Digest: digest(d.Fields)}
	}
	if err := sealBody(v.sealer, r.Name, &n, b); err != nil {
		return Change{}, err
	}
	r.Versions = append(r.Versions, n)
	if d.Activate {
		if err := r.expect(d.Expect); err != nil {
			return Change{}, err
		}
		r.activate(r.find(n.Number), now)
	}
	return v.changed(r, n.Number, now)
}

// Activate makes calls use a version: a staged or a retired one, the newest staged one, if that is newer than the
// active one, where number is 0. What was active
// is retired. If expect is given, the version that is active now must be that one, 0 for none. Errors are *fault.Error:
// secret.unknown, secret.sealed, secret.version, secret.none_staged, secret.moved.
func (v *Vault) Activate(name string, number int, expect *int, now time.Time) (Change, error) {
	r, err := v.edit(name)
	if err != nil {
		return Change{}, err
	}
	if err := r.expect(expect); err != nil {
		return Change{}, err
	}
	n := r.find(number)
	if number == 0 {
		if n = r.newestStaged(); n == nil {
			return Change{}, fault.New(fault.Conflict, "secret.none_staged", "The secret has no staged version.")
		}
	}
	switch {
	case n == nil || n.State == Destroyed:
		return Change{}, errVersion()
	case n.Number == r.Active:
		return v.same(name, n), nil
	}
	r.activate(n, now)
	return v.changed(r, n.Number, now)
}

// Rollback makes calls use the version again that was active before the one that is now. Errors are *fault.Error:
// secret.unknown, secret.sealed, secret.none_active, secret.none_before.
func (v *Vault) Rollback(name string, now time.Time) (Change, error) {
	r, err := v.edit(name)
	if err != nil {
		return Change{}, err
	}
	active := r.find(r.Active)
	if active == nil {
		return Change{}, fault.New(fault.Conflict, "secret.none_active", "The secret has no active version.")
	}
	before := r.find(active.Previous)
	if before == nil || before.State == Destroyed {
		return Change{}, fault.New(fault.Conflict, "secret.none_before",
			"No version is left that was active before this one; activate one by its number.")
	}
	r.point(before, now)
	return v.changed(r, before.Number, now)
}

// Disable refuses every call that needs the secret, until Enable. Errors are *fault.Error: secret.unknown,
// secret.sealed.
func (v *Vault) Disable(name string, now time.Time) (Change, error) {
	return v.able(name, now.UTC(), now)
}

// Enable lets calls use a disabled secret again. Errors are those of Disable.
func (v *Vault) Enable(name string, now time.Time) (Change, error) {
	return v.able(name, time.Time{}, now)
}

func (v *Vault) able(name string, disabled, now time.Time) (Change, error) {
	r, err := v.edit(name)
	switch {
	case err != nil:
		return Change{}, err
	case r.Disabled.IsZero() == disabled.IsZero():
		return v.same(name, nil), nil
	}
	r.Disabled = disabled
	return v.changed(r, 0, now)
}

// Destroy makes the value of a version irretrievable, or those of all versions if number is 0. An active version is
// destroyed with all others alone. The secret's name and numbers stay, so that no later version is taken for an earlier
// one, and so does by what a backend finds a version: whoever destroys again has it dropped again. Errors
// are *fault.Error: secret.unknown, secret.sealed, secret.version, secret.active.
func (v *Vault) Destroy(name string, number int, now time.Time) (Change, error) {
	r, err := v.edit(name)
	if number == 0 && isSealed(err) && v.sealer != nil {
		r, err = v.remains(name), nil
	}
	if err != nil {
		return Change{}, err
	}
	n := r.find(number)
	switch {
	case number != 0 && n == nil:
		return Change{}, errVersion()
	case n != nil && n.State == Destroyed:
		c := v.same(name, n)
		c.Drop = v.kept(name, n)
		return c, nil
	case n != nil && number == r.Active:
		return Change{}, fault.New(fault.Conflict, "secret.active",
			"The version is active; activate another one first, or destroy the whole secret.")
	}
	var drop []string
	left := r.left()
	for i := range r.Versions {
		if n := &r.Versions[i]; number == 0 || n.Number == number {
			drop = append(drop, v.kept(name, n)...)
			n.destroy(now)
		}
	}
	if number == 0 && left == 0 && v.secrets[name].broken == nil {
		c := v.same(name, nil)
		c.Drop = drop
		return c, nil
	}
	if number == 0 {
		r.Active = 0
	}
	c, err := v.changed(r, number, now)
	c.Drop = drop
	return c, err
}

// kept returns by what the backend finds a version.
func (v *Vault) kept(name string, r *versionRow) []string {
	if r.Terms.Backend == "" {
		return nil
	}
	b, err := v.open(name, r)
	if err != nil {
		return nil // it leads nowhere
	}
	return []string{b.Ref}
}
