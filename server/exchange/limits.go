package exchange

import (
	"context"
	"net/netip"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Refusals for asking too often are counted in the log, like those of callers whom nobody knows: a record of each would
// let a caller make the server write as fast as it can ask.

// Admit counts a request of which only the tenant and the sender's address are known. A surface calls it before it
// reads anything. Errors are *fault.Error: TooMany, NotFound for an unknown tenant, Unavailable.
func (x *Exchanger) Admit(ctx context.Context, slug string, from netip.Addr) error {
	entry, err := x.Directory.Entry(ctx, slug)
	if err != nil {
		return err
	}
	err = x.Limits.Request(limit.Tenant{ID: entry.ID, Slug: slug}, from)
	if err != nil {
		origin := audit.Origin{Tenant: entry.ID, Issuer: x.Directory.IssuerURL(slug)}
		x.Log.Refuse(origin, fault.As(err).Reason, from)
	}
	return err
}

// admitClient counts a request of a client that has proven who it is; of nobody, if it is nil.
func (x *Exchanger) admitClient(v *tenant.View, c *clients.Client, from netip.Addr) error {
	if c == nil {
		return nil
	}
	err := x.Limits.Client(budgets(v), c.ID)
	if err != nil {
		x.Log.Refuse(v.Origin(), fault.As(err).Reason, from)
	}
	return err
}

// budgets are those of the view's tenant.
func budgets(v *tenant.View) limit.Tenant { return limit.Tenant{ID: v.ID, Slug: v.Slug} }
