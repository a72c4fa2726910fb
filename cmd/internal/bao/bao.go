// Package bao is the part of a configuration that says how OpenBao is reached.
package bao

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

// Config is how OpenBao is reached, and where in it values are.
type Config struct {
	// Where it is: https, or http on loopback, without a path. Required. No redirection is followed, no proxy asked, and
	// no environment variable looked at; a standby must forward requests by itself.
	Address string `yaml:"address"`
	// The file of the authorities by which its certificate is trusted, PEM. Absent: the system's.
	CA string `yaml:"ca"`
	// How the server proves there who it is. Required; exactly one of `token`, `jwt` and `kubernetes`.
	Auth Auth `yaml:"auth"`
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

// Auth is a login.
type Auth struct {
	// The namespace of the login. Absent: the root.
	Namespace string `yaml:"namespace"`
	// The place of a token, as for `store_password`. It is renewed while it can be; one that expires is looked for there
	// again.
	Token strict.Source `yaml:"token"`
	// A login by a JWT.
	JWT JWT `yaml:"jwt"`
	// A login by the token of a Kubernetes service account.
	Kubernetes Kubernetes `yaml:"kubernetes"`
}

// JWT is a login by a JWT.
type JWT struct {
	// The mount of the auth method; `jwt` if absent.
	Mount string `yaml:"mount"`
	// The role. Required.
	Role string `yaml:"role"`
	// The file with the JWT, which is read anew for each login. Required.
	TokenFile string `yaml:"token_file"`
}

// Kubernetes is a login by the token of a service account.
type Kubernetes struct {
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
	defaultMount          = "secret"
	defaultPath           = "bursar/{tenant}"
	defaultStaleness      = 10 * time.Second
	defaultServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// Layout returns where values are.
func (c Config) Layout() openbao.Layout {
	return openbao.Layout{Namespace: c.Namespace, Mount: cmp.Or(c.Mount, defaultMount),
		Path: cmp.Or(c.Path, defaultPath)}
}

// Given reports whether anything of it is configured.
func (c Config) Given() bool { return c != (Config{}) }

// Check finds every mistake of what stands at a path. What is not given has none.
func (c Config) Check(at string) (found strict.Checks) {
	if !c.Given() {
		return nil
	}
	if c.Address == "" {
		found.Add(at+".address", "is required; it is where OpenBao is, such as https://bao.example:8200")
	} else {
		found.Check(at+".address", scopes.CheckURL(c.Address, scopes.Origin))
	}
	wrong := c.Layout().Check()
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		found.Add(at+"."+name, wrong[name].Error())
	}
	if c.MaxStaleness != 0 && (c.MaxStaleness < time.Second || c.MaxStaleness > openbao.MaxStaleness) {
		found.Add(at+".max_staleness", "must be from 1s to 30s")
	}
	return append(found, c.Auth.check(at+".auth")...)
}

// check: there is one way to log in, and it has what belongs to it.
func (a Auth) check(at string) (found strict.Checks) {
	ways := 0
	for _, given := range []bool{a.Token != (strict.Source{}), a.JWT != (JWT{}), a.Kubernetes != (Kubernetes{})} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		found.Add(at, "is required: token, jwt or kubernetes")
	case ways > 1:
		found.Add(at, "must have one of token, jwt and kubernetes")
	}
	if a.JWT != (JWT{}) {
		found = append(found, role(at+".jwt", a.JWT.Mount, a.JWT.Role)...)
		if a.JWT.TokenFile == "" {
			found.Add(at+".jwt.token_file", "is required; it is the file with the JWT")
		}
	}
	if a.Kubernetes != (Kubernetes{}) {
		found = append(found, role(at+".kubernetes", a.Kubernetes.Mount, a.Kubernetes.Role)...)
	}
	return append(found, segments(at+".namespace", a.Namespace)...)
}

func role(at, mount, role string) (found strict.Checks) {
	found = segments(at+".mount", mount)
	if role == "" {
		found.Add(at+".role", "is required; it is that of the auth method")
	}
	return found
}

// segments checks the path of a namespace or a mount.
func segments(at, path string) (found strict.Checks) {
	if path != "" && !openbao.IsPath(path) {
		found.Add(at, "must be segments of a-z, A-Z, 0-9, hyphen and underscore, joined by slashes")
	}
	return found
}

// Resolve makes paths absolute and fills defaults.
func (c *Config) Resolve(dir string) {
	if !c.Given() {
		return
	}
	c.CA, c.Auth.JWT.TokenFile = strict.Under(dir, c.CA), strict.Under(dir, c.Auth.JWT.TokenFile)
	c.Auth.Token = c.Auth.Token.Under(dir)
	if k := &c.Auth.Kubernetes; *k != (Kubernetes{}) {
		k.TokenFile = strict.Under(dir, cmp.Or(k.TokenFile, defaultServiceAccount))
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = defaultStaleness
	}
}

// Read reads what is needed to reach it: nil if it is not given. Mistakes are those of what stands at a path. The
// credential is read once, so that a mistake stops the start; later logins read it again.
func (c Config) Read(at string) (reach *openbao.Config, found strict.Checks) {
	if !c.Given() {
		return nil, nil
	}
	reach = &openbao.Config{Address: c.Address, Namespace: c.Auth.Namespace}
	if c.CA != "" {
		var err error
		reach.Roots, err = strict.Roots(c.CA)
		found.Check(at+".ca", err)
	}
	var field string
	reach.Login, field = c.Auth.login()
	text, err := reach.Login.Credential()
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("is empty")
	}
	found.Check(at+".auth."+field, err)
	return reach, found
}

// login returns the login, and the field that has its credential.
func (a Auth) login() (openbao.Login, string) {
	switch {
	case a.JWT != (JWT{}):
		return openbao.Login{Method: openbao.JWT, Mount: cmp.Or(a.JWT.Mount, "jwt"), Role: a.JWT.Role,
			Credential: tokenIn(a.JWT.TokenFile)}, "jwt.token_file"
	case a.Kubernetes != (Kubernetes{}):
		return openbao.Login{Method: openbao.Kubernetes, Mount: cmp.Or(a.Kubernetes.Mount, "kubernetes"),
			Role: a.Kubernetes.Role, Credential: tokenIn(a.Kubernetes.TokenFile)}, "kubernetes.token_file"
	}
	return openbao.Login{Method: openbao.Token, Credential: readAgain(a.Token)}, "token"
}

// readAgain reads a secret each time that it is asked for; one of the environment, which is taken out of there, once.
func readAgain(s strict.Source) func() (string, error) {
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
