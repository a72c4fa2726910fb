package admin

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// objectVaultSecret is a secret of the vault as the log names it.
const objectVaultSecret = "secret"

// VaultSecret is a secret of the vault as an operator sees it.
type VaultSecret struct {
	vault.Secret
	Tools   []string // names of the tools that put it on their calls
	Unbound []string // of them, those whose calls go where the active version, or else the newest, may not go
}

// VaultChange is what came of a change of a secret.
type VaultChange struct {
	Secret   VaultSecret
	Version  vault.Info // that the change is about; its Number is 0 if it is about the whole secret
	Changed  bool       // false: it was so already
	Warnings []string   // sentences
}

// VaultSecrets lists the tenant's secrets by name, and how far they are sealed with the newest data key.
func (s *Service) VaultSecrets(ctx context.Context, op Operator) ([]VaultSecret, vault.Progress, error) {
	v, err := s.read(ctx, op, ListSecrets)
	if err != nil {
		return nil, vault.Progress{}, err
	}
	all := []VaultSecret{}
	for _, secret := range v.Vault.List() {
		all = append(all, seen(v, secret))
	}
	return all, v.Vault.Progress(), nil
}

// VaultSecret returns one of the tenant's secrets.
func (s *Service) VaultSecret(ctx context.Context, op Operator, name string) (VaultSecret, error) {
	v, err := s.read(ctx, op, ListSecrets)
	if err != nil {
		return VaultSecret{}, err
	}
	secret, err := v.Vault.Get(name)
	if err != nil {
		return VaultSecret{}, err
	}
	return seen(v, secret), nil
}

// seen adds to a secret what the tenant's tools do with it.
func seen(v *tenant.View, secret vault.Secret) VaultSecret {
	all := VaultSecret{Secret: secret}
	i := slices.IndexFunc(secret.Versions, func(n vault.Info) bool { return n.Number == secret.Active })
	if i < 0 {
		i = 0 // the newest
	}
	if v.Tools == nil { // the configuration cannot be used
		return all
	}
	for _, tool := range v.Tools.All() {
		injections := injects(tool, secret.Name)
		if len(injections) == 0 {
			continue
		}
		all.Tools = append(all.Tools, tool.Name)
		fits := func(in *tools.Injection) bool { return secret.Versions[i].Binding.Fits(tool.Upstream, in) }
		if i < len(secret.Versions) && slices.ContainsFunc(injections, func(in *tools.Injection) bool { return !fits(in) }) {
			all.Unbound = append(all.Unbound, tool.Name)
		}
	}
	return all
}

// injects returns the ways in which a tool puts a secret on its calls.
func injects(tool *tools.Tool, secret string) (all []*tools.Injection) {
	if tool.Upstream == nil {
		return nil
	}
	for i := range tool.Upstream.Inject {
		if in := &tool.Upstream.Inject[i]; in.Secret == secret {
			all = append(all, in)
		}
	}
	return all
}

// PutSecret puts a version of a secret, staged or, if the draft says so, at once active, which is another right. A
// value never comes out again. After Unavailable the version may be there; the next one has another number.
func (s *Service) PutSecret(ctx context.Context, op Operator, d *vault.Draft) (VaultChange, error) {
	if err := s.allow(ctx, op, PutSecret); err != nil {
		return VaultChange{}, err
	}
	if d.Activate {
		if err := s.allow(ctx, op, ActivateSecret); err != nil {
			return VaultChange{}, err
		}
	}
	d.Fill()
	if problems := d.Check(); len(problems) > 0 {
		return VaultChange{}, invalid("secret.mistakes", problems...)
	}
	var kept *vault.Vault // that keeps the draft's fields elsewhere
	done, err := s.changeSecret(ctx, op, func(v *tenant.View) (vaultChange, error) {
		into, rows, err := s.cfg.Directory.OpenVault(v)
		if err != nil {
			return vaultChange{}, fmt.Errorf("make a vault of %s: %w", v.Slug, err)
		}
		if err := into.Keep(ctx, d); err != nil {
			return vaultChange{}, err
		}
		kept = into
		c, err := into.Put(d, op.id, s.cfg.Directory.Now())
		c.Put = append(c.Put, rows...)
		names := []string{audit.SecretPut}
		if d.Activate {
			names = append(names, audit.SecretActivate)
		}
		return vaultChange{c, names}, err
	})
	if err != nil {
		if kept != nil && fault.As(err).Kind == fault.Conflict { // it is known that nothing was put
			_ = kept.Drop(context.WithoutCancel(ctx), d.Kept()...) // nothing leads to it; what is left is no way in
		}
		return VaultChange{}, err
	}
	done.Warnings = d.Warnings()
	return done, nil
}

// ActivateSecret makes the calls from now on use a version of a secret: the newest staged one if number is 0. If expect
// is given, that version must be the active one, 0 for none.
func (s *Service) ActivateSecret(ctx context.Context, op Operator, name string, number int, expect *int) (
	VaultChange, error,
) {
	return s.secret(ctx, op, ActivateSecret, audit.SecretActivate, func(v *vault.Vault) (vault.Change, error) {
		return v.Activate(name, number, expect, s.cfg.Directory.Now())
	})
}

// RollbackSecret makes the calls from now on use the version that was active before. Nobody needs to know its value.
func (s *Service) RollbackSecret(ctx context.Context, op Operator, name string) (VaultChange, error) {
	return s.secret(ctx, op, ActivateSecret, audit.SecretRollback, func(v *vault.Vault) (vault.Change, error) {
		return v.Rollback(name, s.cfg.Directory.Now())
	})
}

