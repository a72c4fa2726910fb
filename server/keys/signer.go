package keys

import (
	"crypto"
	"errors"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// Signer signs with one key. It is safe for concurrent use; the zero Signer refuses.
type Signer struct {
	KeyID string

	alg     Alg
	private crypto.Signer
	byType  sync.Map // typ → jose.Signer; typ is one of the program's own few
}

// Sign returns payload as a compact JWS (RFC 7515 §7.1) whose header holds alg, kid and the given typ. typ is
// required: each class of JWT has its own (RFC 8725 §3.11).
func (s *Signer) Sign(typ string, payload []byte) (compact string, err error) {
	if s.private == nil || typ == "" {
		return "", errors.New("sign: a key and a typ are needed")
	}
	signer, err := s.forType(typ)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return jws.CompactSerialize()
}

func (s *Signer) forType(typ string) (jose.Signer, error) {
	if signer, ok := s.byType.Load(typ); ok {
		return signer.(jose.Signer), nil
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(s.alg),
		Key:       jose.JSONWebKey{Key: s.private, KeyID: s.KeyID},
	}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return nil, err
	}
	s.byType.Store(typ, signer)
	return signer, nil
}
