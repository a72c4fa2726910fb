package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/bao"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// defaultFile is the name of the configuration file.
const defaultFile = "shim.yaml"

// Config is the content of shim.yaml. Paths in it are relative to the directory of the file.
type Config struct {
	// The address, host:port, at which agents call. Without `tls` it must be a loopback address. Absent: agents call
	// nothing here, and `decide` is required.
	Listen string `yaml:"listen"`
	// The URL at which agents reach the shim, with a path if it has one: what `shim.url` of `bursar.yaml` is. Required.
	URL string `yaml:"url"`
	// What `base_url` of `bursar.yaml` is. Required. The keys that tokens are verified with are fetched from there.
	BaseURL string `yaml:"base_url"`
	// The file of the authorities by which the certificate of `base_url` is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
	// The Redis of the server: `redis://USER@HOST:PORT/DB`, `rediss://` (with TLS), `redis-sentinel://` or
	// `redis-cluster://`, without the password. Required. USER is the user that `bursar keys shim` printed the rights of.
	Store string `yaml:"store"`
	// The password of the Redis user: `file:PATH`, `env:NAME` or `credential:NAME`.
	StorePassword strict.Source `yaml:"store_password"`
	// `accept` starts the shim on a Redis that may lose acknowledged writes. Absent: such a Redis stops the start.
	VolatileStore string `yaml:"volatile_store"`
	// `true` lets each call wait until a replica of Redis has its record. Absent: it waits for the primary alone.
	ReplicateCalls bool `yaml:"replicate_calls"`
	// The key that `bursar keys shim` made: `file:PATH` is a file that only its owner can read, `env:NAME` an environment
	// variable, `credential:NAME` a credential of the service manager. Required. The shim serves the tenants that it is
	// for.
	ShimKey strict.Source `yaml:"shim_key"`
	// How OpenBao is reached, as `vault.openbao` of `bursar.yaml`, but with a login of the shim's own. Absent: secrets
	// whose values are kept there cannot be used.
	OpenBao bao.Config `yaml:"openbao"`
	// The certificate of `listen`. Absent: it speaks plain HTTP.
	TLS strict.TLS `yaml:"tls"`
	// Where metrics are served. Absent: there are none.
	Metrics Metrics `yaml:"metrics"`
	// Where front proxies such as nginx, Caddy and HAProxy ask over HTTP whether a call may be made, and get the key for
	// it. Absent: nowhere.
	Decide strict.Door `yaml:"decide"`
	// The proxies in front of the shim whose word is taken for whom they ask, as in `bursar.yaml`. Absent: nobody's.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// How often callers may call, counted by this process alone.
	Limits Limits `yaml:"limits"`
	// What the platform allows single tenants, by tenant: what `tenants` of `bursar.yaml` says.
	Tenants map[string]Tenant `yaml:"tenants"`
}

// Metrics is the Prometheus listener.
type Metrics struct {
	// The address, host:port, on which `/metrics` is served, over plain HTTP and to everybody who reaches it.
	Listen string `yaml:"listen"`
}

// Limits bound how often callers may call. Who calls more often is answered with 429 and `Retry-After`.
type Limits struct {
	// Calls from one address (of IPv6, one /64) to one tenant's tools, such as `200/s`, `10/m` or `off`; `2000/s` if
	// absent.
	Address limit.Rate `yaml:"address"`
	// Calls to one tenant's tools; `10000/s` if absent.
	Tenant limit.Rate `yaml:"tenant"`
}

// Tenant is what the platform allows one tenant.
type Tenant struct {
	// The private address ranges that the tenant's upstreams may be in, such as `10.2.0.0/16`. Absent: public addresses
	// only. Cloud metadata services, this shim, its Redis and the server stay closed.
	PrivateCIDRs []netip.Prefix `yaml:"private_cidrs"`
}

var options = strict.Options{Forms: map[reflect.Type]string{
	reflect.TypeFor[limit.Rate](): "a rate such as 200/s, 10/m or off",
}}

// secrets are what the configuration names and does not hold. They print as "[secrets]".
type secrets struct {
	Key         *keys.ShimKey
	StoreURL    string // with the password in it
	Certificate *tls.Certificate
	Roots       *x509.CertPool // of the server; nil for the system's
	Decide      strict.Lock
	OpenBao     *openbao.Config // nil without one
}

const redacted = "[secrets]"

// Format hides what is inside from every verb of package fmt.
func (secrets) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (secrets) LogValue() slog.Value { return slog.StringValue(redacted) }

// slugs are those of the tenants that the key is for.
func (s *secrets) slugs() (all []string) {
	for _, t := range s.Key.Tenants() {
		all = append(all, t.Slug)
	}
	return all
}

// load reads and checks a configuration file, and nothing that it names.
func load(path string) (*Config, error) {
	c, r, err := read(path)
	if err != nil {
		return nil, err
	}
	if found := r.Mistakes(); len(found) > 0 {
		return nil, &strict.Mistakes{File: path, List: found}
	}
	return c, nil
}

// open reads and checks a configuration file and what it names. All mistakes of both are one *strict.Mistakes.
func open(path string) (*Config, *secrets, error) {
	c, r, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	s, found := c.secrets()
	r.Beside(found)
	if found := r.Mistakes(); len(found) > 0 {
		return nil, nil, &strict.Mistakes{File: path, List: found}
	}
	return c, s, nil
}

