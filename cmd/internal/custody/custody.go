// Package custody opens what keeps keys and secrets outside of the store: the master keys, wherever they are, and the
// backends of tenants' vaults.
package custody

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/vault"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// Custody is what was opened. It is safe for concurrent use.
type Custody struct {
	// Master seals with the present master key, and opens what that and the previous ones sealed.
	Master keys.Master

	cfg *config.Config
	bao *openbao.Client // nil without one

	backends *openbao.Backends

	mu    sync.Mutex
	found []netip.AddrPort // where OpenBao was when it was last looked for
}

// Open opens what the configuration names. An OpenBao that has a master key must answer; one that only has values may
// be away, which is logged: their tenants' secrets cannot be used until it is back. One that refuses the login is a
// mistake of the configuration either way. Close must follow.
func Open(ctx context.Context, c *config.Config, s *config.Secrets, logger *slog.Logger) (_ *Custody, err error) {
	made := &Custody{Master: s.Master, cfg: c}
	defer func() {
		if err != nil {
			made.Close(ctx)
		}
	}()
	if s.OpenBao != nil {
		o := c.Vault.OpenBao
		if made.bao, err = o.Open(ctx, *s.OpenBao, c.InTransit(), logger); err != nil {
			return nil, fmt.Errorf("vault.openbao: %w", err)
		}
		made.backends = made.bao.Backends(o.Layout(), o.MaxStaleness)
	}
	if err := made.masters(ctx, s); err != nil {
		return nil, err
	}
	return made, nil
}

// masters opens those master keys that are in OpenBao, and puts all together.
func (c *Custody) masters(ctx context.Context, s *config.Secrets) error {
	if s.Master != nil {
		return nil
	}
	all := slices.Clone(s.Masters)
	for i, m := range c.cfg.Masters() {
		key, elsewhere := m.Transit()
		if !elsewhere {
			continue
		}
		var err error
		if all[i], err = c.bao.Master(ctx, key); err != nil {
			return fmt.Errorf("master key %s: %w", m, err)
		}
	}
	var err error
	if c.Master, err = config.JoinMasters(all); err != nil {
		return fmt.Errorf("previous_master_keys: %w", err)
	}
	return nil
}

// Backend returns what keeps the values of a tenant's secrets; nil if the store does.
func (c *Custody) Backend(slug string, t ledger.Tenant) vault.Backend {
	if c.cfg.Keeps(slug) != config.BackendOpenBao {
		return nil
	}
	return c.backends.Of(slug, t)
}

// Addresses returns where OpenBao is, which is never dialled for a tenant; where it was, if that cannot be found out.
func (c *Custody) Addresses(ctx context.Context) ([]netip.AddrPort, error) {
	c.mu.Lock()
	known := c.found
	c.mu.Unlock()
	if c.bao == nil {
		return nil, nil
	}
	found, err := c.cfg.Vault.OpenBao.Addresses(ctx)
	if err != nil {
		return known, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = found
	return found, nil
}

// Close ends the session with OpenBao.
func (c *Custody) Close(ctx context.Context) {
	if c.bao != nil {
		c.bao.Close(context.WithoutCancel(ctx))
	}
}
