package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Validate returns every mistake that can be found without touching the machine.
func (c *Config) Validate() []Mistake {
	var v validator
	v.check("base_url", baseURL(c.BaseURL))
	v.check("listen", c.listener(c.Listen))
	v.check("store", c.store())
	v.tls(c.TLS)
	if c.StorePassword != (Source{}) && strings.HasPrefix(c.Store, "bolt:") {
		v.add("store_password", "means nothing to a bolt store; remove it")
	}
	if c.VolatileStore != "" && c.VolatileStore != "accept" {
		v.add("volatile_store", "must be accept, or absent")
	}
	if c.ReplicateIssuance && strings.HasPrefix(c.Store, "bolt:") {
		v.add("replicate_issuance", "means nothing to a bolt store; remove it")
	}
	v.vault(c)
	if c.Admin.TokenFile == "" {
		v.add("admin.token_file", "is required; bursar init makes one")
	}
	if c.Admin.Listen != "" {
		v.check("admin.listen", c.listener(c.Admin.Listen))
	}
	if c.Metrics.Listen != "" {
		_, err := hostPort(c.Metrics.Listen)
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
		v.check(fmt.Sprintf("trusted_proxies[%d]", i), addressRange(prefix, "name the proxies"))
	}
	if share := c.Limits.Share; share != 0 && (share < 10*time.Millisecond || share > 10*time.Second) {
		v.add("limits.share", "must be from 10ms to 10s")
	}
	v.tenants(c.Tenants)
	return v
}

type validator []Mistake

func (v *validator) add(path, text string) { *v = append(*v, Mistake{Path: path, Text: text}) }

func (v *validator) check(path string, err error) {
	if err != nil {
		v.add(path, err.Error())
	}
}

func (v *validator) tls(t TLS) {
	if t.Cert == "" && t.Key != "" {
		v.add("tls.cert", "is required beside tls.key")
	}
	if t.Key == "" && t.Cert != "" {
		v.add("tls.key", "is required beside tls.cert")
	}
}

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

// distinct reports listeners on one address. Port 0 is a free port, never the same twice.
func (v *validator) distinct(c *Config) {
	taken := map[string]string{c.Listen: "listen"}
	for _, l := range []struct{ path, address string }{
		{"admin.listen", c.Admin.Listen}, {"metrics.listen", c.Metrics.Listen},
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
			v.check(fmt.Sprintf("%s.private_cidrs[%d]", path, i), addressRange(prefix, "name the ranges that the tenant needs"))
		}
	}
}

// addressRange checks a range of addresses; instead says what to do about one that holds all of them.
func addressRange(prefix netip.Prefix, instead string) error {
	switch {
	case !prefix.IsValid():
		return fmt.Errorf("must be an address range such as 10.2.0.0/16")
	case prefix.Addr().Is4In6():
		return fmt.Errorf("must be written as an IPv4 range")
	case prefix.Bits() == 0:
		return fmt.Errorf("allows every address; %s", instead)
	case prefix != prefix.Masked():
		return fmt.Errorf("has bits beyond its length; did you mean %s?", prefix.Masked())
	}
	return nil
}

// baseURL checks that s is an origin in the one spelling that issuers are compared with (RFC 8414 §3.3 compares them
// character by character).
func baseURL(s string) error {
	if s == "" {
		return fmt.Errorf("is required; it is the origin under which the server is reached, such as https://sts.example")
	}
	if err := scopes.CheckURL(s, scopes.Origin); err != nil {
		return err
	}
	scheme, host, _ := strings.Cut(s, "://")
	if scheme == "https" && strings.HasSuffix(host, ":443") || scheme == "http" && strings.HasSuffix(host, ":80") {
		return fmt.Errorf("must not name the port that its scheme has anyway")
	}
	return nil
}

// listener checks an address that tokens pass through.
func (c *Config) listener(address string) error {
	if address == "" {
		return fmt.Errorf("is required, such as 127.0.0.1:8080")
	}
	host, err := hostPort(address)
	if err == nil && c.TLS.Cert == "" && !scopes.IsLoopback(host) {
		return fmt.Errorf("is not a loopback address, and plain HTTP is for those only; give tls.cert and tls.key, " +
			"or listen on 127.0.0.1 behind a proxy")
	}
	return err
}

func hostPort(address string) (host string, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("must be host:port, such as 127.0.0.1:8080")
	}
	if _, err := strconv.ParseUint(p, 10, 16); err != nil {
		return "", fmt.Errorf("must end in a port from 0 to 65535")
	}
	return host, nil
}

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
	u, err := url.Parse(c.Store)
	if err != nil || !slices.Contains([]string{"redis", "rediss", "redis-sentinel", "redis-cluster"}, u.Scheme) {
		return fmt.Errorf("must be bolt:PATH, redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	if u.Host == "" {
		return fmt.Errorf("must name a host, such as redis://127.0.0.1:6379/0")
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return fmt.Errorf("holds a password; name its place in store_password instead")
	}
	return nil
}
