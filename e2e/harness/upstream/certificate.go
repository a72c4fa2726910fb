package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Cert is what is wrong with a certificate.
type Cert string

// The certificates.
const (
	CertGood       Cert = ""
	CertWrongName  Cert = "wrong name"
	CertExpired    Cert = "expired"
	CertNotYet     Cert = "not yet valid"
	CertSelfSigned Cert = "self-signed"
	CertUnknownCA  Cert = "signed by somebody else"
)

// Certs returns them all.
func Certs() []Cert {
	return []Cert{CertGood, CertWrongName, CertExpired, CertNotYet, CertSelfSigned, CertUnknownCA}
}

// certify returns what an upstream listens with, and the PEM of the authority that a client is told to trust.
func certify(t testing.TB, o Options) (config *tls.Config, ca string) {
	t.Helper()
	authority := newAuthority(t)
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "legacy API"},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	hosts := o.Hosts
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	signer := authority
	switch o.Cert {
	case CertWrongName:
		hosts = []string{"other.example"}
	case CertExpired:
		leaf.NotAfter = now.Add(-time.Hour)
	case CertNotYet:
		leaf.NotBefore = now.Add(time.Hour)
	case CertUnknownCA:
		signer = newAuthority(t)
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	own := newKey(t)
	var der []byte
	var err error
	if o.Cert == CertSelfSigned {
		der, err = x509.CreateCertificate(rand.Reader, leaf, leaf, own.Public(), own)
	} else {
		der, err = x509.CreateCertificate(rand.Reader, leaf, signer.certificate, own.Public(), signer.key)
	}
	if err != nil {
		t.Fatal(err)
	}
	config = &tls.Config{NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: own}}}
	if o.Client {
		config.ClientAuth = tls.RequireAnyClientCert
	}
	return config, authority.pem()
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: now.Add(-72 * time.Hour), NotAfter: now.Add(72 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := authority{key: newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// ClientPEM makes a certificate for a client, with its key, both PEM.
func ClientPEM(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	own := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
