package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// Source says where a secret is. The zero Source is nowhere.
type Source = strict.Source

// Secrets are what the configuration names and does not hold. They print as "[secrets]".
type Secrets struct {
	// Master is the master key, together with those that it took the place of; nil if one of them stays in OpenBao.
	Master keys.Master `json:"-"`
	// Masters are they each, in the order of Config.Masters; nil is one that stays in OpenBao.
	Masters []keys.Master `json:"-"`
	// OpenBao is how it is reached; nil without it.
	OpenBao *openbao.Config `json:"-"`
	// AdminToken is the token of the first platform operator.
	AdminToken string `json:"-"`
	// StoreURL is Config.Store with the store's password in it.
	StoreURL string `json:"-"`
	// Certificate is that of TLS; nil without TLS.
	Certificate *tls.Certificate `json:"-"`
	// Decide and GRPC are how the proxies at those doors of Shim are known.
	Decide strict.Lock `json:"-"`
	GRPC   strict.Lock `json:"-"`
	// TraceHeaders are Traces.Headers with their values.
	TraceHeaders map[string]string `json:"-"`
	// TraceRoots are whom the collector's certificate is trusted by; nil for the system's.
	TraceRoots *x509.CertPool `json:"-"`
	// Sinks are how those of Audit are reached, by name.
	Sinks map[string]Reach `json:"-"`
	// Witnesses are how those of Audit are reached, in their order.
	Witnesses []Reach `json:"-"`
}

const redacted = "[secrets]"

// Format hides what is inside from every verb of package fmt.
func (Secrets) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (Secrets) LogValue() slog.Value { return slog.StringValue(redacted) }

// Secrets reads what the configuration names. All mistakes are found; their paths are those of the configuration.
func (c *Config) Secrets() (*Secrets, []Mistake) {
	var v validator
	s := &Secrets{StoreURL: c.Store}
	s.Masters, s.Master = v.readMasters(c)
	var found []Mistake
	s.OpenBao, found = c.Vault.OpenBao.Read("vault.openbao")
	v.Checks = append(v.Checks, found...)
	var err error
	s.AdminToken, err = AdminToken(c.Admin.TokenFile)
	v.check("admin.token_file", err)
	if c.StorePassword != (Source{}) {
		password, err := c.StorePassword.Read()
		v.check("store_password", err)
		s.StoreURL = strict.WithPassword(c.Store, strings.TrimRight(string(password), "\r\n"))
	}
	if c.TLS.Cert != "" {
		s.Certificate, err = c.TLS.Load()
		v.check("tls", err)
	}
	s.Decide, found = c.Shim.Decide.Load("shim.decide")
	v.Checks = append(v.Checks, found...)
	s.GRPC, found = c.Shim.GRPC.Load("shim.grpc")
	v.Checks = append(v.Checks, found...)
	traces := v.reach("traces", c.Traces.Headers, c.Traces.CA)
	s.TraceHeaders, s.TraceRoots = traces.Headers, traces.Roots
	s.Sinks = v.readSinks(c.Audit.Sinks)
	s.Witnesses = v.readWitnesses(c.Audit.Witnesses)
	if len(v.Checks) > 0 {
		return nil, v.Checks
	}
	return s, nil
}

// Sources are the places of all secrets that the configuration names.
func (c *Config) Sources() []Source {
	all := []Source{c.StorePassword, c.Vault.OpenBao.Auth.Token}
	for _, m := range c.Masters() {
		all = append(all, m.Source)
	}
	all = slices.AppendSeq(all, maps.Values(c.Traces.Headers))
	for _, s := range c.Audit.Sinks {
		all = slices.AppendSeq(all, maps.Values(s.Headers))
	}
	return all
}

// reach reads what is needed to reach somebody else's server, of what stands at a path.
func (v *validator) reach(at string, headers map[string]Source, ca string) Reach {
	r := Reach{Headers: make(map[string]string, len(headers))}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		data, err := headers[name].Read()
		value := strings.TrimRight(string(data), "\r\n")
		if err == nil && (value == "" || strings.ContainsFunc(value, unicode.IsControl)) {
			err = errors.New("does not hold the value of a header: one line of text")
		}
		v.check(at+".headers."+name, err)
		r.Headers[name] = value
	}
	if ca != "" {
		var err error
		r.Roots, err = strict.Roots(ca)
		v.check(at+".ca", err)
	}
	return r
}

// AdminToken reads the file of the first platform operator's token.
func AdminToken(path string) (string, error) {
	data, err := strict.ReadPrivate(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if !admin.IsPlatformToken(token) {
		return "", fmt.Errorf("%s does not hold an operator token of the platform; bursar init makes one", path)
	}
	return token, nil
}
