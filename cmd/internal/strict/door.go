package strict

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// Door is where front proxies ask about calls. Nobody but proxies may reach it, because it hands out keys: it is a Unix
// socket, or it takes only whoever proves by a certificate to be a proxy.
type Door struct {
	// `unix:PATH`, a socket for this user and its group (the group of its folder if that has the setgid bit), or
	// `host:port`. Required.
	Listen string `yaml:"listen"`
	// The certificate that the proxies see. Required for `host:port`.
	TLS TLS `yaml:"tls"`
	// The file of the authorities by which the proxies' certificates are trusted, PEM. Required for `host:port`.
	ClientCA string `yaml:"client_ca"`
	// Names, of which a proxy's certificate must have one: DNS names, or URIs such as `spiffe://acme.example/nginx`.
	// Absent: each certificate of `client_ca` will do.
	Clients []string `yaml:"clients"`
}

// socket begins the address of a Unix socket.
const socket = "unix:"

// Socket returns the path of the Unix socket; false if the door is at a host and port.
func (d Door) Socket() (path string, ok bool) { return strings.CutPrefix(d.Listen, socket) }

// Given reports whether anything is said of the door.
func (d Door) Given() bool {
	return d.Listen != "" || d.TLS != (TLS{}) || d.ClientCA != "" || d.Clients != nil
}

// Check finds what is wrong with the door that stands at a path.
func (d Door) Check(at string) (found Checks) {
	if path, is := d.Socket(); is {
		if path == "" {
			found.Add(at+".listen", "must name a socket, such as unix:/run/bursar/decide.sock")
		}
		if d.TLS != (TLS{}) || d.ClientCA != "" || d.Clients != nil {
			found.Add(at, "is a socket, to which tls, client_ca and clients mean nothing; remove them")
		}
		return found
	}
	const required = "is required beside host:port: only a proxy that proves who it is may ask; or listen on unix:/PATH"
	_, err := HostPort(d.Listen)
	if err != nil {
		err = errors.New("must be unix:/PATH, or host:port such as 127.0.0.1:9101")
	}
	found.Check(at+".listen", err)
	if d.TLS.Cert == "" {
		found.Add(at+".tls.cert", required)
	}
	if d.TLS.Key == "" {
		found.Add(at+".tls.key", required)
	}
	if d.ClientCA == "" {
		found.Add(at+".client_ca", required)
	}
	for _, name := range d.Clients {
		if name == "" || strings.ContainsAny(name, " *,") {
			found.Add(at+".clients", "must be DNS names and URIs, each written out")
		}
	}
	return found
}

// Under makes the door's paths absolute.
func (d Door) Under(dir string) Door {
	if path, is := d.Socket(); is {
		d.Listen = socket + Under(dir, path)
	}
	d.TLS.Cert, d.TLS.Key, d.ClientCA = Under(dir, d.TLS.Cert), Under(dir, d.TLS.Key), Under(dir, d.ClientCA)
	return d
}

// Lock is what a Door names: its own certificate, and whom proxies' are trusted by. Both are nil for a socket.
type Lock struct {
	Certificate *tls.Certificate
	Clients     *x509.CertPool
}

// Load reads what the door at a path names.
func (d Door) Load(at string) (l Lock, found []Mistake) {
	var all Checks
	var err error
	if d.TLS.Cert != "" && d.TLS.Key != "" {
		l.Certificate, err = d.TLS.Load()
		all.Check(at+".tls", err)
	}
	if d.ClientCA != "" {
		l.Clients, err = Roots(d.ClientCA)
		all.Check(at+".client_ca", err)
	}
	return l, all
}
