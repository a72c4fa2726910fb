package strict

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS names a certificate.
type TLS struct {
	// The file of the certificate and its chain, PEM.
	Cert string `yaml:"cert"`
	// The file of its private key, PEM; only its owner may be able to read it.
	Key string `yaml:"key"`
}

// Load reads the certificate and its key.
func (t TLS) Load() (*tls.Certificate, error) {
	cert, err := os.ReadFile(t.Cert)
	if err != nil {
		return nil, err
	}
	key, err := ReadPrivate(t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate and its key cannot be used: %w", err)
	}
	return &pair, nil
}

// Roots reads the certificates of a PEM file, which are whom others are trusted by.
func Roots(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return roots, nil
}
