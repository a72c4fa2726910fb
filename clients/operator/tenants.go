package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Kind is a kind of object in a tenant's configuration. In paths its plural stands.
type Kind string

// The kinds of objects.
const (
	KindIssuer Kind = "issuer" // a trusted issuer, its id is its name
	KindClient Kind = "client"
	KindTool   Kind = "tool" // its id is its name
	KindPolicy Kind = "policy"
)

// Kinds returns every kind, in the order in which a tenant file has them.
func Kinds() []Kind { return []Kind{KindIssuer, KindClient, KindTool, KindPolicy} }

// Plural returns the kind as it stands in paths and in tenant files; empty for an unknown kind.
func (k Kind) Plural() string {
	switch k {
	case KindIssuer, KindClient, KindTool:
		return string(k) + "s"
	case KindPolicy:
		return "policies"
	}
	return ""
}

// Ref names one object of a tenant's configuration.
type Ref struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// TenantEntry is a tenant in the list of tenants.
type TenantEntry struct {
	Tenant  string    `json:"tenant"` // its slug
	Issuer  string    `json:"issuer"` // its issuer URL, {base_url}/t/{tenant}
	Created time.Time `json:"created"`
}

// Tenants lists every tenant. Platform operators only.
//
//	GET /tenants → 200 {"items": [TenantEntry]}
func (c *Client) Tenants(ctx context.Context) ([]TenantEntry, error) {
	return list[TenantEntry](ctx, c, api(http.MethodGet, "tenants"))
}

// Tenant is the summary of one tenant.
type Tenant struct {
	TenantEntry
	// Revision counts the changes of the tenant's configuration. ApplyOptions.Revision refers to it.
	Revision int64 `json:"revision"`
	// Disabled says that a cutoff disables the whole tenant: nothing of it is issued until it is enabled.
	Disabled bool   `json:"disabled"`
	Counts   Counts `json:"counts"`
}

// Counts is how many of each a tenant has.
type Counts struct {
	Issuers  int   `json:"issuers"`
	Clients  int   `json:"clients"`
	Tools    int   `json:"tools"`
	Policies int   `json:"policies"`
	Cutoffs  int   `json:"cutoffs"`
	Events   int64 `json:"events"` // entries of its log
}

// Tenant returns the summary of one tenant. Any role.
//
//	GET /t/{tenant} → 200 Tenant
func (c *Client) Tenant(ctx context.Context, tenant string) (*Tenant, error) {
	return one[Tenant](ctx, c, at(http.MethodGet, tenant))
}

// ApplyOptions are the choices of Apply; the zero value applies and removes nothing.
type ApplyOptions struct {
	DryRun bool // validate everything and answer what would change, and change nothing
	Prune  bool // delete what the store has and the file does not
	// Revision, unless zero, is the revision that the tenant must still have, else the call ends in conflict.
	Revision int64
}

// Action is what happens to an object.
type Action string

// The actions of a Change.
const (
	ActionCreate Action = "create"
	ActionUpdate Action = "update"
	ActionDelete Action = "delete"
)

// Change is one object that a tenant file changes.
type Change struct {
	Ref
	Action Action `json:"action"`
	// Fields are the top-level members that an update changes, sorted; values are never told.
	Fields []string `json:"fields,omitempty"`
}

// Applied is what Apply did, or would do.
type Applied struct {
	Tenant  string `json:"tenant"`
	Created bool   `json:"created"` // the tenant is new
	DryRun  bool   `json:"dry_run"`
	// Revision is the tenant's revision after the call; for a dry run, and where nothing changed, the one before.
	Revision int64 `json:"revision"`
	// Changes are in the order of Kinds, then of ids. Empty: the tenant was already as the file says.
	Changes []Change `json:"changes"`
	// Unmanaged is what the store has and the file does not, kept because Prune was not set.
	Unmanaged []Ref `json:"unmanaged"`
}

// Apply makes a tenant what a tenant file says, in one transaction with its event, and creates the tenant if it is new
// (platform admin only). Applying the same file again changes nothing and records nothing. Otherwise: admin, editor.
//
//	PUT /t/{tenant}?dry_run=true&prune=true&revision=N
//	body: the tenant file, application/yaml (RFC 9512) or application/json, at most MaxFile bytes
//	→ 200 Applied (201 if the tenant was created)
//	409 conflict: the tenant's revision is not N; somebody else changed it meanwhile; or the slug of the tenant or of a
//	    client was used before and deleted
//	413 too_large
//	422 invalid: the file has mistakes; its tenant is not the path's; or a policy names what pruning would delete
//
// A query parameter that is absent is false, or not checked. dry_run answers 200 even for a new tenant, then with
// created true and revision 0. tenant is the slug in the file.
func (c *Client) Apply(ctx context.Context, tenant string, file []byte, o ApplyOptions) (*Applied, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("the tenant file has %d bytes; at most %d are allowed", len(file), MaxFile)
	}
	k := at(http.MethodPut, tenant)
	k.body, k.media, k.query = file, "application/yaml", url.Values{}
	if o.DryRun {
		k.query.Set("dry_run", "true")
	}
	if o.Prune {
		k.query.Set("prune", "true")
	}
	if o.Revision != 0 {
		k.query.Set("revision", strconv.FormatInt(o.Revision, 10))
	}
	return one[Applied](ctx, c, k)
}

// Objects lists the tenant's objects of one kind, each in the shape that it has in a tenant file, as JSON. Any role.
//
//	GET /t/{tenant}/{issuers|clients|tools|policies} → 200 {"items": [object]}
func (c *Client) Objects(ctx context.Context, tenant string, kind Kind) ([]json.RawMessage, error) {
	return list[json.RawMessage](ctx, c, at(http.MethodGet, tenant, kind.Plural()))
}

// Object returns one object in the shape that it has in a tenant file, as JSON. Any role.
//
//	GET /t/{tenant}/{issuers|clients|tools|policies}/{id} → 200 object
func (c *Client) Object(ctx context.Context, tenant string, ref Ref) (json.RawMessage, error) {
	raw, err := one[json.RawMessage](ctx, c, at(http.MethodGet, tenant, ref.Kind.Plural()).slug(string(ref.Kind), ref.ID))
	if err != nil {
		return nil, err
	}
	return *raw, nil
}
