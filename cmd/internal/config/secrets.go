package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// The kinds of a Source.
const (
	SourceFile       = "file"
	SourceEnv        = "env"
	SourceCredential = "credential"
)

// Source says where a secret is. The zero Source is nowhere.
type Source struct {
	Kind string // SourceFile, SourceEnv or SourceCredential
	Name string // a path; the name of a variable; the name of a credential
}

// UnmarshalText reads "kind:name".
func (s *Source) UnmarshalText(text []byte) error {
	kind, name, ok := strings.Cut(string(text), ":")
	switch {
	case !ok || name == "":
		return errors.New("has no name")
	case kind == SourceCredential && (strings.ContainsRune(name, '/') || name == "." || name == ".."):
		return errors.New("a credential is named without a path")
	case kind != SourceFile && kind != SourceEnv && kind != SourceCredential:
		return errors.New("is of an unknown kind")
	}
	*s = Source{kind, name}
	return nil
}

// SourceTransit is the kind of a MasterKey that stays in OpenBao; its name is that of a key of a transit engine.
const SourceTransit = "openbao-transit"

// MasterKey says where a master key is.
type MasterKey struct{ Source }

// UnmarshalText reads what a Source may be, or "openbao-transit:KEY".
func (m *MasterKey) UnmarshalText(text []byte) error {
	key, ok := strings.CutPrefix(string(text), SourceTransit+":")
	if !ok {
		return m.Source.UnmarshalText(text)
	}
	if _, err := openbao.ParseTransitKey(key); err != nil {
		return err
	}
	m.Source = Source{SourceTransit, key}
	return nil
}

// Transit returns the key in OpenBao; false if it is elsewhere.
func (m MasterKey) Transit() (openbao.TransitKey, bool) {
	if m.Kind != SourceTransit {
		return openbao.TransitKey{}, false
	}
	key, err := openbao.ParseTransitKey(m.Name)
	return key, err == nil
}

// String returns "kind:name".
func (s Source) String() string { return s.Kind + ":" + s.Name }

// read returns the secret.
func (s Source) read() ([]byte, error) {
	switch s.Kind {
	case SourceFile:
		return readPrivate(s.Name)
	case SourceEnv:
		value := take(s.Name)
		if value == "" {
			return nil, fmt.Errorf("the environment variable %s is not set", s.Name)
		}
		return []byte(value), nil
	case SourceCredential:
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, errors.New("CREDENTIALS_DIRECTORY is not set; the service manager sets it for credentials")
		}
		return readBounded(filepath.Join(dir, s.Name), 0)
	}
	return nil, errors.New("is not configured")
}

// taken are the values of the environment variables that were read, which are not there any more.
var taken sync.Map

// take returns the value of an environment variable and unsets it, so that nothing that prints the environment, and no
// other process, gets to see it. Who asks again gets the same.
func take(name string) string {
	if value, there := os.LookupEnv(name); there {
		taken.Store(name, value)
		_ = os.Unsetenv(name) // fails for names that no variable has
		return value
	}
	value, _ := taken.Load(name)
	text, _ := value.(string)
	return text
}

// maxSecret bounds what is read of a file with a secret.
const maxSecret = 64 << 10

// readPrivate reads a file that nobody but its owner can read.
func readPrivate(path string) ([]byte, error) { return readBounded(path, 0o077) }

// readBounded reads a regular file none of whose permission bits are among the forbidden ones. Permissions are those of
// the file that was opened, so that it cannot be exchanged between the check and the reading.
func readBounded(path string, forbidden os.FileMode) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("%s can be read or written by others than its owner (mode %04o); run chmod 600 on it",
			path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
	}
	return data, err
}

// Secrets are what the configuration names and does not hold. They print as "[secrets]".
type Secrets struct {
	// Master is the master key; nil for one that stays in OpenBao.
	Master keys.Master `json:"-"`
	// Previous are the master keys before it, likewise, in the order of PreviousMasterKeys.
	Previous []keys.Master `json:"-"`
	// OpenBao is how it is reached; nil without it.
	OpenBao *openbao.Config `json:"-"`
	// AdminToken is the token of the first platform operator.
	AdminToken string `json:"-"`
	// StoreURL is Config.Store with the store's password in it.
	StoreURL string `json:"-"`
	// Certificate is that of TLS; nil without TLS.
	Certificate *tls.Certificate `json:"-"`
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
	s.Master = v.readMaster("master_key", c.MasterKey)
	for i, m := range c.PreviousMasterKeys {
		s.Previous = append(s.Previous, v.readMaster(fmt.Sprintf("previous_master_keys[%d]", i), m))
	}
	s.OpenBao = v.readOpenBao(c.Vault.OpenBao)
	var err error
	s.AdminToken, err = AdminToken(c.Admin.TokenFile)
	v.check("admin.token_file", err)
	if c.StorePassword != (Source{}) {
		password, err := c.StorePassword.read()
		v.check("store_password", err)
		s.StoreURL = withPassword(c.Store, strings.TrimRight(string(password), "\r\n"))
	}
	if c.TLS.Cert != "" {
		s.Certificate, err = c.TLS.Load()
		v.check("tls", err)
	}
	traces := v.reach("traces", c.Traces.Headers, c.Traces.CA)
	s.TraceHeaders, s.TraceRoots = traces.Headers, traces.Roots
	s.Sinks = v.readSinks(c.Audit.Sinks)
	s.Witnesses = v.readWitnesses(c.Audit.Witnesses)
	if len(v) > 0 {
		return nil, v
	}
	return s, nil
}

// readMaster reads a master key, unless it is in OpenBao.
func (v *validator) readMaster(at string, m MasterKey) keys.Master {
	if _, elsewhere := m.Transit(); elsewhere {
		return nil
	}
	data, err := m.read()
	if err != nil {
		v.check(at, err)
		return nil
	}
	master, err := keys.FileMaster(data)
	v.check(at, err)
	return master
}

// reach reads what is needed to reach somebody else's server, of what stands at a path.
func (v *validator) reach(at string, headers map[string]Source, ca string) Reach {
	r := Reach{Headers: make(map[string]string, len(headers))}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		data, err := headers[name].read()
		value := strings.TrimRight(string(data), "\r\n")
		if err == nil && (value == "" || strings.ContainsFunc(value, unicode.IsControl)) {
			err = errors.New("does not hold the value of a header: one line of text")
		}
		v.check(at+".headers."+name, err)
		r.Headers[name] = value
	}
	if ca != "" {
		data, err := os.ReadFile(ca)
		r.Roots = x509.NewCertPool()
		if err == nil && !r.Roots.AppendCertsFromPEM(data) {
			err = fmt.Errorf("%s holds no certificate in PEM", ca)
		}
		v.check(at+".ca", err)
	}
	return r
}

// Load reads the certificate and its key.
func (t TLS) Load() (*tls.Certificate, error) {
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readPrivate(t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate and its key cannot be used: %w", err)
	}
	return &pair, nil
}

func withPassword(store, password string) string {
	u, err := url.Parse(store)
	if err != nil { // Validate has parsed it
		return store
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

// AdminToken reads the file of the first platform operator's token.
func AdminToken(path string) (string, error) {
	data, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if !admin.IsPlatformToken(token) {
		return "", fmt.Errorf("%s does not hold an operator token of the platform; bursar init makes one", path)
	}
	return token, nil
}
