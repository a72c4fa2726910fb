package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// objectDataKey is a data key as the log names it.
const objectDataKey = "data-key"

// Prober makes the call that shows whether a version of a secret works.
type Prober interface {
	// Probe makes the probe of a tool with that version; whoever calls it has recorded that. status is what the upstream
	// answered. Errors are *fault.Error; nothing was answered then.
	Probe(ctx context.Context, slug, tool, secret string, version int) (status int, err error)
}

// Probed is what came of a test.
type Probed struct {
	Tool    string
	Version vault.Info
	Status  int  // that the upstream answered
	Passed  bool // it is one that the tool's probe expects
}

// TestSecret has the probe of a tool made with a version of a secret: of the one tool that puts the secret on its calls
// and has a probe if tool is empty, with the newest staged version, or else the active one, if number is 0. Nothing of
// the answer but its status comes back.
func (s *Service) TestSecret(ctx context.Context, op Operator, name string, number int, tool string) (Probed, error) {
	if err := s.allow(ctx, op, TestSecret); err != nil {
		return Probed{}, err
	}
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return Probed{}, err
	}
	if s.cfg.Prober == nil {
		return Probed{}, fault.New(fault.Conflict, "secret.no_shim", "This server has no shim, which makes the call.")
	}
	version, err := tried(v.Vault, name, number)
	if err != nil {
		return Probed{}, err
	}
	with, err := probed(v, name, tool)
	if err != nil {
		return Probed{}, err
	}
	e := op.event(audit.SecretTest, audit.Change{})
	e.Body.Tool = with.Name
	e.Body.Secret = audit.Secret{Name: name, Version: int64(version.Number), Fingerprint: version.Fingerprint,
		State: string(version.State), Kinds: version.Binding.Kinds, Host: version.Binding.Origin()}
	status, err := s.probe(ctx, op, e, func() (int, error) {
		status, err := s.cfg.Prober.Probe(ctx, op.slug, with.Name, name, version.Number)
		return status, unmade(err)
	})
	if err != nil {
		return Probed{}, err
	}
	return Probed{Tool: with.Name, Version: version, Status: status, Passed: with.Upstream.Probe.Expects(status)}, nil
}

// probe makes a call that e records: before it is made, and again with what came of it.
func (s *Service) probe(ctx context.Context, op Operator, e audit.Event, call func() (int, error)) (int, error) {
	e.Body.Use.Phase = audit.UseIntent
	if _, err := s.cfg.Log.Append(ctx, op.origin, e); err != nil {
		return 0, err
	}
	status, err := call()
	e.Body.Use.Phase = audit.UseOutcome
	if err == nil {
		e.Body.Use.Status = int64(status)
	} else {
		e.Body.Outcome, e.Body.Reason = audit.Failed, fault.As(err).Reason
	}
	_, lost := s.cfg.Log.Append(context.WithoutCancel(ctx), op.origin, e)
	return status, cmp.Or(err, lost)
}

// unmade is why a probe was not made, as whoever tests a secret is told. What the shim refuses to send is nothing that
// another role, or nothing but the agent, could mend: it is a Conflict with what the tenant and the platform say.
func unmade(err error) error {
	if err == nil {
		return nil
	}
	f := *fault.As(err)
	if f.Kind == fault.InvalidTarget || f.Kind == fault.Forbidden {
		f.Kind = fault.Conflict
	}
	return &f
}

// tried returns the version that is to be tried.
func tried(v *vault.Vault, name string, number int) (vault.Info, error) {
	secret, err := v.Get(name)
	if err != nil {
		return vault.Info{}, err
	}
	for _, n := range secret.Versions { // the newest first
		if number == 0 && n.State == vault.Staged && n.Number > secret.Active || number != 0 && n.Number == number {
			return n, nil
		}
	}
	for _, n := range secret.Versions {
		if number == 0 && n.Number == secret.Active {
			return n, nil
		}
	}
	return vault.Info{}, fault.New(fault.NotFound, "secret.version", "The secret has no such version.")
}

// probed returns the tool whose probe is to be made.
func probed(v *tenant.View, secret, name string) (found *tools.Tool, err error) {
	for _, tool := range v.Tools.All() {
		switch {
		case name != "" && tool.Name != name, len(injects(tool, secret)) == 0, tool.Upstream.Probe == nil:
			continue
		case found != nil:
			return nil, fault.New(fault.Conflict, "secret.several_tools", "Several tools with a probe put the secret on their "+
				"calls; say with which one to try it.")
		}
		found = tool
	}
	if found == nil {
		return nil, fault.New(fault.Conflict, "secret.no_probe", "No such tool puts the secret on its calls and has an "+
			"upstream.probe, the call that a test makes.")
	}
	return found, nil
}

