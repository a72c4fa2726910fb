package forge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/url"
	"time"
)

// CertificateHeaders are the headers by which proxies tell of a client's certificate, with one that nobody vouches for.
func CertificateHeaders(name string) map[string]string {
	der := selfSigned(name)
	text := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return map[string]string{
		"Client-Cert":             ":" + base64.StdEncoding.EncodeToString(der) + ":", // RFC 9440 §2.1
		"X-Forwarded-Client-Cert": `Subject="CN=` + name + `";Cert="` + text + `"`,
		"X-SSL-Client-Cert":       text,
	}
}

// selfSigned returns a certificate for a name, by a key of its own.
func selfSigned(name string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // package rand does not fail
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err) // every name that YAML can say can be written
	}
	return der
}
