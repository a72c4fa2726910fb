package config

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bursar-sts/bursar/cmd/internal/bao"
)

// Vault is where the values of tenants' secrets are kept.
type Vault struct {
	// Where new values are kept, of every tenant that does not say otherwise; `store` if absent.
	Backend VaultBackend `yaml:"backend"`
	// How OpenBao, or HashiCorp Vault, is reached: as the backend of tenants, or for a master key.
	OpenBao bao.Config `yaml:"openbao"`
}

// VaultBackend is where values are kept.
type VaultBackend string

// The backends.
const (
	BackendStore   VaultBackend = "store"   // in the store, sealed
	BackendOpenBao VaultBackend = "openbao" // in OpenBao; the store has what they are bound to, sealed
)

// Keeps returns where new values of a tenant are kept.
func (c *Config) Keeps(slug string) VaultBackend {
	return cmp.Or(c.Tenants[slug].Vault, c.Vault.Backend, BackendStore)
}

// vault checks where secrets are kept.
func (v *validator) vault(c *Config) {
	o := c.Vault.OpenBao
	v.backend("vault.backend", c.Vault.Backend, o)
	for _, slug := range slices.Sorted(maps.Keys(c.Tenants)) {
		v.backend("tenants."+slug+".vault", c.Tenants[slug].Vault, o)
	}
	v.Checks = append(v.Checks, o.Check("vault.openbao")...)
}

func (v *validator) backend(at string, b VaultBackend, o bao.Config) {
	switch {
	case b != "" && b != BackendStore && b != BackendOpenBao:
		v.add(at, "must be store or openbao")
	case b == BackendOpenBao && !o.Given():
		v.add(at, "needs vault.openbao, which says where that is")
	}
}
