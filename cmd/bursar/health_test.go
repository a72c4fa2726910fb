package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The health of a configured server is asked on this machine, under the server's own name.
func TestHealthOfAConfiguration(t *testing.T) {
	dir := t.TempDir()
	ready := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
		}
	})
	plain, secure := httptest.NewServer(ready), httptest.NewUnstartedServer(ready)
	defer plain.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	secure.StartTLS()
	defer secure.Close()
	// The certificate of httptest is of nobody that the system trusts, and good for example.com.
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	save(t, filepath.Join(dir, "tls.crt"), string(cert))
	own := "{cert: tls.crt, key: tls.key}"
	for name, row := range map[string]struct {
		base, listen, tls string
		code              int
	}{
		"a server behind a proxy": {"https://sts.example", plain.Listener.Addr().String(), "{}", exitDone},
		"a server with TLS":       {"https://example.com", secure.Listener.Addr().String(), own, exitDone},
		"on every interface":      {"https://example.com:8443", ":" + portOf(t, secure), own, exitDone},
		"on every IPv4 interface": {"https://example.com", "0.0.0.0:" + portOf(t, secure), own, exitDone},
		"under another name":      {"https://sts.example", secure.Listener.Addr().String(), own, exitUnknown},
		"with TLS where none is":  {"https://example.com", plain.Listener.Addr().String(), own, exitUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bursar.yaml")
			files := strings.ReplaceAll(row.tls, "tls.", dir+"/tls.")
			save(t, path, fmt.Sprintf("base_url: %s\nlisten: %q\ntls: %s\nstore: bolt:bursar.db\n"+
				"master_key: file:master.key\nadmin: {token_file: admin.token}\n", row.base, row.listen, files))
			var out, errs bytes.Buffer
			p := &program{out: &out, err: &errs, env: func(string) string { return "" }}
			if code := p.run(t.Context(), []string{"health", "--config", path}); code != row.code {
				t.Errorf("exit code %d: %s%s", code, &out, &errs)
			}
		})
	}
}

func portOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func save(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
