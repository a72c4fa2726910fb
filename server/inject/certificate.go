package inject

import (
	"crypto/tls"

	"github.com/bursar-sts/bursar/server/vault"
)

// Certificate returns the client certificate of kind mtls. The cause of an error could show some of the key, so it is
// not told.
func Certificate(v *vault.Value) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(v.Field(vault.Certificate)), []byte(v.Field(vault.PrivateKey)))
	if err != nil {
		return tls.Certificate{}, errValue()
	}
	return pair, nil
}
