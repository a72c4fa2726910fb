package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
)

// A certificate that is renewed on disk is served within a minute; one that is broken leaves the last good one in
// place.
func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	written := time.Now().Add(-time.Hour)
	write := func(serial int64) { writePair(t, files, serial, written) }
	write(1)
	first, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var logged bytes.Buffer
	c := newCertificate(files, first, slog.New(slog.NewTextHandler(&logged, nil)), func() time.Time { return now })
	if got := time.Until(c.expiry()).Round(time.Hour); got != time.Hour {
		t.Errorf("the certificate expires in %s", got)
	}
	serial := func() int64 {
		served, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(served.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	written = written.Add(time.Minute)
	write(2)
	if got := serial(); got != 1 {
		t.Errorf("before the minute is over: serial %d", got)
	}
	now = now.Add(recheck)
	if got := serial(); got != 2 {
		t.Errorf("after a minute: serial %d, want the renewed one", got)
	}
	save(t, files.Cert, []byte("half a file"), written.Add(time.Minute))
	now = now.Add(recheck)
	if got := serial(); got != 2 {
		t.Errorf("with a broken file: serial %d, want the last good one", got)
	}
	if !bytes.Contains(logged.Bytes(), []byte("cannot be used")) {
		t.Error("the broken file was not reported")
	}
}

func save(t *testing.T, path string, content []byte, written time.Time) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
}

// writePair writes a new certificate, good for an hour, and its key.
func writePair(t *testing.T, files config.TLS, serial int64, written time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"sts.example"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	save(t, files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), written)
	save(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), written)
}
