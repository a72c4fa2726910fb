package operator

import (
	"context"
	"net/http"
	"time"
)

// Secret is a client secret, without its value.
type Secret struct {
	ID      string    `json:"id"` // letters, digits, '-' and '_'
	Created time.Time `json:"created"`
}

// NewSecret is a client secret that was just made.
type NewSecret struct {
	ClientID string `json:"client_id"`
	// ClientSecret is shown this one time; the server keeps only its hash.
	ClientSecret string `json:"client_secret"`
	Secret
}

// CreateSecret makes a new secret for a client whose method is client_secret_basic or client_secret_post. At most two
// are valid: a third ends the oldest, so that a client is rotated by creating one and rolling it out. Admin, editor.
//
//	POST /t/{tenant}/clients/{client}/secrets, no body → 201 NewSecret
//	409 conflict: the client authenticates in another way
func (c *Client) CreateSecret(ctx context.Context, tenant, client string) (*NewSecret, error) {
	return one[NewSecret](ctx, c, secrets(http.MethodPost, tenant, client))
}

// Secrets lists a client's valid secrets, oldest first. Any role.
//
//	GET /t/{tenant}/clients/{client}/secrets → 200 {"items": [Secret]}
func (c *Client) Secrets(ctx context.Context, tenant, client string) ([]Secret, error) {
	return list[Secret](ctx, c, secrets(http.MethodGet, tenant, client))
}

// DeleteSecret ends one secret at once. Tokens that were issued with it stay valid; Revoke ends those. Admin, editor.
//
//	DELETE /t/{tenant}/clients/{client}/secrets/{id} → 204
func (c *Client) DeleteSecret(ctx context.Context, tenant, client, id string) error {
	return c.do(ctx, secrets(http.MethodDelete, tenant, client).below(id), nil)
}

func secrets(method, tenant, client string) call {
	return at(method, tenant, "clients").slug("client", client).below("secrets")
}

// KeyState is where a signing key is in its life.
type KeyState string

// The states of a Key. Next, active and retired keys are in the tenant's JWKS.
const (
	KeyNext    KeyState = "next"    // published, does not sign yet
	KeyActive  KeyState = "active"  // signs
	KeyRetired KeyState = "retired" // signs no more; published until the last token that it signed has expired
	KeyRevoked KeyState = "revoked" // verifies nothing any more
)

// Key is one of a tenant's signing keys, without its private part.
type Key struct {
	KeyID   string    `json:"kid"` // base64url characters
	Alg     string    `json:"alg"` // "ES256", "RS256" or "EdDSA"
	State   KeyState  `json:"state"`
	Created time.Time `json:"created"`
	// Since is when the key came into its state.
	Since time.Time `json:"since"`
	// Until is when a retired key leaves the JWKS; absent otherwise.
	Until time.Time `json:"until,omitzero"`
}

// Keys lists the tenant's signing keys: by algorithm, then next, active, retired, revoked, then newest first. Any role.
//
//	GET /t/{tenant}/keys → 200 {"items": [Key]}
func (c *Client) Keys(ctx context.Context, tenant string) ([]Key, error) {
	return list[Key](ctx, c, at(http.MethodGet, tenant, "keys"))
}

// RotateRequest is the body of RotateKeys.
type RotateRequest struct {
	// Alg is the algorithm to rotate; absent means every one that the tenant has.
	Alg string `json:"alg,omitempty"`
}

// RotateKeys lets the next key of an algorithm sign, retires the active one and publishes a new next one. It answers
// all keys after that, as Keys does. Admin.
//
//	POST /t/{tenant}/keys/rotate RotateRequest → 200 {"items": [Key]}
//	409 conflict: the next key was published less than the JWKS's max-age ago, so that not everybody knows it; or
//	    somebody else rotated meanwhile
//	422 invalid: the tenant has no key of this algorithm
func (c *Client) RotateKeys(ctx context.Context, tenant, alg string) ([]Key, error) {
	return list[Key](ctx, c, at(http.MethodPost, tenant, "keys", "rotate").with(RotateRequest{Alg: alg}))
}

