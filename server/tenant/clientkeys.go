package tenant

import (
	"context"
	"net/netip"

	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
)

// clientKeys reads the keys that a tenant's clients publish, under the same bounds as those of trusted issuers.
type clientKeys struct {
	sources *identity.Sources
	tenant  ledger.Tenant
	ceiling []netip.Prefix
}

// VerifySignature checks a client's assertion with the key set at uri.
func (k clientKeys) VerifySignature(ctx context.Context, uri string, allowPrivate bool, compact string) error {
	_, err := k.sources.ClientKeys(k.tenant, k.ceiling, uri, allowPrivate).VerifySignature(ctx, compact)
	return err
}
