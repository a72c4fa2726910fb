package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
)

// Call is a call of a tool behind the shim that nobody made.
type Call struct {
	Method string
	Path   string // below the tool's own, as its bytes would come
	Query  string // without the question mark, likewise
	// BodyType is the Content-Type of a body; "" for a call without one.
	BodyType string
}

// Route is what becomes of a call, but for its body and for what is known only when it is made.
type Route struct {
	Resource string       // at which the tool is called
	Refusal  *fault.Error // why the shim refuses the call to everybody; nil if it does not
	Match    *tools.Match // nil if no rule allows the call
	Scope    string       // that a token needs, as it has it; "" if no rule allows the call
	Secrets  []SecretUse  // that are put on the call, in the order of the tool's entry
	Access   []Access     // by policy, who gets tokens with that scope
}

// SecretUse is a secret that is put on a call.
type SecretUse struct {
	tools.Injection
	Missing string // the reason why there is no version to use, such as secret.none_active; "" if there is one
}

// Access is a policy by which clients get tokens for an action.
type Access struct {
	Rule     policy.Rule
	Disabled []string // which of its clients and delegates are disabled by a revocation, sorted
}

// Route tells what becomes of a call of a tool: which rule allows it, what a token needs for it, and who gets such a
// token. NotFound: there is no such tool. Invalid: it is not behind the shim. Nothing is recorded.
func (s *Service) Route(ctx context.Context, op Operator, tool string, c Call) (*Route, error) {
	if err := s.allow(ctx, op, ReadConfig); err != nil {
		return nil, err
	}
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	t, ok := v.Tools.Named(tool)
	switch {
	case !ok:
		return nil, fault.New(fault.NotFound, "object.unknown", "The tenant has no such object.")
	case t.Upstream == nil:
		return nil, invalid("tool.upstream", "tool: has no upstream; it is not behind the shim, and checks tokens itself")
	}
	r := &Route{Resource: t.Resource}
	for _, i := range t.Upstream.Inject {
		use := SecretUse{Injection: i}
		if _, err := v.Vault.Active(i.Secret); err != nil {
			use.Missing = fault.As(err).Reason
		}
		r.Secrets = append(r.Secrets, use)
	}
	match, err := t.Upstream.Route(c.Method, c.Path, c.Query)
	if err == nil {
		r.Match = match
		r.Scope = t.Scope(scopes.Actions(t.Name, match.Rule.Action))
		if c.BodyType != "" {
			err = match.CheckType(c.BodyType, -1)
		}
		var found error
		if r.Access, found = accessTo(v, t.Name, match.Rule.Action); found != nil {
			return nil, found
		}
	}
	if err != nil {
		r.Refusal = fault.As(err)
	}
	if r.Refusal == nil {
		r.Refusal = unavailable(v, t)
	}
	return r, nil
}

// unavailable returns why a tool cannot be called at all just now; nil if it can.
func unavailable(v *tenant.View, t *tools.Tool) *fault.Error {
	by, revoked := v.Cutoffs.Disabled(ledger.Key{Kind: string(revoke.Tenant)},
		ledger.Key{Kind: string(revoke.Tool), ID: t.Name})
	switch {
	case revoked:
		return fault.New(fault.Forbidden, "revoked."+by.Kind, "A revocation disables it; only an operator can enable it.")
	case t.Disabled:
		return fault.New(fault.Forbidden, "target.disabled", "The tenant's configuration disables the tool.")
	}
	return nil
}

// accessTo returns the policies that allow an action, in the order of their ids.
func accessTo(v *tenant.View, tool, action string) (all []Access, err error) {
	for _, row := range v.Rows(tenant.KindPolicy) {
		var rule policy.Rule
		if err := json.Unmarshal(row.Value, &rule); err != nil {
			return nil, fmt.Errorf("read policy %s: %w", row.ID, err)
		}
		if rule.Tool != tool || !slices.Contains(rule.Actions, action) {
			continue
		}
		a := Access{Rule: rule}
		for _, id := range slices.Concat(rule.Clients, rule.Delegates) {
			if _, off := v.Cutoffs.Disabled(ledger.Key{Kind: string(revoke.Client), ID: id}); off {
				a.Disabled = append(a.Disabled, id)
			}
		}
		slices.Sort(a.Disabled)
		a.Disabled = slices.Compact(a.Disabled)
		all = append(all, a)
	}
	return all, nil
}
