package inject_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

func heap() int {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// pair returns a certificate that signs itself, and its key, in PEM.
func pair(t *testing.T) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7),
		Subject:  pkix.Name{CommonName: "shim"},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		&x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "shim"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		vault.Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		vault.PrivateKey:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	}
}

// TestAClientCertificateIsShown to a server that demands it.
func TestAClientCertificateIsShown(t *testing.T) {
	fields := pair(t)
	seen := ""
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = r.TLS.PeerCertificates[0].Subject.CommonName
	}))
	block, _ := pem.Decode([]byte(fields[vault.Certificate]))
	known, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(known)
	server.StartTLS()
	defer server.Close()
	certificate, err := inject.Certificate(vault.NewValue(fields))
	if err != nil {
		t.Fatal(err)
	}
	u := upstream(t, server.URL, tools.Injection{In: "mtls"})
	target := call{method: "GET", path: "/v1/x"}.target(t, u)
	if texts, err := apply(inject.New(), target, u, fields); err != nil || len(texts) != 0 {
		t.Fatal(texts, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots,
		Certificates: []tls.Certificate{certificate}}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(target.Request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if seen != "shim" {
		t.Errorf("the server saw %q", seen)
	}
}

// TestACertificateThatIsNone says nothing of the key.
func TestACertificateThatIsNone(t *testing.T) {
	good, other := pair(t), pair(t)
	for name, fields := range map[string]map[string]string{
		"nothing":     nil,
		"no key":      {vault.Certificate: good[vault.Certificate]},
		"another key": {vault.Certificate: good[vault.Certificate], vault.PrivateKey: other[vault.PrivateKey]},
		"a broken key": {vault.Certificate: good[vault.Certificate],
			vault.PrivateKey: strings.Replace(good[vault.PrivateKey], "M", "SECRET", 1)},
	} {
		_, err := inject.Certificate(vault.NewValue(fields))
		if reason(err) != "inject.value" || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
