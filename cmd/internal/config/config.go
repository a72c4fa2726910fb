// Package config is bursar.yaml: what an operator of the whole server decides. The types are its documentation;
// docs/configuration.md is generated from their comments.
//
// Reading is strict. An unknown field, a field given twice and a value of the wrong form are mistakes, and all mistakes
// are reported at once, each with its path and line. Nothing secret stands in the file itself: it names where secrets
// are.
package config

import (
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/limit"
)

// DefaultFile is the name of the configuration file.
const DefaultFile = "bursar.yaml"

// DefaultRotation is how long a signing key signs where keys.rotate_every is absent.
const DefaultRotation = 30 * 24 * time.Hour

// Config is the content of bursar.yaml. Paths in it are relative to the directory of the file.
type Config struct {
	// The origin under which the server is reached from outside: scheme, host and port, no path. Required. The issuer of
	// the tenant acme is `{base_url}/t/acme`; changing it makes every issued token foreign. Plain http is accepted for
	// loopback addresses only.
	BaseURL string `yaml:"base_url"`
	// The address, host:port, on which the server listens. Required. Without `tls` it must be a loopback address: put a
	// proxy that speaks TLS in front, or give a certificate.
	Listen string `yaml:"listen"`
	// The certificate of `listen` and `admin.listen`. Absent: both speak plain HTTP.
	TLS TLS `yaml:"tls"`
	// Where everything durable is kept. Required. `bolt:PATH` is a file that this server alone opens. Redis is
	// `redis://HOST:PORT/DB`, `rediss://` (with TLS), `redis-sentinel://` or `redis-cluster://`; a user name may stand in
	// the URL, the password may not.
	Store string `yaml:"store"`
	// The password of the Redis user: `file:PATH`, `env:NAME` or `credential:NAME`, as for `master_key`.
	StorePassword Source `yaml:"store_password"`
	// `accept` starts the server on a Redis that may lose acknowledged writes (one that evicts keys or keeps no
	// append-only file). Absent: such a Redis stops the start.
	VolatileStore string `yaml:"volatile_store"`
	// `true` lets issuances wait until a replica of Redis has their record, as changes and revocations always do where
	// there is a replica: no failover loses them then, but none is answered while no replica confirms. Absent: they wait
	// for the primary alone.
	ReplicateIssuance bool `yaml:"replicate_issuance"`
	// Where the key is that seals every other key at rest. Required. `file:PATH` is a file that only its owner can read,
	// `env:NAME` an environment variable, `credential:NAME` a credential of the service manager
	// (`$CREDENTIALS_DIRECTORY/NAME`), and `openbao-transit:KEY` a key that stays in the transit engine of `vault.openbao`
	// (`openbao-transit:MOUNT/KEY` if that is not mounted at `transit`). Without this key the store cannot be used, nor a
	// backup of it.
	MasterKey MasterKey `yaml:"master_key"`
	// Where the keys are that `master_key` took the place of, each as there. What they sealed opens still, and new things
	// are sealed by `master_key`. After `bursar keys rewrap` nothing in the store needs them any more.
	PreviousMasterKeys []MasterKey `yaml:"previous_master_keys"`
	// Where the values of tenants' secrets are kept. Absent: in the store.
	Vault Vault `yaml:"vault"`
	// Who administers the server, and where.
	Admin Admin `yaml:"admin"`
	// Where tools are called that have an upstream. Absent: no tenant can have such a tool.
	Shim Shim `yaml:"shim"`
	// Where metrics are served.
	Metrics Metrics `yaml:"metrics"`
	// Which requests are traced, and where their traces go. Absent: none are.
	Traces Traces `yaml:"traces"`
	// What becomes of the logs beside being kept in the store.
	Audit Audit `yaml:"audit"`
	// How signing keys live.
	Keys Keys `yaml:"keys"`
	// The proxies in front of the server whose word is taken for whom they ask, such as `10.1.0.0/24`: the caller's
	// address is then the last one in their `X-Forwarded-For` or `Forwarded` header that is no such proxy. That address is
	// what limits count by, what the log holds and what conditions see. Absent: nobody's; every caller's address is that
	// of the connection, and behind a proxy all are one.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// How often callers may ask, in every tenant that has no limits of its own.
	Limits Limits `yaml:"limits"`
	// What the platform allows single tenants, by tenant. It creates no tenant: `bursar apply` does.
	Tenants map[string]Tenant `yaml:"tenants"`
}

// TLS names a certificate.
type TLS = strict.TLS

