package adminapi

import (
	"context"
	"net/http"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/vault"
)

// vaultRoutes returns the calls about the secrets of a tenant's vault. None of them answers a value.
func vaultRoutes() []route {
	const get, post, of = http.MethodGet, http.MethodPost, "/t/{tenant}/secrets/{secret}"
	change := typ[operator.SecretChange]()
	return []route{
		{method: get, path: "/t/{tenant}/secrets", name: "listVaultSecrets", answer: typ[operator.VaultSecrets](),
			handle: (*API).vaultSecrets},
		{method: get, path: of, name: "vaultSecret", answer: typ[operator.VaultSecret](), handle: (*API).vaultSecret},
		{method: post, path: of + "/versions", name: "putVaultSecret", body: jsonBody[operator.SecretRequest](),
			answer: change, status: []int{http.StatusCreated}, handle: (*API).putVaultSecret},
		{method: post, path: of + "/activate", name: "activateVaultSecret", body: jsonBody[operator.SecretChoice](),
			answer: change, handle: (*API).activateVaultSecret},
		{method: post, path: of + "/rollback", name: "rollbackVaultSecret", answer: change,
			handle: vaultChange((*admin.Service).RollbackSecret)},
		{method: post, path: of + "/disable", name: "disableVaultSecret", answer: change,
			handle: vaultChange((*admin.Service).DisableSecret)},
		{method: post, path: of + "/enable", name: "enableVaultSecret", answer: change,
			handle: vaultChange((*admin.Service).EnableSecret)},
		{method: post, path: of + "/destroy", name: "destroyVaultSecret", body: jsonBody[operator.SecretEnd](),
			answer: change, handle: (*API).destroyVaultSecret},
		{method: post, path: of + "/test", name: "testVaultSecret", body: jsonBody[operator.SecretTrial](),
			answer: typ[operator.SecretTested](), handle: (*API).testVaultSecret},
		{method: post, path: "/t/{tenant}/vault/rotate", name: "rotateVaultKey", answer: typ[operator.DataKey](),
			handle: (*API).rotateVaultKey},
		{method: post, path: "/t/{tenant}/vault/shred", name: "shredVault", body: jsonBody[operator.ShredRequest](),
			answer: typ[operator.Shredded](), handle: (*API).shredVault},
	}
}

func (a *API) vaultSecrets(c call) (answer, error) {
	all, progress, err := a.cfg.Service.VaultSecrets(c.ctx, c.op)
	wire := operator.VaultSecrets{Items: make([]operator.VaultSecret, len(all)), DataKey: dataKey(progress)}
	for i, s := range all {
		wire.Items[i] = vaultSecret(s)
	}
	return ok(wire), err
}

func (a *API) vaultSecret(c call) (answer, error) {
	s, err := a.cfg.Service.VaultSecret(c.ctx, c.op, c.path("secret"))
	return ok(vaultSecret(s)), err
}

func (a *API) putVaultSecret(c call) (answer, error) {
	r, err := decode[operator.SecretRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	binding, err := vault.NewBinding(r.Host, r.CA, r.TokenURL, r.Inject)
	if err != nil {
		return answer{}, invalid("host: " + err.Error())
	}
	expect, err := expected(r.Expect)
	if err != nil {
		return answer{}, err
	}
	if expect != nil && !r.Activate {
		return answer{}, invalid("expect: needs activate")
	}
	done, err := a.cfg.Service.PutSecret(c.ctx, c.op, &vault.Draft{Name: c.path("secret"), Fields: r.Fields,
		Binding: binding, DecisionMode: r.Decision, Unscrubbable: r.Short, Activate: r.Activate, Expect: expect})
	return answer{status: http.StatusCreated, body: changed(done)}, err
}

// expected reads which version must be active: nil is whatever is.
func expected(n int) (*int, error) {
	switch {
	case n == 0:
		return nil, nil
	case n < -1:
		return nil, invalid("expect: must be the number of a version, or -1 for none")
	}
	n = max(n, 0)
	return &n, nil
}

func (a *API) activateVaultSecret(c call) (answer, error) {
	r, err := decode[operator.SecretChoice](c.body)
	if err != nil {
		return answer{}, err
	}
	expect, err := expected(r.Expect)
	if err != nil {
		return answer{}, err
	}
	done, err := a.cfg.Service.ActivateSecret(c.ctx, c.op, c.path("secret"), r.Version, expect)
	return ok(changed(done)), err
}

func (a *API) destroyVaultSecret(c call) (answer, error) {
	r, err := decode[operator.SecretEnd](c.body)
	if err != nil {
		return answer{}, err
	}
	done, err := a.cfg.Service.DestroySecret(c.ctx, c.op, c.path("secret"), r.Version, r.Force)
	return ok(changed(done)), err
}

func (a *API) testVaultSecret(c call) (answer, error) {
	r, err := decode[operator.SecretTrial](c.body)
	if err != nil {
		return answer{}, err
	}
	done, err := a.cfg.Service.TestSecret(c.ctx, c.op, c.path("secret"), r.Version, r.Tool)
	return ok(operator.SecretTested{Tool: done.Tool, Version: version(done.Version), Status: done.Status,
		Passed: done.Passed}), err
}

func (a *API) rotateVaultKey(c call) (answer, error) {
	progress, err := a.cfg.Service.RotateVaultKey(c.ctx, c.op)
	return ok(dataKey(progress)), err
}

func (a *API) shredVault(c call) (answer, error) {
	r, err := decode[operator.ShredRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	n, err := a.cfg.Service.ShredSecrets(c.ctx, c.op, r.Confirm)
	return ok(operator.Shredded{Secrets: n}), err
}

// vaultChange serves a change that needs nothing but the secret's name.
func vaultChange(change func(*admin.Service, context.Context, admin.Operator, string) (admin.VaultChange, error)) func(
	*API, call) (answer, error) {
	return func(a *API, c call) (answer, error) {
		done, err := change(a.cfg.Service, c.ctx, c.op, c.path("secret"))
		return ok(changed(done)), err
	}
}

func changed(done admin.VaultChange) operator.SecretChange {
	return operator.SecretChange{Secret: vaultSecret(done.Secret), Version: done.Version.Number, Changed: done.Changed,
		Warnings: present(done.Warnings)}
}

func vaultSecret(s admin.VaultSecret) operator.VaultSecret {
	wire := operator.VaultSecret{Name: s.Name, State: operator.SecretState(s.State), Active: s.Active, DataKey: s.DataKey,
		Tools: present(s.Tools), Unbound: present(s.Unbound), Versions: make([]operator.SecretVersion, len(s.Versions))}
	if !s.Disabled.IsZero() {
		wire.Disabled = s.Disabled.UTC()
	}
	for i, n := range s.Versions {
		wire.Versions[i] = version(n)
	}
	return wire
}

func version(n vault.Info) operator.SecretVersion {
	return operator.SecretVersion{Version: n.Number, State: operator.SecretState(n.State), Created: n.Created.UTC(),
		Since: n.Since.UTC(), By: n.By, Fingerprint: n.Fingerprint, Fields: present(n.Fields), Size: n.Size,
		Host: n.Binding.Origin(), CA: n.Binding.CA, TokenURL: n.Binding.TokenURL, Inject: present(n.Binding.Kinds),
		Decision: n.DecisionMode, Short: n.Unscrubbable, Backend: n.Backend}
}

func dataKey(p vault.Progress) operator.DataKey {
	return operator.DataKey{Version: p.DataKey, Secrets: p.Total, Left: p.Left, Old: p.Old}
}
