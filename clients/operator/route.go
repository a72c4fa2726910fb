package operator

import (
	"context"
	"net/http"
)

// Call is a call of a tool behind the shim that nobody made.
type Call struct {
	Method string `json:"method"`
	// Path is what would follow the tool's resource, byte for byte, with the query if there is one: /v1/refunds/7?page=2.
	Path string `json:"path"`
	// BodyType is the Content-Type of a body; empty for a call without one.
	BodyType string `json:"body_type,omitempty"`
}

// Route is what becomes of a call, but for the content of its body and for who makes it.
type Route struct {
	Resource string `json:"resource"`         // at which the tool is called
	Allowed  bool   `json:"allowed"`          // to those who hold a token with Scope
	Reason   string `json:"reason,omitempty"` // why nobody may, such as "path.not_allowed"; absent if Allowed
	Detail   string `json:"detail,omitempty"` // what the caller is told then
	// Rule is the one under which the call falls; absent if there is none.
	Rule    *RouteRule    `json:"rule,omitempty"`
	Scope   string        `json:"scope,omitempty"` // that a token needs; absent without a rule
	Secrets []RouteSecret `json:"secrets"`         // that are put on the call
	Access  []RouteAccess `json:"access"`          // by policy, who gets tokens with Scope; empty without a rule
}

// RouteRule is a rule of a tool's upstream.
type RouteRule struct {
	Index    int      `json:"index"` // in allow, from 0
	Action   string   `json:"action"`
	Methods  []string `json:"methods"`
	Path     string   `json:"path"`      // the template
	MaxBody  int64    `json:"max_body"`  // bytes that the body of this call may have; 0 if it has none
	BodyJSON bool     `json:"body_json"` // the body must have certain values, too
}

// RouteSecret is a secret that is put on a call.
type RouteSecret struct {
	Secret  string `json:"secret"`
	In      string `json:"in"`
	Name    string `json:"name,omitempty"`    // where, if the kind has a name
	Missing string `json:"missing,omitempty"` // why there is no version to use, such as "secret.none_active"
}

// RouteAccess is a policy by which clients get tokens for a call.
type RouteAccess struct {
	Policy    string   `json:"policy"`
	Clients   []string `json:"clients"`
	Delegates []string `json:"delegates"` // who may trade in a token of one of Clients
	Disabled  []string `json:"disabled"`  // which of both a revocation disables
	OnBehalf  bool     `json:"on_behalf"` // for those whom they act for, and not as themselves
	Default   bool     `json:"default"`   // also without asking for the scope by name
	From      []string `json:"from"`      // scopes of other tools, one of which a traded token must have; empty for none
	Condition string   `json:"condition,omitempty"`
}

// Route tells what becomes of a call of a tool behind the shim: which rule allows it, what a token needs, and who gets
// one. No call is made, and nothing recorded. Any role.
//
//	POST /t/{tenant}/tools/{tool}/route Call → 200 Route
//	404 not_found: the tenant has no such tool
//	422 invalid: the tool has no upstream
func (c *Client) Route(ctx context.Context, tenant, tool string, call Call) (*Route, error) {
	return one[Route](ctx, c, at(http.MethodPost, tenant, KindTool.Plural(), tool, "route").with(call))
}