// DisableSecret has every call refused from now on that needs the secret.
func (s *Service) DisableSecret(ctx context.Context, op Operator, name string) (VaultChange, error) {
	return s.secret(ctx, op, DisableSecret, audit.SecretDisable, func(v *vault.Vault) (vault.Change, error) {
		return v.Disable(name, s.cfg.Directory.Now())
	})
}

// EnableSecret lets calls use a disabled secret again, which takes the right to activate.
func (s *Service) EnableSecret(ctx context.Context, op Operator, name string) (VaultChange, error) {
	return s.secret(ctx, op, ActivateSecret, audit.SecretEnable, func(v *vault.Vault) (vault.Change, error) {
		return v.Enable(name, s.cfg.Directory.Now())
	})
}

// DestroySecret makes the value of a version irretrievable, or, if number is 0, those of all versions: that is a
// Conflict while a tool that is not disabled puts the secret on its calls, unless it is forced. What a backend keeps is
// destroyed after the change; where that fails, the error is Unavailable, and asking again does it again.
func (s *Service) DestroySecret(ctx context.Context, op Operator, name string, number int, force bool) (
	VaultChange, error,
) {
	if err := s.allow(ctx, op, DestroySecret); err != nil {
		return VaultChange{}, err
	}
	var drop []string
	var from *vault.Vault
	done, err := s.changeSecret(ctx, op, func(v *tenant.View) (vaultChange, error) {
		if tool := inUse(v, name); tool != "" && number == 0 && !force {
			return vaultChange{}, fault.New(fault.Conflict, "secret.in_use", "The tool "+tool+
				" puts the secret on its calls; take it from the tool first, or force it.")
		}
		c, err := v.Vault.Destroy(name, number, s.cfg.Directory.Now())
		from, drop = v.Vault, c.Drop
		return vaultChange{c, []string{audit.SecretDestroy}}, err
	})
	if err != nil {
		return VaultChange{}, err
	}
	return done, from.Drop(ctx, drop...)
}

// inUse returns the name of a tool that puts a secret on its calls.
func inUse(v *tenant.View, secret string) string {
	for _, tool := range v.Tools.All() {
		if !tool.Disabled && len(injects(tool, secret)) > 0 {
			return tool.Name
		}
	}
	return ""
}

// vaultChange is a change of a secret, and the names of the events that record it.
type vaultChange struct {
	vault.Change
	events []string
}

// secret makes a change of one secret that the tenant has.
func (s *Service) secret(ctx context.Context, op Operator, a Action, event string,
	change func(*vault.Vault) (vault.Change, error),
) (VaultChange, error) {
	if err := s.allow(ctx, op, a); err != nil {
		return VaultChange{}, err
	}
	return s.changeSecret(ctx, op, func(v *tenant.View) (vaultChange, error) {
		c, err := change(v.Vault)
		return vaultChange{c, []string{event}}, err
	})
}

// changeSecret makes a change of one secret of the operator's tenant, with its events, in one commit.
func (s *Service) changeSecret(ctx context.Context, op Operator, draft func(*tenant.View) (vaultChange, error)) (
	done VaultChange, err error,
) {
	err = s.change(ctx, op.slug, func() error {
		v, err := s.cfg.Directory.Fresh(ctx, op.slug)
		if err != nil {
			return err
		}
		c, err := draft(v)
		if err != nil {
			return err
		}
		done = VaultChange{Secret: seen(v, c.Secret), Version: c.Version, Changed: !c.Empty()}
		if !done.Changed {
			return nil
		}
		change := ledger.Change{Put: c.Put, Delete: c.Delete}
		if err := s.cfg.Directory.Grant(v, &change); err != nil {
			return err
		}
		var events []audit.Event
		for _, name := range c.events {
			events = append(events, op.secretEvent(name, v, c.Change))
		}
		_, err = s.commit(ctx, v, change, events...)
		return err
	})
	return done, err
}

// secretEvent records what becomes of a secret. Its row holds the values sealed, so that a hash of it tells nothing.
func (o Operator) secretEvent(name string, v *tenant.View, c vault.Change) audit.Event {
	before, _ := v.Row(vault.Kind, c.Secret.Name)
	i := slices.IndexFunc(c.Put, func(row ledger.Row) bool { return row.Kind == vault.Kind })
	e := o.event(name, audit.Change{Object: objectVaultSecret, ID: c.Secret.Name,
		Before: audit.Digest(before), After: audit.Digest(c.Put[i].Value)})
	e.Body.Secret = audit.Secret{Name: c.Secret.Name, Version: int64(c.Version.Number),
		Fingerprint: c.Version.Fingerprint, State: string(c.Version.State)}
	switch name {
	case audit.SecretPut, audit.SecretActivate, audit.SecretRollback:
		e.Body.Secret.Kinds, e.Body.Secret.Host = c.Version.Binding.Kinds, c.Version.Binding.Origin()
	case audit.SecretDisable, audit.SecretEnable:
		e.Body.Secret.Version = int64(c.Secret.Active)
	}
	if c.Version.Number == 0 {
		e.Body.Secret.State = string(c.Secret.State)
	}
	return e
}

// rewrapped records that secrets were sealed anew.
func (o Operator) rewrapped(v *tenant.View, put []ledger.Row) audit.Event {
	before, after := sha256.New(), sha256.New()
	for _, row := range put {
		old, _ := v.Row(row.Kind, row.ID)
		fmt.Fprintf(before, "%s %s\n", row.ID, audit.Digest(old))
		fmt.Fprintf(after, "%s %s\n", row.ID, audit.Digest(row.Value))
	}
	e := o.event(audit.SecretRewrap, audit.Change{Object: objectVaultSecret, Before: digest(before), After: digest(after)})
	e.Body.Count = int64(len(put))
	return e
}
