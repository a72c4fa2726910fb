package operator

import (
	"context"
	"net/http"
	"time"
)

// CutoffKind is a kind of thing that can be revoked.
type CutoffKind string

// The kinds of cutoffs. Revoking a tenant or a client also disables it: nothing of it is issued until Enable.
const (
	CutoffToken  CutoffKind = "jti"    // one token; the value is its jti
	CutoffClient CutoffKind = "client" // every token of a client; the value is its id
	CutoffTenant CutoffKind = "tenant" // every token of the tenant; there is no value
)

// Target names what is revoked or enabled. It is the body of Revoke and Enable. Unknown kinds are refused, so that a
// client that is newer than its server learns that nothing was revoked.
type Target struct {
	Kind CutoffKind `json:"kind"`
	// Value is absent for the kind tenant, and required for every other.
	Value string `json:"value,omitempty"`
}

// Revoked is the receipt of a revocation, or of its lifting.
type Revoked struct {
	Target
	// At is the store's time: everything of the target that was issued up to here is revoked.
	At time.Time `json:"at"`
	// Seq is the number of this change among the tenant's cutoffs.
	Seq int64 `json:"seq"`
	// Index is the event's place in the tenant's log.
	Index int64 `json:"index"`
}

// Revoke ends everything of the target that was issued up to now, and disables the target if its kind can be. It
// applies to targets that the server does not know, too: a jti is not looked up, and a client may be deleted. Revoking
// again moves the cutoff forward. Admin, responder.
//
//	POST /t/{tenant}/revoke Target → 200 Revoked
//	422 invalid: unknown kind, or a value that is missing, superfluous or malformed
func (c *Client) Revoke(ctx context.Context, tenant string, target Target) (*Revoked, error) {
	return c.cut(ctx, "revoke", tenant, target)
}

// Enable lets a client or a tenant that Revoke disabled be issued tokens again. What was revoked stays revoked.
// Admin, responder.
//
//	POST /t/{tenant}/enable Target → 200 Revoked, whose at is that of the cutoff
//	404 not_found: the target was never revoked
//	422 invalid: a kind that does not disable, or a value that is missing, superfluous or malformed
func (c *Client) Enable(ctx context.Context, tenant string, target Target) (*Revoked, error) {
	return c.cut(ctx, "enable", tenant, target)
}

func (c *Client) cut(ctx context.Context, verb, tenant string, target Target) (*Revoked, error) {
	return one[Revoked](ctx, c, at(http.MethodPost, tenant, verb).with(target))
}

// Cutoff is a revocation that is in force.
type Cutoff struct {
	Target
	Seq int64 `json:"seq"`
	// At: everything of the target that was issued up to here is revoked.
	At time.Time `json:"at"`
	// Until: nothing that the cutoff hits can be alive after this.
	Until time.Time `json:"until"`
	// Disabled says that nothing of the target is issued until it is enabled.
	Disabled bool `json:"disabled"`
}

// Cutoffs lists the tenant's cutoffs that still matter, in the order of Seq. Any role.
//
//	GET /t/{tenant}/cutoffs → 200 {"items": [Cutoff]}
func (c *Client) Cutoffs(ctx context.Context, tenant string) ([]Cutoff, error) {
	return list[Cutoff](ctx, c, at(http.MethodGet, tenant, "cutoffs"))
}
