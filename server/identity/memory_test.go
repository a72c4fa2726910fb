package identity_test

import (
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/identity"
)

func TestATokenThatComesAgainIsReported(t *testing.T) {
	w := newWorld(t, identity.SPIFFE) // whose agents serve one SVID many times
	compact := w.mint(demoissuer.Request{})
	first := w.accept(compact)
	second := w.accept(compact)
	if first.Reused || !second.Reused {
		t.Errorf("first reused %v, second %v", first.Reused, second.Reused)
	}
	if second.Reused = false; second.Subject != first.Subject || second.Hash != first.Hash ||
		!second.Expiry.Equal(first.Expiry) {
		t.Errorf("first %+v, second %+v", first, second)
	}
	w.clock.advance(time.Minute)
	if w.accept(compact).Reused {
		t.Error("a verification is remembered for more than a minute")
	}
}

func TestRememberedTokensEndWithWhatTheyRestedOn(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	compact := w.mint(demoissuer.Request{Lifetime: "30s"})
	w.accept(compact)
	_, err := w.trust("acme").Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.issuer_unknown")
	_, err = w.trust("other").Verify(t.Context(), compact, identity.TypeJWT)
	wantReason(t, err, "token.issuer_unknown")
	for reason, change := range map[string]func(*identity.Issuer){
		"token.audience":  func(i *identity.Issuer) { i.Audiences = []string{"https://other.example"} },
		"token.algorithm": func(i *identity.Issuer) { i.Algorithms = []string{"RS256"} },
		"token.lifetime":  func(i *identity.Issuer) { i.MaxLifetime = identity.Duration(10 * time.Second) },
		"token.condition": func(i *identity.Issuer) { i.Condition = "never" },
	} {
		_, err := w.trust("acme", changed(w.entry, change)).Verify(t.Context(), compact, identity.TypeJWT)
		wantReason(t, err, reason)
	}
	if !w.accept(compact).Reused {
		t.Error("a change that was undone forgets")
	}
	if _, err := w.pool.Verify(t.Context(), compact, identity.TypeIDToken); err != nil {
		t.Error(err)
	}
	access := w.mint(header("typ", "at+jwt"))
	w.accept(access)
	_, err = w.pool.Verify(t.Context(), access, identity.TypeIDToken)
	wantReason(t, err, "token.type")
	w.clock.advance(30 * time.Second)
	w.refuse(compact, "token.expired")
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.restart(identity.Config{MaxRemembered: 10})
	first := w.mint(demoissuer.Request{})
	w.accept(first)
	for i := range 10 {
		w.accept(w.mint(claims("n", i)))
	}
	if w.accept(first).Reused {
		t.Error("the first of eleven tokens is still remembered where ten may be")
	}
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	ahead := w.mint(claims("nbf", w.clock.Now().Add(90*time.Second).Unix()))
	w.refuse(ahead, "token.not_yet_valid")
	w.clock.advance(30 * time.Second)
	if w.accept(ahead).Reused {
		t.Error("a token that was refused counts as used")
	}
}
