package operator

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// SecretState is where a version of a secret of the vault is in its life, or the secret as a whole.
type SecretState string

// The states. Of a secret as a whole it is disabled while no call may use it, unreadable if somebody else changed what
// is stored of it, and else the best that its versions have.
const (
	SecretStaged     SecretState = "staged"    // put, and not used yet
	SecretActive     SecretState = "active"    // calls use it
	SecretRetired    SecretState = "retired"   // another one took its place
	SecretDisabled   SecretState = "disabled"  // of a secret: every call that needs it is refused
	SecretDestroyed  SecretState = "destroyed" // the value is gone
	SecretUnreadable SecretState = "unreadable"
)

// SecretStates returns every state.
func SecretStates() []SecretState {
	return []SecretState{SecretStaged, SecretActive, SecretRetired, SecretDisabled, SecretDestroyed, SecretUnreadable}
}

// SecretVersion is a version of a secret of the vault. There is no value: what was put never comes out.
type SecretVersion struct {
	Version int         `json:"version"`
	State   SecretState `json:"state"`
	Created time.Time   `json:"created"`
	Since   time.Time   `json:"since"`        // when it came into its state
	By      string      `json:"by,omitempty"` // id of the operator who put it
	// Fingerprint is the same for the same value in this tenant, and tells nothing of it.
	Fingerprint string   `json:"fingerprint"`
	Fields      []string `json:"fields"`              // names of what the value consists of
	Size        string   `json:"size"`                // class of its length in bytes, such as "16-31"
	Host        string   `json:"host"`                // the origin that it may go to
	CA          string   `json:"ca,omitempty"`        // hex SHA-256 of the certificates that alone may sign the origin's
	TokenURL    string   `json:"token_url,omitempty"` // where oauth2 gets its tokens
	Inject      []string `json:"inject"`              // the ways in which it may be put on a request
	Decision    bool     `json:"decision_mode"`       // may be handed to a front proxy
	Short       bool     `json:"unscrubbable"`        // too short to be found in every answer
	Backend     string   `json:"backend,omitempty"`   // where the value is kept, if not in the store
}

// VaultSecret is a secret of a tenant's vault.
type VaultSecret struct {
	Name     string          `json:"name"`
	State    SecretState     `json:"state"`
	Active   int             `json:"active,omitempty"`   // number of the version that calls use
	Disabled time.Time       `json:"disabled,omitzero"`  // since when no call may use it
	DataKey  int             `json:"data_key,omitempty"` // number of the data key that seals it
	Tools    []string        `json:"tools"`              // that put it on their calls
	Unbound  []string        `json:"unbound"`            // of them, those whose calls go where it may not go
	Versions []SecretVersion `json:"versions"`           // the newest first
}

// DataKey is the key that seals a tenant's secrets, and how far a rotation of it has come.
type DataKey struct {
	Version int `json:"version"` // 0 if there never was a secret
	Secrets int `json:"secrets"` // that can be read
	Left    int `json:"left"`    // of them, those that an older data key seals
	Old     int `json:"old"`     // older data keys that are still there; none when nothing is left
}

// VaultSecrets are all secrets of a tenant's vault, by name.
type VaultSecrets struct {
	Items   []VaultSecret `json:"items"`
	DataKey DataKey       `json:"data_key"`
}

