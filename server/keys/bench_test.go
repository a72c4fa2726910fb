package keys_test

import (
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/keys"
)

func BenchmarkSign(b *testing.B) {
	for _, alg := range []keys.Alg{keys.ES256, keys.EdDSA, keys.RS256} {
		b.Run(string(alg), func(b *testing.B) {
			signer, err := newStore(b, alg).ring().Signer(alg, start)
			if err != nil {
				b.Fatal(err)
			}
			payload := claims(start)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := signer.Sign(token.Type, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	r := newStore(b, keys.ES256).ring()
	compact, _ := sign(b, r, keys.ES256, start)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Verify(compact, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, alg := range []keys.Alg{keys.ES256, keys.RS256, keys.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			s := newStore(b, alg)
			for b.Loop() {
				s.ring()
			}
		})
	}
}
