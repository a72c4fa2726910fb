package port

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/port/porttest"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

// A certificate that is renewed on disk is served within a minute; one that is broken leaves the last good one in
// place.
func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	files := strict.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	written := time.Now().Add(-time.Hour)
	write := func(serial int64) { porttest.WritePair(t, files, serial, written) }
	write(1)
	first, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var logged bytes.Buffer
	c := NewCertificate(files, first, slog.New(slog.NewTextHandler(&logged, nil)), func() time.Time { return now })
	if got := time.Until(c.Expiry()).Round(time.Hour); got != time.Hour {
		t.Errorf("the certificate expires in %s", got)
	}
	serial := func() int64 {
		served, err := c.Get(nil)
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
	porttest.Save(t, files.Cert, []byte("half a file"), written.Add(time.Minute))
	now = now.Add(recheck)
	if got := serial(); got != 2 {
		t.Errorf("with a broken file: serial %d, want the last good one", got)
	}
	if !bytes.Contains(logged.Bytes(), []byte("cannot be used")) {
		t.Error("the broken file was not reported")
	}
}
