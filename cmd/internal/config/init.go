package config

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/keys"
)

// The files that Init writes, beside DefaultFile.
const (
	masterKeyFile  = "master.key"
	adminTokenFile = "admin.token"
)

// Initial is what Init writes into a new configuration.
type Initial struct {
	BaseURL string // empty: http:// and Listen, if that is a loopback address
	Listen  string // empty: 127.0.0.1:8080
	Store   string // empty: bolt:bursar.db
}

// Init writes a configuration, a new master key and a new operator token into dir, readable by their owner only, and
// returns the path of the configuration. It makes dir if there is none, and never overwrites: if one of the files
// exists, or the configuration would have mistakes (*Mistakes), nothing is written.
func Init(dir string, in Initial) (string, error) {
	in = in.filled()
	text := in.render()
	path := filepath.Join(dir, DefaultFile)
	if _, found := Parse([]byte(text), dir); len(found) > 0 {
		for i := range found {
			found[i].Line = 0 // there is no file to look into
		}
		return "", &Mistakes{File: "the new configuration", List: found}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	files := []struct {
		path    string
		content []byte
	}{
		{filepath.Join(dir, masterKeyFile), keys.NewMasterFile()},
		{filepath.Join(dir, adminTokenFile), []byte(admin.NewToken("") + "\n")},
		{path, []byte(text)},
	}
	for _, f := range files {
		if _, err := os.Lstat(f.path); err == nil {
			return "", &fs.PathError{Op: "write", Path: f.path, Err: fs.ErrExist}
		}
	}
	for i, f := range files {
		if err := writeNew(f.path, f.content); err != nil {
			for _, made := range files[:i] {
				err = errors.Join(err, os.Remove(made.path))
			}
			return "", err
		}
	}
	return path, nil
}

// writeNew makes a file and leaves none behind if it cannot be written whole.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (in Initial) filled() Initial {
	if in.Listen == "" {
		in.Listen = "127.0.0.1:8080"
	}
	if host, err := strict.HostPort(in.Listen); in.BaseURL == "" && err == nil && scopes.IsLoopback(host) {
		in.BaseURL = strings.TrimSuffix("http://"+in.Listen, ":80")
	}
	if in.Store == "" {
		in.Store = "bolt:bursar.db"
	}
	return in
}

// TLS reports whether the listener needs a certificate.
func (in Initial) TLS() bool {
	host, err := strict.HostPort(in.Listen)
	return err == nil && !scopes.IsLoopback(host)
}

// Shim is where agents would call tools: on loopback, as the server itself is; with its certificate, on a port beside
// its own; or below the address that a proxy serves.
func (in Initial) Shim() Shim {
	u, err := url.Parse(in.BaseURL)
	switch {
	case err == nil && scopes.IsLoopback(u.Hostname()):
		return Shim{Listen: "127.0.0.1:8081", URL: "http://127.0.0.1:8081"}
	case err == nil && in.TLS():
		host, _ := strict.HostPort(in.Listen)
		return Shim{Listen: net.JoinHostPort(host, "8444"), URL: "https://" + net.JoinHostPort(u.Hostname(), "8444")}
	}
	return Shim{Listen: "127.0.0.1:8081", URL: in.BaseURL + "/shim"}
}

func (in Initial) render() string {
	var b strings.Builder
	if err := initial.Execute(&b, in); err != nil { // the template and its fields are fixed
		panic(err)
	}
	return b.String()
}

// scalar writes s as YAML does, quoted only if it must be.
func scalar(s string) (string, error) {
	text, err := yaml.Marshal(s)
	return strings.TrimSuffix(string(text), "\n"), err
}

var initial = template.Must(template.New(DefaultFile).Funcs(template.FuncMap{"yaml": scalar}).Parse(
	`# The configuration of a bursar server.
# Check it with: bursar config check
# Paths are relative to this file.

base_url: {{.BaseURL | yaml}}   # the issuer of tenant acme is this and /t/acme
listen: {{.Listen | yaml}}
{{- if .TLS}}
tls: {cert: tls.crt, key: tls.key}   # put the certificate and its key there; the key with mode 0600
{{- end}}
store: {{.Store | yaml}}
master_key: file:` + masterKeyFile + `   # seals every key in the store: keep a copy, apart from backups of the store
admin: {token_file: ` + adminTokenFile + `}   # the first operator's token

# For APIs that know nothing but a key: agents call them at this URL, and the shim puts the key in.
# shim: {listen: {{.Shim.Listen | yaml}}, url: {{.Shim.URL | yaml}}}
`))
