package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/port/porttest"
)

func TestFrontProxiesAskAtSocketsThatGoAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "decide"), filepath.Join(dir, "grpc")}
	s := start(t, func(c *config.Config) {
		c.Shim = config.Shim{URL: "https://sts.example/shim", Decide: config.Door{Listen: "unix:" + paths[0]},
			GRPC: config.Door{Listen: "unix:" + paths[1]}}
	})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", paths[0])
		}}}
	resp, err := client.Get("http://bursar/v1/decide")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a question about nothing is answered with %d", resp.StatusCode)
	}
	c, err := net.Dial("unix", paths[1])
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	for _, plain := range []string{"/v1/decide", "/v1/decide/v1/refunds/7"} {
		resp, err := http.Get("http://" + s.Address() + plain)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered on the public listener: %d", plain, resp.StatusCode)
		}
	}
	s.stop()
	for err := range s.ended {
		if err != nil {
			t.Error(err)
		}
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestADoorOverTCPTakesNobodyWithoutACertificate(t *testing.T) {
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	porttest.WritePair(t, files, 1, time.Now())
	door := config.Door{Listen: "127.0.0.1:0", TLS: files, ClientCA: files.Cert}
	s := start(t, func(c *config.Config) {
		c.Shim = config.Shim{URL: "https://sts.example/shim", Decide: door, GRPC: door}
	})
	for _, p := range s.ports[len(s.ports)-2:] {
		pair, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		if err := greet(t, p.Listener.Addr().String(), nil); err == nil {
			t.Errorf("%s: somebody without a certificate was heard", p.Name)
		}
		if err := greet(t, p.Listener.Addr().String(), pair); err != nil {
			t.Errorf("%s: whoever has one was not heard: %v", p.Name, err)
		}
	}
	s.stop()
}

// greet returns why a TLS server does not take a caller with that certificate, nil if it does.
func greet(t *testing.T, address string, pair *tls.Certificate) error {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} // it is about the caller's certificate here
	if pair != nil {
		cfg.Certificates = []tls.Certificate{*pair}
	}
	c, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /v1/decide HTTP/1.1\r\nHost: bursar\r\n\r\n"); err != nil {
		return err
	}
	// With TLS 1.3 a server that refuses a certificate says so in place of its first answer.
	_, err = c.Read(make([]byte, 1))
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" {
		return err
	}
	return nil
}