// RevokeKey takes a key out of the JWKS at once: everything that it signed is refused, by the server immediately and
// by whoever caches the JWKS after at most its max-age. If it was the active key, the next one signs at once. It
// answers all keys after that, as Keys does. Revoking a revoked key changes nothing. Admin.
//
//	POST /t/{tenant}/keys/{kid}/revoke, no body → 200 {"items": [Key]}
func (c *Client) RevokeKey(ctx context.Context, tenant, kid string) ([]Key, error) {
	return list[Key](ctx, c, at(http.MethodPost, tenant, "keys", kid, "revoke"))
}

// Role is what an operator may do; the package comment says what each allows.
type Role string

// The roles. Platform operators are admin or auditor.
const (
	RoleAdmin     Role = "admin"
	RoleEditor    Role = "editor"
	RoleKeeper    Role = "keeper"
	RoleResponder Role = "responder"
	RoleAuditor   Role = "auditor"
)

// Roles returns every role, the most powerful first.
func Roles() []Role { return []Role{RoleAdmin, RoleEditor, RoleKeeper, RoleResponder, RoleAuditor} }

// Operator is an operator token, without its value.
type Operator struct {
	ID      string    `json:"id"` // letters, digits, '-' and '_'
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// NewOperator is an operator token that was just made.
type NewOperator struct {
	Operator
	// Token is shown this one time; the server keeps only its hash.
	Token string `json:"token"`
}

// OperatorRequest is the body of CreateOperator and CreatePlatformOperator.
type OperatorRequest struct {
	Role Role `json:"role"`
	// TTL is how long the token is valid, as a duration string: "1m" to "8760h". Required.
	TTL string `json:"ttl"`
}

// CreateOperator makes an operator token for one tenant. Admin.
//
//	POST /t/{tenant}/operators OperatorRequest → 201 NewOperator
//	422 invalid: unknown role, or a ttl out of range
func (c *Client) CreateOperator(ctx context.Context, tenant string, r OperatorRequest) (*NewOperator, error) {
	return one[NewOperator](ctx, c, at(http.MethodPost, tenant, "operators").with(r))
}

// CreatePlatformOperator makes an operator token for every tenant and the platform. Platform admin.
//
//	POST /platform/operators OperatorRequest → 201 NewOperator
//	422 invalid: a role other than admin and auditor, or a ttl out of range
func (c *Client) CreatePlatformOperator(ctx context.Context, r OperatorRequest) (*NewOperator, error) {
	return one[NewOperator](ctx, c, api(http.MethodPost, "platform", "operators").with(r))
}

// Operators lists the tenant's operator tokens that have not expired. Any role.
//
//	GET /t/{tenant}/operators → 200 {"items": [Operator]}
func (c *Client) Operators(ctx context.Context, tenant string) ([]Operator, error) {
	return list[Operator](ctx, c, at(http.MethodGet, tenant, "operators"))
}

// PlatformOperators lists the platform's operator tokens that have not expired. Platform operators only.
//
//	GET /platform/operators → 200 {"items": [Operator]}
func (c *Client) PlatformOperators(ctx context.Context) ([]Operator, error) {
	return list[Operator](ctx, c, api(http.MethodGet, "platform", "operators"))
}

// DeleteOperator ends an operator token at once. Admin.
//
//	DELETE /t/{tenant}/operators/{id} → 204
func (c *Client) DeleteOperator(ctx context.Context, tenant, id string) error {
	return c.do(ctx, at(http.MethodDelete, tenant, "operators", id), nil)
}

// DeletePlatformOperator ends an operator token of the platform at once. Platform admin.
//
//	DELETE /platform/operators/{id} → 204
func (c *Client) DeletePlatformOperator(ctx context.Context, id string) error {
	return c.do(ctx, api(http.MethodDelete, "platform", "operators", id), nil)
}
