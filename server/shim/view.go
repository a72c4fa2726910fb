package shim

import (
	"context"
	"net/netip"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// View is what the shim needs of one tenant at one moment. It is immutable, and its zero value lets nobody through.
type View struct {
	ID       ledger.Tenant
	Slug     string
	Issuer   string // the iss of its tokens
	Revision int64
	Tools    *tools.Tools
	Secrets  *vault.Vault
	Cutoffs  *revoke.State
	// Verify returns the payload of an access token that a key of the tenant signed, one that is published at that time.
	// It says nothing of the claims. Errors are *token.Error.
	Verify func(compact string, now time.Time) (payload []byte, err error)
	// Private are the private addresses that the platform lets the tenant's upstreams be at.
	Private []netip.Prefix
}

// Origin names the tenant's log.
func (v *View) Origin() audit.Origin { return audit.Origin{Tenant: v.ID, Issuer: v.Issuer} }

// same reports whether both views are of the same moment of the tenant.
func (v *View) same(other *View) bool {
	return v.Revision == other.Revision && v.Cutoffs.Seq == other.Cutoffs.Seq
}

// Tenants are views of tenants. Errors are *fault.Error: NotFound for one that does not exist, Unavailable.
type Tenants interface {
	// View returns the tenant as this process last saw it.
	View(ctx context.Context, slug string) (*View, error)
	// At returns the tenant at p or later. p has just come from the store.
	At(ctx context.Context, slug string, p ledger.Position) (*View, error)
	// Fresh returns the tenant as it stands in the store when Fresh is called, or later.
	Fresh(ctx context.Context, slug string) (*View, error)
	// Now returns the store's time, from below.
	Now() time.Time
}
