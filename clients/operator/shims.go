package operator

import (
	"context"
	"net/http"
	"time"
)

// ShimState is what a tenant makes of a standalone shim.
type ShimState string

// The states of a shim.
const (
	ShimTrusted ShimState = "trusted"
	// ShimUnreadable is a shim whose record the server did not write. It is given nothing, and the vault's data key cannot
	// be rotated before it is revoked.
	ShimUnreadable ShimState = "unreadable"
)

// ShimStates returns every state.
func ShimStates() []ShimState { return []ShimState{ShimTrusted, ShimUnreadable} }

// Shim is a standalone shim that a tenant trusts with its vault.
type Shim struct {
	ID      string    `json:"id"` // of the key by which it signs its events
	Name    string    `json:"name,omitempty"`
	State   ShimState `json:"state"`
	Created time.Time `json:"created"`
}

// Shims lists the standalone shims that the tenant trusts, the oldest first. Any role.
//
//	GET /t/{tenant}/shims → 200 {"items": [Shim]}
func (c *Client) Shims(ctx context.Context, tenant string) ([]Shim, error) {
	return list[Shim](ctx, c, at(http.MethodGet, tenant, "shims"))
}

// ShimRequest is the body of TrustShim: the public halves of the shim's keys, base64url. The private ones stay where
// they were made.
type ShimRequest struct {
	Name         string `json:"name,omitempty"` // a slug
	EventKey     string `json:"event_key"`      // Ed25519, by which it signs what it does
	RecipientKey string `json:"recipient_key"`  // HPKE, ML-KEM-768 with X25519, to which the vault's data keys are given
}

// TrustedShim is a shim, and what its key file must hold about the tenant.
type TrustedShim struct {
	Shim
	TenantID string `json:"tenant_id"` // the tenant's internal id, by which the store has it
	Grantor  string `json:"grantor"`   // Ed25519, base64url: what the tenant gives the shim is signed by it
}

// TrustShim lets a standalone shim open the tenant's vault, and sign what it does in the tenant's log. Platform admin.
//
//	POST /t/{tenant}/shims ShimRequest → 201 TrustedShim
//	409 conflict: the tenant knows the shim, or did once; or it trusts 32
//	422 invalid: the keys are none
func (c *Client) TrustShim(ctx context.Context, tenant string, r ShimRequest) (*TrustedShim, error) {
	return one[TrustedShim](ctx, c, at(http.MethodPost, tenant, "shims").with(r))
}

// RevokedShim is what came of RevokeShim.
type RevokedShim struct {
	// Rotated is whether a new data key seals the tenant's secrets from now on, which the shim does not have. It is not so
	// for a tenant without secrets, and while another shim is unreadable: rotate the vault's key when that is revoked.
	Rotated bool `json:"rotated"`
	// Secrets is how many secrets the shim could open until now.
	Secrets int `json:"secrets"`
}

// RevokeShim ends the trust in a standalone shim at once. Revoking a revoked one changes nothing. Platform admin.
//
//	POST /t/{tenant}/shims/{id}/revoke, no body → 200 RevokedShim
func (c *Client) RevokeShim(ctx context.Context, tenant, id string) (*RevokedShim, error) {
	return one[RevokedShim](ctx, c, at(http.MethodPost, tenant, "shims", id, "revoke"))
}

// RewrapRequest is the body of Rewrap: a part of the way.
type RewrapRequest struct {
	After string `json:"after,omitempty"` // what Rewrapped.Next was; absent to begin
	Limit int64  `json:"limit,omitempty"` // tenants at most; absent: as many as are done within seconds
	All   bool   `json:"all,omitempty"`   // what the present master key sealed, too
}

// Rewrapped is what a call of Rewrap did.
type Rewrapped struct {
	Master  string          `json:"master"`         // id of the present master key
	Looked  int             `json:"looked"`         // tenants that were looked at, and the platform
	Changed int             `json:"changed"`        // of them, those that had a data key which another master key sealed
	Failed  []RewrapFailure `json:"failed"`         // and those of which it could not be done
	Next    string          `json:"next,omitempty"` // what After must be to go on; absent at the end
}

// RewrapFailure is a tenant whose data keys could not be sealed anew.
type RewrapFailure struct {
	Tenant string `json:"tenant"`
	Why    string `json:"why"` // for people
}

// Rewrap has the server's present master key seal the data keys of the platform and of all tenants. One call makes a
// part of the way; it may be killed anywhere, and made again by anybody. When calls from the beginning to the end have
// changed nothing, and nothing failed, the server needs no other master key. Platform admin.
//
//	POST /platform/keys/rewrap RewrapRequest → 200 Rewrapped
func (c *Client) Rewrap(ctx context.Context, r RewrapRequest) (*Rewrapped, error) {
	return one[Rewrapped](ctx, c, api(http.MethodPost, "platform", "keys", "rewrap").with(r))
}