// Admin is the administration of the server.
type Admin struct {
	// The file that holds the token of the first platform operator; only its owner may be able to read it. Required.
	// Replacing its content and restarting the server replaces the token.
	TokenFile string `yaml:"token_file"`
	// A listener of its own for the admin API, host:port, under the same rule as `listen`. Absent: they
	// are served on `listen`.
	Listen string `yaml:"listen"`
}

// Shim is where agents call the tools that stand behind it.
type Shim struct {
	// The address, host:port, on which this server is the shim, under the same rule as `listen`. Absent: it is none, and
	// `bursar-shim` is.
	Listen string `yaml:"listen"`
	// The URL at which the shim is reached from outside, with a path if it has one. Required. The tool payments of the
	// tenant acme is called at `{shim.url}/t/acme/payments`; changing the URL makes the tokens of every such tool foreign.
	// Plain http is accepted for loopback addresses only. On the host of `base_url` it needs a path that is not the
	// server's own, such as `/shim`.
	URL string `yaml:"url"`
	// Where front proxies such as nginx, Caddy and HAProxy ask over HTTP whether a call may be made, and get the key for
	// it. Absent: nowhere.
	Decide Door `yaml:"decide"`
	// The same for Envoy, over gRPC. Absent: nowhere.
	GRPC Door `yaml:"grpc"`
}

// Given reports whether anything is said of the shim.
func (s Shim) Given() bool {
	return s.Listen != "" || s.URL != "" || s.Decide.Given() || s.GRPC.Given()
}

// Door is where front proxies ask.
type Door = strict.Door

// Metrics is the Prometheus listener.
type Metrics struct {
	// The address, host:port, on which `/metrics` is served, over plain HTTP and to everybody who reaches it. Absent:
	// there are no metrics.
	Listen string `yaml:"listen"`
}

// Traces is the export of OpenTelemetry traces.
type Traces struct {
	// The collector, which takes OTLP over HTTP at this URL and `/v1/traces`: https, or http on loopback. Required.
	OTLP string `yaml:"otlp"`
	// The share of requests that are traced, above 0 and at most 1. Required. Chance alone picks them; a caller cannot
	// ask for it.
	Sample float64 `yaml:"sample"`
	// Headers that the collector wants, each with the place of its value, as for `master_key`:
	// `{authorization: "file:otlp.auth"}`.
	Headers map[string]Source `yaml:"headers"`
	// The file of the authorities by which the collector's certificate is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
}

// Keys is how signing keys live.
type Keys struct {
	// How long a key signs before the next one takes over, at least `1h`; `720h` if absent.
	RotateEvery time.Duration `yaml:"rotate_every"`
}

// Limits bound how often callers may ask. Who asks more often is answered with 429 and `Retry-After`.
type Limits struct {
	// Requests from one address (of IPv6, one /64) to the token, introspection and revocation endpoints of one tenant,
	// such as `200/s`, `10/m` or `1000/h`: that many at once, and then as many as time passes. `off` is no limit; `2000/s`
	// if absent.
	Address limit.Rate `yaml:"address"`
	// Requests of one client that has proven who it is; `2000/s` if absent.
	Client limit.Rate `yaml:"client"`
	// Requests to one tenant; `10000/s` if absent.
	Tenant limit.Rate `yaml:"tenant"`
	// Wrong secrets for one client from one address; `10/m` if absent. Ten times as many are allowed from one address for
	// all clients. Of wrong operator tokens at the admin API as many are allowed from one address as of secrets for one
	// client, whatever single tenants have; a right one is always served.
	SecretFailures limit.Rate `yaml:"secret_failures"`
	// How often servers that share a Redis tell each other what was asked, from `10ms` to `10s`; `100ms` if absent.
	Share time.Duration `yaml:"share"`
}

// Rules are the limits as the server counts them.
func (l Limits) Rules() limit.Rules {
	return limit.Rules{Address: l.Address, Client: l.Client, Tenant: l.Tenant, SecretFailures: l.SecretFailures}
}

// TenantLimits are the limits of one tenant. What is absent is as for every tenant.
type TenantLimits struct {
	// Requests from one address.
	Address limit.Rate `yaml:"address"`
	// Requests of one client that has proven who it is.
	Client limit.Rate `yaml:"client"`
	// Requests to the tenant.
	Tenant limit.Rate `yaml:"tenant"`
	// Wrong secrets for one client from one address.
	SecretFailures limit.Rate `yaml:"secret_failures"`
}

// Rules are the limits as the server counts them.
func (l TenantLimits) Rules() limit.Rules { return limit.Rules(l) }