// SecretRequest is the body of PutSecret. It prints as "[secret]".
type SecretRequest struct {
	// Host is the origin that the secret may go to, such as https://api.example:8443. It cannot be changed later: another
	// origin takes another version, put by somebody who has the value.
	Host     string `json:"host"`
	CA       string `json:"ca,omitempty"`        // certificates, PEM, that alone may sign the origin's
	TokenURL string `json:"token_url,omitempty"` // where oauth2 gets its tokens
	// Inject are the ways in which it may be put on a request; absent: those that its fields are made for and that put it
	// into no address and no body.
	Inject []string `json:"inject,omitempty"`
	// Fields are what the value consists of: "value" alone, or username and password; access_key_id, secret_access_key and
	// session_token; client_id and client_secret; certificate and key.
	Fields   map[string]string `json:"fields"`
	Decision bool              `json:"decision_mode,omitempty"` // may be handed to a front proxy
	// Short lets a field have less than 16 bytes, so that it cannot be found in every answer.
	Short    bool `json:"unscrubbable_ok,omitempty"`
	Activate bool `json:"activate,omitempty"` // calls use it at once
	// Expect, with Activate, is the number of the version that must be active, or -1 for none; absent: whatever is.
	Expect int `json:"expect,omitempty"`
}

const redactedSecret = "[secret]"

// Format hides what is inside from every verb of package fmt.
func (SecretRequest) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedSecret)) }

// LogValue hides what is inside from package slog.
func (SecretRequest) LogValue() slog.Value { return slog.StringValue(redactedSecret) }

// SecretChange is what came of a change of a secret.
type SecretChange struct {
	Secret   VaultSecret `json:"secret"`
	Version  int         `json:"version,omitempty"` // that the change is about; absent if it is about the whole secret
	Changed  bool        `json:"changed"`           // false: it was so already
	Warnings []string    `json:"warnings"`          // sentences
}

// VaultSecrets lists the secrets of the tenant's vault, and how far they are sealed with the newest data key. Any role.
//
//	GET /t/{tenant}/secrets → 200 VaultSecrets
func (c *Client) VaultSecrets(ctx context.Context, tenant string) (*VaultSecrets, error) {
	return one[VaultSecrets](ctx, c, at(http.MethodGet, tenant, "secrets"))
}

// VaultSecret returns one of them. Any role.
//
//	GET /t/{tenant}/secrets/{secret} → 200 VaultSecret
func (c *Client) VaultSecret(ctx context.Context, tenant, secret string) (*VaultSecret, error) {
	return one[VaultSecret](ctx, c, vaulted(http.MethodGet, tenant, secret))
}

// PutSecret stores a version of a secret, which exists from then on if it did not. The version is staged, unless the
// request says that calls are to use it at once, which takes the right of ActivateSecret. Admin, editor, keeper.
//
//	POST /t/{tenant}/secrets/{secret}/versions SecretRequest → 201 SecretChange
//	409 conflict: there are too many versions or secrets; another version is active; the secret is unreadable
//	422 invalid: the value, or where it may go, has mistakes
func (c *Client) PutSecret(ctx context.Context, tenant, secret string, r SecretRequest) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "versions").with(r))
}

// SecretChoice is the body of ActivateSecret.
type SecretChoice struct {
	Version int `json:"version,omitempty"` // staged or retired; absent: the newest staged one
	Expect  int `json:"expect,omitempty"`  // see SecretRequest.Expect
}

// ActivateSecret makes the calls from now on use a version of a secret; what was active is retired. Admin, editor.
//
//	POST /t/{tenant}/secrets/{secret}/activate SecretChoice → 200 SecretChange
//	409 conflict: another version is active than was expected; no version is staged; the secret is unreadable
func (c *Client) ActivateSecret(ctx context.Context, tenant, secret string, v SecretChoice) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "activate").with(v))
}

// RollbackSecret makes the calls from now on use the version that was active before. Admin, editor.
//
//	POST /t/{tenant}/secrets/{secret}/rollback, no body → 200 SecretChange
//	409 conflict: there is none, or its value was destroyed
func (c *Client) RollbackSecret(ctx context.Context, tenant, secret string) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "rollback"))
}

// DisableSecret has every call refused from now on that needs the secret. Admin, editor, responder.
//
//	POST /t/{tenant}/secrets/{secret}/disable, no body → 200 SecretChange
func (c *Client) DisableSecret(ctx context.Context, tenant, secret string) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "disable"))
}

