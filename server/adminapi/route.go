package adminapi

import (
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
)

func (a *API) route(c call) (answer, error) {
	wire, err := decode[operator.Call](c.body)
	if err != nil {
		return answer{}, err
	}
	path, query, _ := strings.Cut(wire.Path, "?")
	r, err := a.cfg.Service.Route(c.ctx, c.op, c.path("tool"), admin.Call{Method: wire.Method, Path: path, Query: query,
		BodyType: wire.BodyType})
	if err != nil {
		return answer{}, err
	}
	return ok(routeOf(r)), nil
}

func routeOf(r *admin.Route) operator.Route {
	wire := operator.Route{Resource: r.Resource, Allowed: r.Refusal == nil, Scope: r.Scope,
		Secrets: make([]operator.RouteSecret, len(r.Secrets)), Access: make([]operator.RouteAccess, len(r.Access))}
	if r.Refusal != nil {
		wire.Reason, wire.Detail = r.Refusal.Reason, r.Refusal.Public
	}
	if m := r.Match; m != nil {
		wire.Rule = &operator.RouteRule{Index: m.Index, Action: m.Rule.Action, Methods: m.Rule.Methods, Path: m.Rule.Path,
			MaxBody: m.MaxBody(), BodyJSON: len(m.Rule.JSON) > 0 && m.MaxBody() > 0}
	}
	for i, s := range r.Secrets {
		wire.Secrets[i] = operator.RouteSecret{Secret: s.Secret, In: string(s.In), Name: s.Name, Missing: s.Missing}
	}
	for i, x := range r.Access {
		wire.Access[i] = operator.RouteAccess{Policy: x.Rule.ID, Clients: x.Rule.Clients, Condition: x.Rule.Condition,
			Delegates: present(x.Rule.Delegates), Disabled: present(x.Disabled), From: present(x.Rule.From),
			OnBehalf: len(x.Rule.OnBehalfOf) > 0, Default: slices.Contains(x.Rule.DefaultActions, r.Match.Rule.Action)}
	}
	return wire
}
