package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/scopes"
)

// Validate returns every mistake that can be found without touching the machine.
func (c *Config) Validate() []Mistake {
	var v validator
	v.check("base_url", strict.BaseURL(c.BaseURL))
	v.check("listen", c.listener(c.Listen))
	v.check("store", c.store())
	v.Checks = append(v.Checks, c.TLS.Check()...)
	if c.StorePassword != (Source{}) && strings.HasPrefix(c.Store, "bolt:") {
		v.add("store_password", "means nothing to a bolt store; remove it")
	}
	if c.VolatileStore != "" && c.VolatileStore != "accept" {
		v.add("volatile_store", "must be accept, or absent")
	}
	if c.ReplicateIssuance && strings.HasPrefix(c.Store, "bolt:") {
		v.add("replicate_issuance", "means nothing to a bolt store; remove it")
	}
	v.masters(c)
	v.vault(c)
	if c.Admin.TokenFile == "" {
		v.add("admin.token_file", "is required; bursar init makes one")
	}
	if c.Admin.Listen != "" {
		v.check("admin.listen", c.listener(c.Admin.Listen))
	}
	v.shim(c)
	if c.Metrics.Listen != "" {
		_, err := strict.HostPort(c.Metrics.Listen)
		v.check("metrics.listen", err)
	}
	v.traces(c.Traces)
	v.witnesses(c.Audit.Witnesses)
	v.sinks(c.Audit.Sinks)
	v.retention(c.Audit.Retention)
	v.distinct(c)
	if every := c.Keys.RotateEvery; every != 0 && every < time.Hour {
		v.add("keys.rotate_every", "must be at least 1h")
	}
	for i, prefix := range c.TrustedProxies {
		v.check(fmt.Sprintf("trusted_proxies[%d]", i), strict.AddressRange(prefix, "name the proxies"))
	}
	if share := c.Limits.Share; share != 0 && (share < 10*time.Millisecond || share > 10*time.Second) {
		v.add("limits.share", "must be from 10ms to 10s")
	}
	v.tenants(c.Tenants)
	return v.Checks
}

type validator struct{ strict.Checks }

func (v *validator) add(path, text string) { v.Add(path, text) }

func (v *validator) check(path string, err error) { v.Check(path, err) }

func (v *validator) traces(t Traces) {
	if t.OTLP == "" && t.Sample == 0 && t.Headers == nil && t.CA == "" {
		return
	}
	if t.OTLP == "" {
		v.add("traces.otlp", "is required; it is the collector's URL, such as http://127.0.0.1:4318")
	} else {
		v.check("traces.otlp", scopes.CheckURL(t.OTLP, scopes.WithPath))
	}
	if !(t.Sample > 0 && t.Sample <= 1) {
		v.add("traces.sample", "must be above 0 and at most 1, such as 0.05; without traces, leave out all of them")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		if !isHeader(name) {
			v.add("traces.headers."+name, "is not the name of a header that an exporter may set")
		}
	}
}

// isHeader reports whether name can stand for a header (RFC 9110 §5.1) that is not the exporter's own.
func isHeader(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	low := strings.ToLower(name)
	return low != "" && strings.Trim(low, letters) == "" && !strings.HasPrefix(low, "content-") &&
		!slices.Contains([]string{"host", "user-agent", "connection", "transfer-encoding"}, low)
}

func (v *validator) shim(c *Config) {
	if c.Shim.Given() {
		v.check("shim.url", strict.ShimURL(c.Shim.URL, c.BaseURL))
	}
	if c.Shim.Listen != "" {
		v.check("shim.listen", c.listener(c.Shim.Listen))
	}
	if c.Shim.Decide.Given() {
		v.Checks = append(v.Checks, c.Shim.Decide.Check("shim.decide")...)
	}
	if c.Shim.GRPC.Given() {
		v.Checks = append(v.Checks, c.Shim.GRPC.Check("shim.grpc")...)
	}
}

// distinct reports listeners on one address. Port 0 is a free port, never the same twice.
func (v *validator) distinct(c *Config) {
	taken := map[string]string{c.Listen: "listen"}
	for _, l := range []struct{ path, address string }{
		{"admin.listen", c.Admin.Listen}, {"shim.listen", c.Shim.Listen}, {"metrics.listen", c.Metrics.Listen},
		{"shim.decide.listen", c.Shim.Decide.Listen}, {"shim.grpc.listen", c.Shim.GRPC.Listen},
	} {
		if l.address == "" || strings.HasSuffix(l.address, ":0") {
			continue
		}
		if other, ok := taken[l.address]; ok {
			v.add(l.path, "is the same address as "+other)
		}
		taken[l.address] = l.path
	}
}

func (v *validator) tenants(tenants map[string]Tenant) {
	for _, slug := range slices.Sorted(maps.Keys(tenants)) {
		path := "tenants." + slug
		v.check(path, scopes.CheckSlug(slug))
		for i, prefix := range tenants[slug].PrivateCIDRs {
			v.check(fmt.Sprintf("%s.private_cidrs[%d]", path, i),
				strict.AddressRange(prefix, "name the ranges that the tenant needs"))
		}
	}
}

// listener checks an address that tokens pass through.
func (c *Config) listener(address string) error { return strict.Listener(address, c.TLS.Cert != "") }

func (c *Config) store() error {
	if c.Store == "" {
		return fmt.Errorf("is required: bolt:PATH or a Redis URL")
	}
	if path, ok := strings.CutPrefix(c.Store, "bolt:"); ok {
		if path == "" || strings.HasPrefix(path, "//") {
			return fmt.Errorf("must name a file, such as bolt:bursar.db")
		}
		return nil
	}
	scheme, _, _ := strings.Cut(c.Store, "://")
	if !slices.Contains(strict.RedisSchemes(), scheme) {
		return fmt.Errorf("must be bolt:PATH, redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	return strict.RedisURL(c.Store)
}
