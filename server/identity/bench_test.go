package identity_test

import (
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/identity"
)

// BenchmarkVerify tells what a token costs: fresh ones, and one that comes again.
func BenchmarkVerify(b *testing.B) {
	now := time.Now()
	issuer, err := demoissuer.New(demoissuer.Config{URL: "https://sso.example", Audience: audience,
		Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	jwks, err := issuer.JWKS()
	if err != nil {
		b.Fatal(err)
	}
	sources := identity.NewSources(identity.Config{Now: func() time.Time { return now }})
	defer sources.Close()
	entry := identity.Issuer{Name: "sso", Issuer: "https://sso.example", Audiences: []string{audience}, JWKS: jwks}
	pool := sources.Pool("acme", nil, []identity.Issuer{entry}, nil)
	for name, tokens := range map[string]int{"fresh": 20_000, "again": 1} {
		b.Run(name, func(b *testing.B) {
			all := make([]string, min(tokens, b.N))
			for i := range all {
				if all[i], err = issuer.Mint(demoissuer.Request{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, err := pool.Verify(b.Context(), all[i%len(all)], identity.TypeJWT); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
