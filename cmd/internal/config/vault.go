package config

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// Vault is where the values of tenants' secrets are kept.
type Vault struct {
	// Where new values are kept, of every tenant that does not say otherwise; `store` if absent.
	Backend VaultBackend `yaml:"backend"`
	// How OpenBao, or HashiCorp Vault, is reached: as the backend of tenants, or for a master key.
	OpenBao OpenBao `yaml:"openbao"`
}

// VaultBackend is where values are kept.
type VaultBackend string

// The backends.
const (
	BackendStore   VaultBackend = "store"   // in the store, sealed
	BackendOpenBao VaultBackend = "openbao" // in OpenBao; the store has what they are bound to, sealed
)

// OpenBao is how it is reached, and where in it values are.
type OpenBao struct {
	// Where it is: https, or http on loopback, without a path. Required. No redirection is followed, no proxy asked, and
	// no environment variable looked at; a standby must forward requests by itself.
	Address string `yaml:"address"`
	// The file of the authorities by which its certificate is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
	// How the server proves there who it is. Required; exactly one of `token`, `jwt` and `kubernetes`.
	Auth OpenBaoAuth `yaml:"auth"`
	// The namespace of the values; `{tenant}` stands for the tenant's name. Absent: that of the login.
	Namespace string `yaml:"namespace"`
	// The mount of the KV engine, version 2, that has the values; `{tenant}` stands for the tenant's name; `secret` if
	// absent.
	Mount string `yaml:"mount"`
	// The folder in it, `bursar/{tenant}` if absent; `{tenant}` stands for the tenant's name. One of `namespace`, `mount`
	// and `path` must hold it. Below the folder, each version of a secret is an entry of its own: `SECRET/ID`.
	Path string `yaml:"path"`
	// How long a value that was read is used without asking for it again, from `1s` to `30s`; `10s` if absent. When that
	// has passed and OpenBao is away, calls that need the value are refused.
	MaxStaleness time.Duration `yaml:"max_staleness"`
}

// OpenBaoAuth is a login.
type OpenBaoAuth struct {
	// The namespace of the login. Absent: the root.
	Namespace string `yaml:"namespace"`
	// The place of a token, as for `master_key`. It is renewed while it can be; one that expires is looked for there
	// again.
	Token Source `yaml:"token"`
	// A login by a JWT.
	JWT OpenBaoJWT `yaml:"jwt"`
	// A login by the token of a Kubernetes service account.
	Kubernetes OpenBaoKubernetes `yaml:"kubernetes"`
}

// OpenBaoJWT is a login by a JWT.
type OpenBaoJWT struct {
	// The mount of the auth method; `jwt` if absent.
	Mount string `yaml:"mount"`
	// The role. Required.
	Role string `yaml:"role"`
	// The file with the JWT, which is read anew for each login. Required.
	TokenFile string `yaml:"token_file"`
}

// OpenBaoKubernetes is a login by the token of a service account.
type OpenBaoKubernetes struct {
	// The mount of the auth method; `kubernetes` if absent.
	Mount string `yaml:"mount"`
	// The role. Required.
	Role string `yaml:"role"`
	// The file with the token, which is read anew for each login;
	// `/var/run/secrets/kubernetes.io/serviceaccount/token` if absent.
	TokenFile string `yaml:"token_file"`
}

// Defaults of OpenBao.
const (
	defaultBaoMount       = "secret"
	defaultBaoPath        = "bursar/{tenant}"
	defaultBaoStaleness   = 10 * time.Second
	defaultServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// Layout returns where values are.
func (o OpenBao) Layout() openbao.Layout {
	return openbao.Layout{Namespace: o.Namespace, Mount: cmp.Or(o.Mount, defaultBaoMount),
		Path: cmp.Or(o.Path, defaultBaoPath)}
}

// given reports whether anything of it is configured.
func (o OpenBao) given() bool { return o != (OpenBao{}) }

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
	if !o.given() {
		return
	}
	const at = "vault.openbao."
	if o.Address == "" {
		v.add(at+"address", "is required; it is where OpenBao is, such as https://bao.example:8200")
	} else {
		v.check(at+"address", scopes.CheckURL(o.Address, scopes.Origin))
	}
	wrong := o.Layout().Check()
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		v.add(at+name, wrong[name].Error())
	}
	if o.MaxStaleness != 0 && (o.MaxStaleness < time.Second || o.MaxStaleness > openbao.MaxStaleness) {
		v.add(at+"max_staleness", "must be from 1s to 30s")
	}
	v.login(o.Auth)
}