// RotateVaultKey lets a new data key seal the tenant's secrets, and begins to seal anew what older ones sealed, which
// Maintain ends. Every call goes on meanwhile.
func (s *Service) RotateVaultKey(ctx context.Context, op Operator) (vault.Progress, error) {
	if err := s.allow(ctx, op, WriteKeys); err != nil {
		return vault.Progress{}, err
	}
	err := s.change(ctx, op.slug, func() error {
		v, err := s.cfg.Directory.Fresh(ctx, op.slug)
		if err != nil {
			return err
		}
		put, err := s.cfg.Directory.RotateVault(v)
		if err != nil {
			return fmt.Errorf("rotate the vault's data key of %s: %w", op.slug, err)
		}
		row := put[0]
		before, _ := v.Row(row.Kind, row.ID)
		c := ledger.Change{Put: put}
		if err := s.cfg.Directory.Grant(v, &c); err != nil {
			return err
		}
		_, err = s.commit(ctx, v, c, op.event("admin."+objectDataKey+".rotate", audit.Change{Object: objectDataKey,
			ID: row.ID, Before: audit.Digest(before), After: audit.Digest(row.Value)}))
		return err
	})
	if err != nil {
		return vault.Progress{}, err
	}
	for range rewrapAtOnce {
		if more, err := s.rewrapStep(ctx, op.slug); err != nil || !more {
			break // what is left is Maintain's
		}
	}
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return vault.Progress{}, err
	}
	return v.Vault.Progress(), nil
}

// rewrapAtOnce is how many steps of sealing anew a rotation makes before it answers.
const rewrapAtOnce = 4

// rewrap seals anew what older data keys of a tenant's vault sealed, until nothing is left. It may end anywhere, and
// goes on from there when it is called again, by whomever.
func (s *Service) rewrap(ctx context.Context, slug string) error {
	for {
		more, err := s.rewrapStep(ctx, slug)
		if err != nil || !more {
			return err
		}
	}
}

// rewrapStep makes one step, and reports whether there may be another.
func (s *Service) rewrapStep(ctx context.Context, slug string) (more bool, err error) {
	v, err := s.cfg.Directory.Fresh(ctx, slug)
	if err != nil {
		return false, err
	}
	step, count, err := v.Vault.Rewrap(s.cfg.Directory.Now())
	if err != nil || step.Empty() {
		return false, err
	}
	c := ledger.Change{Put: step.Put, Delete: step.Delete}
	if err := s.cfg.Directory.Grant(v, &c); err != nil {
		return false, err
	}
	_, err = s.commit(ctx, v, c, schedule.rewrapped(v, step.Put))
	if errors.Is(err, fault.ErrConflict) { // somebody changed the tenant, or made the same step
		return true, nil
	}
	return count > 0, err
}

// ShredSecrets destroys all secrets of the tenant, and the data keys that seal them: leftovers of the rows do not open.
// A backup that was made before has both. It cannot be undone, so that the tenant must be named once more. What a
// backend keeps is destroyed after the change; where that fails, the error is Unavailable, and the backend has what is
// left. It returns how many secrets there were.
func (s *Service) ShredSecrets(ctx context.Context, op Operator, confirm string) (count int, err error) {
	if err := s.allow(ctx, op, DestroySecret); err != nil {
		return 0, err
	}
	if confirm != op.slug {
		return 0, invalid("secret.confirm", "confirm: must be the tenant's name")
	}
	var drop []string
	var from *vault.Vault
	err = s.change(ctx, op.slug, func() error {
		v, err := s.cfg.Directory.Fresh(ctx, op.slug)
		if err != nil {
			return err
		}
		rows := append(v.Rows(keys.KindDEK), v.Rows(vault.Kind)...)
		gone, err := v.Vault.Shred(rows)
		if err != nil {
			return err
		}
		from, drop, count = v.Vault, gone.Drop, len(v.Vault.List())
		c := ledger.Change{Delete: gone.Delete}
		if err := s.cfg.Directory.Grant(v, &c); err != nil {
			return err
		}
		e := op.event(audit.SecretShred, audit.Change{Object: objectDataKey, ID: keys.VaultKey})
		e.Body.Count = int64(count)
		_, err = s.commit(ctx, v, c, e)
		return err
	})
	if err != nil {
		return 0, err
	}
	return count, from.Drop(ctx, drop...)
}
