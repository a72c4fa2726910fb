package server

import (
	"context"
	"net/netip"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Tenants shows the shim what it needs of a directory. private are the addresses that the platform lets each tenant's
// upstreams be at, by slug.
func Tenants(d *tenant.Directory, private map[string][]netip.Prefix) shim.Tenants {
	return shimTenants{d, private}
}

type shimTenants struct {
	directory *tenant.Directory
	private   map[string][]netip.Prefix
}

func (t shimTenants) view(v *tenant.View, err error) (*shim.View, error) {
	if err != nil {
		return nil, err
	}
	return &shim.View{ID: v.ID, Slug: v.Slug, Issuer: v.Issuer, Revision: v.Revision, Tools: v.Tools, Secrets: v.Vault,
		Cutoffs: v.Cutoffs, Verify: v.Ring.Verify, Private: t.private[v.Slug]}, nil
}

func (t shimTenants) View(ctx context.Context, slug string) (*shim.View, error) {
	return t.view(t.directory.View(ctx, slug))
}

func (t shimTenants) At(ctx context.Context, slug string, p ledger.Position) (*shim.View, error) {
	t.directory.Observe(p)
	return t.view(t.directory.At(ctx, slug, p))
}

func (t shimTenants) Fresh(ctx context.Context, slug string) (*shim.View, error) {
	return t.view(t.directory.Fresh(ctx, slug))
}

func (t shimTenants) Now() time.Time { return t.directory.Now() }
