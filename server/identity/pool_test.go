package identity_test

import (
	"testing"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
)

// TestOneIssuerTrustedByTwoTenants (T-04, T-06): each tenant has its own conditions, and what one trusts is unknown to
// another.
func TestOneIssuerTrustedByTwoTenants(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	other := w.entry
	other.Audiences, other.Condition = []string{"https://sts.example/t/other"}, "never"
	theirs := w.trust("other", other)
	stranger := w.trust("stranger")
	compact := w.mint(demoissuer.Request{})
	w.accept(compact)
	_, err := theirs.Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.audience")
	_, err = stranger.Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.issuer_unknown")
	both := w.mint(claims("aud", []string{audience, "https://sts.example/t/other"}))
	w.accept(both)
	_, err = theirs.Verify(t.Context(), both, identity.TypeJWT)
	wantReason(t, err, "token.condition")
	_, err = new(identity.Pool).Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.issuer_unknown")
	_, err = (*identity.Pool)(nil).Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.issuer_unknown")
}

// TestPoolTrustsNoEntryWithMistakes (T-02): wherever the entry came from, without an audience it trusts nobody.
func TestPoolTrustsNoEntryWithMistakes(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	compact := w.mint(demoissuer.Request{})
	good := w.entry
	twin := good
	twin.Name = "twin"
	for name, entries := range map[string][]identity.Issuer{
		"an empty list of audiences":      {changed(good, func(i *identity.Issuer) { i.Audiences = []string{} })},
		"an empty audience":               {changed(good, func(i *identity.Issuer) { i.Audiences = []string{""} })},
		"no audience":                     {changed(good, func(i *identity.Issuer) { i.Audiences = nil })},
		"a condition that is not there":   {changed(good, func(i *identity.Issuer) { i.Condition = "claims.x" })},
		"two entries for the same tokens": {good, twin},
		"a symmetric algorithm": {changed(good,
			func(i *identity.Issuer) { i.Algorithms = []string{"ES256", "HS256"} })},
	} {
		pool := w.sources.Pool("acme", loopback, entries, nil)
		for _, presented := range []string{compact, w.mint(claims("aud", nil)), w.mint(claims("aud", ""))} {
			if _, err := pool.Verify(t.Context(), presented, identity.TypeJWT); err == nil {
				t.Errorf("%s: accepted", name)
			} else if fault.As(err).Reason != "token.audience" { // which it does not even have
				wantReason(t, err, "token.issuer_unknown")
			}
		}
	}
}

func changed(i identity.Issuer, change func(*identity.Issuer)) identity.Issuer {
	change(&i)
	return i
}
