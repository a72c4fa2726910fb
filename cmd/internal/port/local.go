package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

// Local returns the origin of a program on this machine, and a client that speaks to its listener, wherever the name in
// its public URL leads to.
func Local(listen string, files strict.TLS, public string) (origin string, c *http.Client, err error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, listen) // of an unspecified address: this machine
	}}
	c = &http.Client{Transport: transport}
	if files.Cert == "" {
		return "http://" + listen, c, nil
	}
	u, err := url.Parse(public)
	if err != nil {
		return "", nil, err
	}
	// The certificate must be good for that name, and one that the system trusts or the one that is configured, which may
	// be of an authority that only the clients know.
	chain, err := os.ReadFile(files.Cert)
	if err != nil {
		return "", nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return "", nil, err
	}
	roots.AppendCertsFromPEM(chain)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return "https://" + u.Host, c, nil
}
