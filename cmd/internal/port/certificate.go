package port

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

// recheck is how often a handshake looks whether the certificate's files have changed.
const recheck = time.Minute

// Certificate is a TLS certificate that is renewed on disk while the server runs, as certificates are. One that cannot
// be read is reported, and the last good one is used on.
type Certificate struct {
	files  strict.TLS
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	written time.Time // when the newer of the two files was written
	looked  time.Time
}

// NewCertificate returns the certificate of some files, which was read first.
func NewCertificate(files strict.TLS, first *tls.Certificate, logger *slog.Logger, now func() time.Time) *Certificate {
	return &Certificate{files: files, logger: logger, now: now, current: first, written: newest(files), looked: now()}
}

// Get is a tls.Config's GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= recheck {
		c.looked = now
		c.renew()
	}
	return c.current, nil
}

// Expiry returns when the certificate that is served expires.
func (c *Certificate) Expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter // tls.X509KeyPair parses it
}

func (c *Certificate) renew() {
	written := newest(c.files)
	if written.Equal(c.written) {
		return
	}
	next, err := c.files.Load()
	if err != nil {
		c.logger.Error("the renewed certificate cannot be used; the last one is served on", "error", err)
		return
	}
	c.current, c.written = next, written
	c.logger.Info("certificate renewed")
}

// newest is when the newer of the files was written; zero if one cannot be looked at.
func newest(files strict.TLS) time.Time {
	var newest time.Time
	for _, path := range []string{files.Cert, files.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return time.Time{}
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}