func read(path string) (*Config, *strict.Reading, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	c, r := parse(data, dir)
	return c, r, nil
}

// parse reads and checks the content of a configuration file whose paths are relative to dir.
func parse(data []byte, dir string) (*Config, *strict.Reading) {
	c := new(Config)
	r := strict.Read(data, c, options)
	r.Check(c.validate())
	for _, path := range []*string{&c.CA, &c.TLS.Cert, &c.TLS.Key} {
		*path = strict.Under(dir, *path)
	}
	c.OpenBao.Resolve(dir)
	c.StorePassword, c.ShimKey, c.Decide = c.StorePassword.Under(dir), c.ShimKey.Under(dir), c.Decide.Under(dir)
	return c, r
}

// validate returns every mistake that can be found without touching the machine.
func (c *Config) validate() []strict.Mistake {
	v := c.TLS.Check()
	if c.Listen != "" {
		v.Check("listen", strict.Listener(c.Listen, c.TLS.Cert != ""))
	} else if !c.Decide.Given() {
		v.Add("listen", "is required, such as 127.0.0.1:8081")
	}
	v.Check("base_url", strict.BaseURL(c.BaseURL))
	v.Check("url", strict.ShimURL(c.URL, c.BaseURL))
	if c.Store == "" {
		v.Add("store", "is required: the URL of the server's Redis")
	} else {
		v.Check("store", strict.RedisURL(c.Store))
	}
	if c.VolatileStore != "" && c.VolatileStore != "accept" {
		v.Add("volatile_store", "must be accept, or absent")
	}
	if c.ShimKey == (strict.Source{}) {
		v.Add("shim_key", "is required; bursar keys shim makes one")
	}
	v = append(v, c.OpenBao.Check("openbao")...)
	if c.Decide.Given() {
		v = append(v, c.Decide.Check("decide")...)
	}
	if c.Metrics.Listen != "" {
		_, err := strict.HostPort(c.Metrics.Listen)
		v.Check("metrics.listen", err)
	}
	v = append(v, c.distinct()...)
	for i, prefix := range c.TrustedProxies {
		v.Check(fmt.Sprintf("trusted_proxies[%d]", i), strict.AddressRange(prefix, "name the proxies"))
	}
	for _, slug := range slices.Sorted(maps.Keys(c.Tenants)) {
		path := "tenants." + slug
		v.Check(path, scopes.CheckSlug(slug))
		for i, prefix := range c.Tenants[slug].PrivateCIDRs {
			v.Check(fmt.Sprintf("%s.private_cidrs[%d]", path, i),
				strict.AddressRange(prefix, "name the ranges that the tenant needs"))
		}
	}
	return v
}

// distinct reports listeners on one address. Port 0 is a free port, never the same twice.
func (c *Config) distinct() (v strict.Checks) {
	taken := map[string]string{}
	for _, l := range []struct{ path, address string }{
		{"listen", c.Listen}, {"metrics.listen", c.Metrics.Listen}, {"decide.listen", c.Decide.Listen},
	} {
		if l.address == "" || strings.HasSuffix(l.address, ":0") {
			continue
		}
		if other, ok := taken[l.address]; ok {
			v.Add(l.path, "is the same address as "+other)
		}
		taken[l.address] = l.path
	}
	return v
}

// secrets reads what the configuration names.
func (c *Config) secrets() (*secrets, []strict.Mistake) {
	var v strict.Checks
	s := &secrets{StoreURL: c.Store}
	if c.ShimKey == (strict.Source{}) {
		v.Add("shim_key", "is required; bursar keys shim makes one")
	} else if data, err := c.ShimKey.Read(); err != nil {
		v.Check("shim_key", err)
	} else {
		s.Key, err = keys.ReadShimKey(data)
		v.Check("shim_key", err)
	}
	if s.Key != nil {
		for _, slug := range slices.Sorted(maps.Keys(c.Tenants)) {
			if !slices.Contains(s.slugs(), slug) {
				v.Add("tenants."+slug, "is no tenant that the shim's key is for; it is for "+strings.Join(s.slugs(), ", "))
			}
		}
	}
	var err error
	if c.StorePassword != (strict.Source{}) {
		password, err := c.StorePassword.Read()
		if err == nil && len(strings.TrimRight(string(password), "\r\n")) == 0 {
			err = errors.New("it is empty")
		}
		v.Check("store_password", err)
		s.StoreURL = strict.WithPassword(c.Store, strings.TrimRight(string(password), "\r\n"))
	}
	if c.TLS.Cert != "" && c.TLS.Key != "" {
		s.Certificate, err = c.TLS.Load()
		v.Check("tls", err)
	}
	if c.CA != "" {
		s.Roots, err = strict.Roots(c.CA)
		v.Check("ca", err)
	}
	var away, shut []strict.Mistake
	s.OpenBao, away = c.OpenBao.Read("openbao")
	s.Decide, shut = c.Decide.Load("decide")
	if v = append(append(v, away...), shut...); len(v) > 0 {
		return nil, v
	}
	return s, nil
}