// Tenant is what the platform allows one tenant.
type Tenant struct {
	// The private address ranges that the tenant's trusted issuers and upstreams may be in, such as `10.2.0.0/16`.
	// Absent: public addresses only. Cloud metadata services and the server's own listeners and store stay closed.
	PrivateCIDRs []netip.Prefix `yaml:"private_cidrs"`
	// Limits of the tenant's own.
	Limits TenantLimits `yaml:"limits"`
	// Where new values of the tenant's secrets are kept. Absent: where `vault.backend` says. A value that is in OpenBao
	// can be used only while this is `openbao`.
	Vault VaultBackend `yaml:"vault"`
}

// options are how bursar.yaml is read.
var options = strict.Options{Forms: map[reflect.Type]string{
	reflect.TypeFor[Age]():        "a number of days such as 90d, or a duration such as 36h",
	reflect.TypeFor[limit.Rate](): "a rate such as 200/s, 10/m or off",
	reflect.TypeFor[MasterKey]():  "file:PATH, env:NAME, credential:NAME or openbao-transit:KEY",
}}

// Load reads and checks a configuration file, and nothing that it names. Its mistakes are a *Mistakes.
func Load(path string) (*Config, error) {
	c, r, err := load(path)
	if err != nil {
		return nil, err
	}
	if found := r.Mistakes(); len(found) > 0 {
		return nil, &Mistakes{File: path, List: found}
	}
	return c, nil
}

// Open reads and checks a configuration file and the secrets that it names. All mistakes of both are one *Mistakes:
// those of the file hide no others.
func Open(path string) (*Config, *Secrets, error) {
	c, r, err := load(path)
	if err != nil {
		return nil, nil, err
	}
	s, found := c.Secrets()
	r.Beside(found)
	if found := r.Mistakes(); len(found) > 0 {
		return nil, nil, &Mistakes{File: path, List: found}
	}
	return c, s, nil
}

// load reads a configuration file as far as it can be read, and what is wrong with it.
func load(path string) (*Config, *strict.Reading, error) {
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

// Parse reads and checks the content of a configuration file whose paths are relative to dir. It touches nothing but
// its arguments. The configuration is nil if there are mistakes.
func Parse(data []byte, dir string) (*Config, []Mistake) {
	c, r := parse(data, dir)
	if found := r.Mistakes(); len(found) > 0 {
		return nil, found
	}
	return c, nil
}

func parse(data []byte, dir string) (*Config, *strict.Reading) {
	c := new(Config)
	r := strict.Read(data, c, options)
	r.Check(c.Validate())
	c.resolve(dir)
	return c, r
}

// resolve makes paths absolute and fills defaults.
func (c *Config) resolve(dir string) {
	for _, path := range []*string{&c.TLS.Cert, &c.TLS.Key, &c.Admin.TokenFile, &c.Traces.CA} {
		*path = strict.Under(dir, *path)
	}
	for _, source := range []*Source{&c.MasterKey.Source, &c.StorePassword} {
		*source = source.Under(dir)
	}
	for i, m := range c.PreviousMasterKeys {
		c.PreviousMasterKeys[i].Source = m.Under(dir)
	}
	c.Vault.OpenBao.Resolve(dir)
	c.Shim.Decide, c.Shim.GRPC = c.Shim.Decide.Under(dir), c.Shim.GRPC.Under(dir)
	for name, source := range c.Traces.Headers {
		c.Traces.Headers[name] = source.Under(dir)
	}
	c.Audit.Anchors = strict.Under(dir, cmp.Or(c.Audit.Anchors, defaultAnchors))
	if c.Audit.Retention.Archive != NoArchive {
		c.Audit.Retention.Archive = strict.Under(dir, c.Audit.Retention.Archive)
	}
	for i := range c.Audit.Witnesses {
		c.Audit.Witnesses[i].CA = strict.Under(dir, c.Audit.Witnesses[i].CA)
		c.Audit.Witnesses[i].URL = strings.TrimSuffix(c.Audit.Witnesses[i].URL, "/")
	}
	for i := range c.Audit.Sinks {
		c.Audit.Sinks[i].resolve(dir)
	}
	if path, ok := strings.CutPrefix(c.Store, "bolt:"); ok {
		c.Store = "bolt:" + strict.Under(dir, path)
	}
	if c.Limits.Share == 0 {
		c.Limits.Share = limit.DefaultInterval
	}
	if c.Keys.RotateEvery == 0 {
		c.Keys.RotateEvery = DefaultRotation
	}
}

// Mistake is one thing to mend.
type Mistake = strict.Mistake

// Mistakes is the error of a file with mistakes.
type Mistakes = strict.Mistakes
