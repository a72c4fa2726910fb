package adminapi

import (
	"encoding/base64"
	"net/http"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
)

// shimRoutes returns the calls about standalone shims, and about the master key that they do not have.
func shimRoutes() []route {
	const path = "/t/{tenant}/shims"
	return []route{
		{method: http.MethodGet, path: path, name: "listShims", answer: typ[items[operator.Shim]](), handle: (*API).shims},
		{method: http.MethodPost, path: path, name: "trustShim", body: jsonBody[operator.ShimRequest](),
			answer: typ[operator.TrustedShim](), status: []int{http.StatusCreated}, handle: (*API).trustShim},
		{method: http.MethodPost, path: path + "/{id}/revoke", name: "revokeShim", answer: typ[operator.RevokedShim](),
			handle: (*API).revokeShim},
		{method: http.MethodPost, path: "/platform/keys/rewrap", name: "rewrapKeys",
			body: jsonBody[operator.RewrapRequest](), answer: typ[operator.Rewrapped](), handle: (*API).rewrap},
	}
}

func (a *API) shims(c call) (answer, error) {
	all, err := a.cfg.Service.Shims(c.ctx, c.op)
	return list(all, shimOf), err
}

func shimOf(s admin.Shim) operator.Shim {
	return operator.Shim{ID: s.ID, Name: s.Name, State: operator.ShimState(s.State), Created: s.Created.UTC()}
}

func (a *API) trustShim(c call) (answer, error) {
	r, err := decode[operator.ShimRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	wanted := admin.ShimRequest{Name: r.Name}
	var problems []string
	for _, key := range []struct {
		name, text string
		into       *[]byte
	}{{"event_key", r.EventKey, &wanted.Event}, {"recipient_key", r.RecipientKey, &wanted.Recipient}} {
		if *key.into, err = base64.RawURLEncoding.Strict().DecodeString(key.text); err != nil {
			problems = append(problems, key.name+": must be base64url without padding")
		}
	}
	if len(problems) > 0 {
		return answer{}, invalid(problems...)
	}
	done, err := a.cfg.Service.TrustShim(c.ctx, c.op, wanted)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: operator.TrustedShim{Shim: shimOf(done.Shim),
		TenantID: string(done.Tenant), Grantor: base64.RawURLEncoding.EncodeToString(done.Grantor)}}, nil
}

func (a *API) revokeShim(c call) (answer, error) {
	done, err := a.cfg.Service.RevokeShim(c.ctx, c.op, c.path("id"))
	if err != nil {
		return answer{}, err
	}
	return ok(operator.RevokedShim{Rotated: done.Rotated, Secrets: done.Secrets}), nil
}

func (a *API) rewrap(c call) (answer, error) {
	r, err := decode[operator.RewrapRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	done, err := a.cfg.Service.Rewrap(c.ctx, c.op, admin.RewrapRequest{After: r.After,
		Limit: int(min(max(r.Limit, 0), admin.MaxRewrap)), All: r.All})
	if err != nil {
		return answer{}, err
	}
	wire := operator.Rewrapped{Master: done.Master, Looked: done.Looked, Changed: done.Changed, Next: done.Next,
		Failed: []operator.RewrapFailure{}}
	for _, f := range done.Failed {
		wire.Failed = append(wire.Failed, operator.RewrapFailure{Tenant: f.Tenant, Why: f.Why})
	}
	return ok(wire), nil
}