// EnableSecret lets calls use a disabled secret again. Admin, editor.
//
//	POST /t/{tenant}/secrets/{secret}/enable, no body → 200 SecretChange
func (c *Client) EnableSecret(ctx context.Context, tenant, secret string) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "enable"))
}

// SecretEnd is the body of DestroySecret.
type SecretEnd struct {
	Version int  `json:"version,omitempty"` // absent: all
	Force   bool `json:"force,omitempty"`   // all, although a tool puts the secret on its calls
}

// DestroySecret makes the value of a version irretrievable, or those of all versions. The name and the numbers stay.
// After 503 the values may be left in the backend that keeps them; asking again destroys them. Admin.
//
//	POST /t/{tenant}/secrets/{secret}/destroy SecretEnd → 200 SecretChange
//	409 conflict: the version is active; or a tool puts the secret on its calls, and nothing forces it
func (c *Client) DestroySecret(ctx context.Context, tenant, secret string, end SecretEnd) (*SecretChange, error) {
	return one[SecretChange](ctx, c, vaulted(http.MethodPost, tenant, secret, "destroy").with(end))
}

// SecretTrial is the body of TestSecret.
type SecretTrial struct {
	Version int    `json:"version,omitempty"` // absent: the newest staged one, or else the active one
	Tool    string `json:"tool,omitempty"`    // whose probe is made; absent: the only one that has one and uses the secret
}

// SecretTested is what came of a test. Nothing else of the upstream's answer is told.
type SecretTested struct {
	Tool    string        `json:"tool"`
	Version SecretVersion `json:"version"`
	Status  int           `json:"status"` // that the upstream answered
	Passed  bool          `json:"passed"` // the tool's probe expects it
}

// TestSecret has the shim make the probe of a tool with a version of a secret, which need not be active. Admin, editor,
// keeper.
//
//	POST /t/{tenant}/secrets/{secret}/test SecretTrial → 200 SecretTested
//	409 conflict: no tool, or several, could be tried; the server has no shim; the secret may not go to the tool
func (c *Client) TestSecret(ctx context.Context, tenant, secret string, trial SecretTrial) (*SecretTested, error) {
	k := vaulted(http.MethodPost, tenant, secret, "test").with(trial)
	k.wait = testWait
	return one[SecretTested](ctx, c, k)
}

// testWait is how much longer than other calls a test may take: it waits for the upstream.
const testWait = time.Minute

// RotateVaultKey lets a new data key seal the tenant's secrets; the server seals anew what the old one sealed, while
// every call goes on. VaultSecrets tells how far that is. Admin.
//
//	POST /t/{tenant}/vault/rotate, no body → 200 DataKey
//	404 not_found: the tenant has no secrets
func (c *Client) RotateVaultKey(ctx context.Context, tenant string) (*DataKey, error) {
	return one[DataKey](ctx, c, at(http.MethodPost, tenant, "vault", "rotate"))
}

// ShredRequest is the body of ShredSecrets.
type ShredRequest struct {
	Confirm string `json:"confirm"` // the tenant's name once more
}

// Shredded is what came of ShredSecrets.
type Shredded struct {
	Secrets int `json:"secrets"` // how many there were
}

// ShredSecrets destroys all secrets of the tenant and the data keys that seal them. It cannot be undone here; a backup
// that was made before still has them. Admin.
//
//	POST /t/{tenant}/vault/shred ShredRequest → 200 Shredded
//	404 not_found: the tenant has no secrets
//	422 invalid: the tenant is not the one that is confirmed
func (c *Client) ShredSecrets(ctx context.Context, tenant, confirm string) (*Shredded, error) {
	return one[Shredded](ctx, c, at(http.MethodPost, tenant, "vault", "shred").with(ShredRequest{Confirm: confirm}))
}

func vaulted(method, tenant, secret string, segments ...string) call {
	return at(method, tenant, "secrets").slug("secret", secret).below(segments...)
}
