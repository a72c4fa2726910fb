package adminapi

import (
	"encoding/json"
	"net/http"
	"runtime"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

func (a *API) version(call) (answer, error) {
	return ok(operator.Version{Version: a.cfg.Version, Go: runtime.Version()}), nil
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func (a *API) tenants(c call) (answer, error) {
	all, err := a.cfg.Service.Tenants(c.ctx, c.op)
	return list(all, tenantEntry), err
}

func tenantEntry(e admin.TenantEntry) operator.TenantEntry {
	return operator.TenantEntry{Tenant: e.Tenant, Issuer: e.Issuer, Created: e.Created.UTC()}
}

func (a *API) tenant(c call) (answer, error) {
	t, err := a.cfg.Service.Tenant(c.ctx, c.op)
	if err != nil {
		return answer{}, err
	}
	return ok(operator.Tenant{
		TenantEntry: tenantEntry(t.TenantEntry), Revision: t.Revision, Disabled: t.Disabled,
		Counts: operator.Counts{
			Issuers: t.Objects[tenant.KindIssuer], Clients: t.Objects[tenant.KindClient],
			Tools: t.Objects[tenant.KindTool], Policies: t.Objects[tenant.KindPolicy],
			Cutoffs: t.Cutoffs, Events: t.Events,
		},
	}), nil
}

func (a *API) apply(c call) (answer, error) {
	done, err := a.cfg.Service.Apply(c.ctx, c.op, admin.ApplyRequest{
		File: c.body, DryRun: c.query.is("dry_run"), Prune: c.query.is("prune"), Revision: c.query["revision"],
	})
	if err != nil {
		return answer{}, err
	}
	wire := operator.Applied{Tenant: done.Tenant, Created: done.Created, DryRun: done.DryRun, Revision: done.Revision,
		Changes: make([]operator.Change, len(done.Edits)), Unmanaged: make([]operator.Ref, len(done.Unmanaged))}
	for i, e := range done.Edits {
		wire.Changes[i] = operator.Change{Ref: ref(e.Key), Action: operator.Action(e.Action), Fields: e.Fields}
	}
	for i, key := range done.Unmanaged {
		wire.Unmanaged[i] = ref(key)
	}
	status := http.StatusOK
	if done.Created && !done.DryRun {
		status = http.StatusCreated
	}
	return answer{status: status, body: wire}, nil
}

// ref names an object. The kinds of tenant.FileKinds and of operator.Kinds are the same words.
func ref(k ledger.Key) operator.Ref { return operator.Ref{Kind: operator.Kind(k.Kind), ID: k.ID} }

func (a *API) objects(c call, kind operator.Kind) (answer, error) {
	all, err := a.cfg.Service.Objects(c.ctx, c.op, string(kind))
	return list(all, func(o json.RawMessage) json.RawMessage { return o }), err
}

func (a *API) object(c call, kind operator.Kind) (answer, error) {
	o, err := a.cfg.Service.Object(c.ctx, c.op, string(kind), c.path("id"))
	return ok(o), err
}

func (a *API) secrets(c call) (answer, error) {
	all, err := a.cfg.Service.Secrets(c.ctx, c.op, c.path("client"))
	return list(all, secret), err
}

func secret(s clients.Secret) operator.Secret {
	return operator.Secret{ID: s.ID, Created: s.Created.UTC()}
}

func (a *API) createSecret(c call) (answer, error) {
	client := c.path("client")
	plain, s, err := a.cfg.Service.CreateSecret(c.ctx, c.op, client)
	return answer{status: http.StatusCreated, body: operator.NewSecret{
		ClientID: client, ClientSecret: plain, Secret: secret(s)}}, err
}

func (a *API) deleteSecret(c call) (answer, error) {
	err := a.cfg.Service.DeleteSecret(c.ctx, c.op, c.path("client"), c.path("id"))
	return answer{status: http.StatusNoContent}, err
}

func (a *API) keys(c call) (answer, error) {
	all, err := a.cfg.Service.Keys(c.ctx, c.op)
	return list(all, key), err
}

func (a *API) rotateKeys(c call) (answer, error) {
	r, err := decode[operator.RotateRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	all, err := a.cfg.Service.RotateKeys(c.ctx, c.op, r.Alg)
	return list(all, key), err
}

func (a *API) revokeKey(c call) (answer, error) {
	all, err := a.cfg.Service.RevokeKey(c.ctx, c.op, c.path("kid"))
	return list(all, key), err
}

func key(k admin.Key) operator.Key {
	wire := operator.Key{KeyID: k.ID, Alg: k.Alg, State: operator.KeyState(k.State), Created: k.Created.UTC(),
		Since: k.Since.UTC()}
	if !k.Until.IsZero() {
		wire.Until = k.Until.UTC()
	}
	return wire
}

func (a *API) cutoffs(c call) (answer, error) {
	all, err := a.cfg.Service.Cutoffs(c.ctx, c.op)
	return list(all, func(x ledger.Cutoff) operator.Cutoff {
		return operator.Cutoff{Target: operator.Target{Kind: operator.CutoffKind(x.Kind), Value: x.ID}, Seq: x.Seq,
			At: x.At.UTC(), Until: x.Until.UTC(), Disabled: x.Disabled}
	}), err
}

func (a *API) revoke(c call) (answer, error) {
	b, err := decode[operator.Revocation](c.body)
	if err != nil {
		return answer{}, err
	}
	r, err := a.cfg.Service.Revoke(c.ctx, c.op, string(b.Kind), b.Value, string(b.Cause))
	return ok(revoked(b.Target, r)), err
}

func (a *API) enable(c call) (answer, error) {
	target, err := decode[operator.Target](c.body)
	if err != nil {
		return answer{}, err
	}
	r, err := a.cfg.Service.Enable(c.ctx, c.op, string(target.Kind), target.Value)
	return ok(revoked(target, r)), err
}

func revoked(t operator.Target, r admin.Receipt) operator.Revoked {
	return operator.Revoked{Target: t, At: r.At.UTC(), Seq: r.Seq, Index: r.Index}
}

func (a *API) events(c call) (answer, error) {
	records, next, err := a.cfg.Service.Events(c.ctx, c.op, admin.EventQuery{
		After: c.query["after"], Limit: int(c.query["limit"]), Wait: time.Duration(c.query["wait"]) * time.Second,
	})
	page := operator.Events{Events: make([]operator.Event, len(records)), Next: next}
	for i, r := range records {
		page.Events[i] = event(r)
	}
	return ok(page), err
}

func event(r audit.Record) operator.Event {
	return operator.Event{Index: r.Index, SET: r.SET, Claims: r.Claims}
}

func (a *API) operators(c call) (answer, error) {
	all, err := a.cfg.Service.Operators(c.ctx, c.op)
	return list(all, operatorToken), err
}

func operatorToken(t admin.OperatorToken) operator.Operator {
	return operator.Operator{ID: t.ID, Role: operator.Role(t.Role), Created: t.Created.UTC(), Expires: t.Expires.UTC()}
}

func (a *API) createOperator(c call) (answer, error) {
	r, err := decode[operator.OperatorRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	ttl, err := time.ParseDuration(r.TTL)
	if err != nil {
		ttl = 0 // out of range like every other that is none, so that all mistakes come back at once
	}
	plain, token, err := a.cfg.Service.CreateOperator(c.ctx, c.op, admin.Role(r.Role), ttl)
	return answer{status: http.StatusCreated, body: operator.NewOperator{
		Operator: operatorToken(token), Token: plain}}, err
}

func (a *API) deleteOperator(c call) (answer, error) {
	err := a.cfg.Service.DeleteOperator(c.ctx, c.op, c.path("id"))
	return answer{status: http.StatusNoContent}, err
}
