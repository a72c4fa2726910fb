package decide_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/decide"
)

// socketIn is a door in a directory.
func socketIn(dir string) decide.Door { return decide.Door{Socket: filepath.Join(dir, "d.sock")} }

func mustOpen(t *testing.T, d decide.Door) net.Listener {
	t.Helper()
	l, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestASocketIsForItsOwnerAndItsGroupAlone(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, socketIn(dir))
	info, err := os.Lstat(filepath.Join(dir, "d.sock"))
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Fatalf("the socket is %v, %v", info, err)
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.Close()
		}
	}()
	c, err := net.Dial("unix", filepath.Join(dir, "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("after the end there is %v, %v", left, err)
	}
}

func TestASocketThatWasLeftBehindIsReplacedAndNoOther(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	door := socketIn(dir)
	if l, err := door.Open(); err == nil {
		t.Errorf("a socket that somebody listens on was replaced: %v", l.Addr())
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	first := mustOpen(t, door)
	if err := os.Remove(path); err != nil { // as somebody does who believes that it is stale
		t.Fatal(err)
	}
	mustOpen(t, door)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error("the end of the first listener removed the socket of the second:", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (decide.Door{Socket: file}).Open(); err == nil {
		t.Error("a file was replaced")
	}
}

func TestASocketNeedsADirectoryInWhichNobodyCanReplaceIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := socketIn(dir).Open(); err == nil {
		t.Error("a socket was made where everybody can replace it")
	}
	if _, err := socketIn(filepath.Join(dir, "none")).Open(); err == nil {
		t.Error("a socket was made in a directory that is not there")
	}
}

func TestOverTCPTheDoorHasToKnowWhoAsks(t *testing.T) {
	if _, err := (decide.Door{Address: "127.0.0.1:0"}).Open(); err == nil {
		t.Error("a door without certificates was opened")
	}
	if _, err := (decide.Door{}).Open(); err == nil {
		t.Error("the zero door was opened")
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	pair := a.issue(x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue signs a certificate; the first one of an authority is its own.
func (a *authority) issue(template x509.Certificate) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "proxy"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = &template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// proxy returns the certificate of a proxy with a name, which may be a URI.
func (a *authority) proxy(name string, usage x509.ExtKeyUsage) *tls.Certificate {
	template := x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		template.URIs = []*url.URL{u}
	} else {
		template.DNSNames = []string{name}
	}
	return a.issue(template)
}

func TestOnlyAProxyWithAnAdmittedCertificateIsHeard(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	own := ours.issue(x509.Certificate{DNSNames: []string{"bursar.example"}})
	open := func(names ...string) net.Listener {
		l := mustOpen(t, decide.Door{Address: "127.0.0.1:0", Clients: ours.pool(), Names: names,
			Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil }})
		answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "heard") }
		server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(answer)}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		return l
	}
	const spiffe = "spiffe://acme.example/nginx"
	anybody, named := open(), open("nginx.acme.example", spiffe)
	client := x509.ExtKeyUsageClientAuth
	for _, row := range []struct {
		name  string
		to    net.Listener
		cert  *tls.Certificate
		heard bool
	}{
		{"one of ours", anybody, ours.proxy("caddy.acme.example", client), true},
		{"no certificate", anybody, nil, false},
		{"another authority's", anybody, others.proxy("nginx.acme.example", client), false},
		{"a server's certificate", anybody, ours.proxy("nginx.acme.example", x509.ExtKeyUsageServerAuth), false},
		{"an admitted name", named, ours.proxy("nginx.acme.example", client), true},
		{"an admitted URI", named, ours.proxy(spiffe, client), true},
		{"another name", named, ours.proxy("caddy.acme.example", client), false},
		{"the name of a host below", named, ours.proxy("x.nginx.acme.example", client), false},
		{"no certificate where names are admitted", named, nil, false},
	} {
		cfg := &tls.Config{RootCAs: ours.pool(), ServerName: "bursar.example"}
		if row.cert != nil {
			cfg.Certificates = []tls.Certificate{*row.cert}
		}
		if heard := isHeard(t.Context(), row.to.Addr().String(), cfg); heard != row.heard {
			t.Errorf("%s: heard is %t", row.name, heard)
		}
	}
	c, err := net.Dial("tcp", anybody.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /v1/decide HTTP/1.1\r\nHost: bursar\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(c); strings.Contains(string(answer), "heard") {
		t.Error("plain HTTP was heard")
	}
}

// isHeard reports whether a request over TLS is answered.
func isHeard(ctx context.Context, address string, cfg *tls.Config) bool {
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
	if err != nil {
		return false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return err == nil && string(body) == "heard"
}

func TestASocketHasTheGroupOfADirectoryWithTheSetgidBit(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a directory to a group that it is not in")
	}
	dir := t.TempDir()
	const group = 12345
	if err := errors.Join(os.Chown(dir, -1, group), os.Chmod(dir, 0o750|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, socketIn(dir))
	info, err := os.Lstat(socketIn(dir).Socket)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Gid != group || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's group is %d, its mode %v", s.Gid, info.Mode())
	}
}
