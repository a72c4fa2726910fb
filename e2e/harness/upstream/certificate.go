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
	authority := NewAuthority(t)
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
		signer = NewAuthority(t)
	}
	name(leaf, hosts)
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
	return config, authority.PEM
}

// Authority signs certificates. Those of the zero Authority sign themselves.
type Authority struct {
	PEM string // its own certificate

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: now.Add(-72 * time.Hour), NotAfter: now.Add(72 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{key: newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.PEM = inPEM("CERTIFICATE", der)
	return a
}

// Issue makes a certificate for names or addresses, of a server or of a client, with its key; both PEM.
func (a *Authority) Issue(t testing.TB, hosts ...string) (certificate, key string) {
	t.Helper()
	own := newKey(t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	name(leaf, hosts)
	signed, signer := a.certificate, a.key
	if signer == nil {
		signed, signer = leaf, own
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, signed, own.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", private)
}

// ClientPEM makes a certificate for a client that signs itself, with its key; both PEM.
func ClientPEM(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	return (&Authority{}).Issue(t, name)
}

func name(leaf *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
