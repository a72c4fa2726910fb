package decide

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Door is where proxies ask, and who may: whoever can open a Unix socket, or whoever proves by a certificate to be a
// proxy. There is no third way, because an agent that reached the listener could ask for the key itself. The zero Door
// cannot be opened.
type Door struct {
	// Socket is the path of a Unix socket. With it nothing else counts.
	Socket string

	// Address is host:port.
	Address string
	// Certificate returns the listener's own certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Clients are the authorities of the proxies' certificates.
	Clients *x509.CertPool
	// Names are the DNS names and URIs of which a proxy's certificate must have one; without any, each of the authorities'
	// will do.
	Names []string
}

// Open listens. A connection that it accepts is a proxy's, or fails at its first use. Close removes the socket.
func (d Door) Open() (net.Listener, error) {
	switch {
	case d.Socket != "":
		return openSocket(d.Socket)
	case d.Certificate == nil || d.Clients == nil:
		return nil, errors.New("proxies may ask over TCP only if both sides show a certificate")
	}
	l, err := net.Listen("tcp", d.Address)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{
		GetCertificate: d.Certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: d.Clients, VerifyConnection: d.admit,
	}), nil
}

// admit looks at the names of a certificate that was verified. It is asked of resumed connections too.
func (d Door) admit(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 {
		return errors.New("there is no client certificate")
	}
	if len(d.Names) == 0 {
		return nil
	}
	leaf := c.PeerCertificates[0]
	if slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return slices.Contains(d.Names, name) }) {
		return nil
	}
	for _, u := range leaf.URIs {
		if slices.Contains(d.Names, u.String()) {
			return nil
		}
	}
	return errors.New("the client certificate has none of the names that are admitted")
}

// socket is a listener whose socket goes when it closes.
type socket struct {
	net.Listener
	path   string
	made   os.FileInfo
	remove sync.Once
}

// openSocket makes a socket that its owner and its group can use: the group of its directory if that has the setgid
// bit, else that of the process. One that nobody listens on any more is replaced.
//
// The socket is made in a directory that nobody else can enter, given its mode, and moved to its place, so that at no
// moment more people can connect than should.
func openSocket(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	if err := checkFree(path); err != nil {
		return nil, err
	}
	workshop, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(workshop) }()
	l, err := net.Listen("unix", filepath.Join(workshop, "s"))
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it will have another name then
	s := &socket{Listener: l, path: path}
	if s.made, err = s.place(filepath.Join(workshop, "s")); err != nil {
		_ = l.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) place(from string) (os.FileInfo, error) {
	if err := os.Chmod(from, 0o660); err != nil {
		return nil, err
	}
	if err := os.Rename(from, s.path); err != nil {
		return nil, err
	}
	return os.Lstat(s.path)
}

// checkDir refuses a directory in which anybody could put a socket of their own in this one's place, and collect the
// agents' tokens.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0:
		return fmt.Errorf("%s can be written to by everybody; the socket needs a directory of its own", dir)
	}
	return nil
}

// checkFree reports whether a socket can be put at a path: there is nothing, or a socket that nobody listens on.
func checkFree(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is there, and is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("another process listens on %s", path)
	case errors.Is(err, syscall.ECONNREFUSED): // it was left behind
		return nil
	}
	return err
}

// Close ends the listening and removes the socket, unless another one is in its place by now.
func (s *socket) Close() error {
	err := s.Listener.Close()
	s.remove.Do(func() {
		if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.made) {
			err = errors.Join(err, os.Remove(s.path))
		}
	})
	return err
}