func (v *validator) backend(at string, b VaultBackend, o OpenBao) {
	switch {
	case b != "" && b != BackendStore && b != BackendOpenBao:
		v.add(at, "must be store or openbao")
	case b == BackendOpenBao && !o.given():
		v.add(at, "needs vault.openbao, which says where that is")
	}
}

// login checks that there is one way to log in, and what belongs to it.
func (v *validator) login(a OpenBaoAuth) {
	const at = "vault.openbao.auth"
	ways := 0
	for _, given := range []bool{a.Token != (Source{}), a.JWT != (OpenBaoJWT{}), a.Kubernetes != (OpenBaoKubernetes{})} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		v.add(at, "is required: token, jwt or kubernetes")
	case ways > 1:
		v.add(at, "must have one of token, jwt and kubernetes")
	}
	if a.JWT != (OpenBaoJWT{}) {
		v.role(at+".jwt.", a.JWT.Mount, a.JWT.Role)
		if a.JWT.TokenFile == "" {
			v.add(at+".jwt.token_file", "is required; it is the file with the JWT")
		}
	}
	if a.Kubernetes != (OpenBaoKubernetes{}) {
		v.role(at+".kubernetes.", a.Kubernetes.Mount, a.Kubernetes.Role)
	}
	v.segments(at+".namespace", a.Namespace)
}

func (v *validator) role(at, mount, role string) {
	v.segments(at+"mount", mount)
	if role == "" {
		v.add(at+"role", "is required; it is that of the auth method")
	}
}

// segments checks the path of a namespace or a mount.
func (v *validator) segments(at, path string) {
	if path != "" && !openbao.IsPath(path) {
		v.add(at, "must be segments of a-z, A-Z, 0-9, hyphen and underscore, joined by slashes")
	}
}

// resolve makes paths absolute and fills defaults.
func (o *OpenBao) resolve(dir string) {
	if !o.given() {
		return
	}
	o.CA, o.Auth.JWT.TokenFile = strict.Under(dir, o.CA), strict.Under(dir, o.Auth.JWT.TokenFile)
	o.Auth.Token = o.Auth.Token.Under(dir)
	if k := &o.Auth.Kubernetes; *k != (OpenBaoKubernetes{}) {
		k.TokenFile = strict.Under(dir, cmp.Or(k.TokenFile, defaultServiceAccount))
	}
	if o.MaxStaleness == 0 {
		o.MaxStaleness = defaultBaoStaleness
	}
}

// readOpenBao reads what is needed to reach it: nil without it.
func (v *validator) readOpenBao(o OpenBao) *openbao.Config {
	if !o.given() {
		return nil
	}
	return &openbao.Config{Address: o.Address, Namespace: o.Auth.Namespace, Login: v.readLogin(o.Auth),
		Roots: v.reach("vault.openbao", nil, o.CA).Roots}
}

// readLogin reads the credential once, so that a mistake stops the start; later logins read it again.
func (v *validator) readLogin(a OpenBaoAuth) (l openbao.Login) {
	at := "vault.openbao.auth.token"
	switch {
	case a.JWT != (OpenBaoJWT{}):
		at = "vault.openbao.auth.jwt.token_file"
		l = openbao.Login{Method: openbao.JWT, Mount: cmp.Or(a.JWT.Mount, "jwt"), Role: a.JWT.Role,
			Credential: tokenIn(a.JWT.TokenFile)}
	case a.Kubernetes != (OpenBaoKubernetes{}):
		at = "vault.openbao.auth.kubernetes.token_file"
		l = openbao.Login{Method: openbao.Kubernetes, Mount: cmp.Or(a.Kubernetes.Mount, "kubernetes"),
			Role: a.Kubernetes.Role, Credential: tokenIn(a.Kubernetes.TokenFile)}
	default:
		l = openbao.Login{Method: openbao.Token, Credential: readAgain(a.Token)}
	}
	text, err := l.Credential()
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("is empty")
	}
	v.check(at, err)
	return l
}

// readAgain reads a secret each time that it is asked for; one of the environment, which is taken out of there, once.
func readAgain(s Source) func() (string, error) {
	read := func() (string, error) {
		data, err := s.Read()
		return string(data), err
	}
	if s.Kind == strict.SourceEnv {
		return sync.OnceValues(read)
	}
	return read
}

// tokenIn reads a token of the platform's. Who else can read the file is up to the platform, which lets groups do so.
func tokenIn(path string) func() (string, error) {
	return func() (string, error) {
		data, err := strict.ReadFile(path)
		return string(data), err
	}
}
