package identity_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
)

func TestATokenThatComesAgainIsKnown(t *testing.T) {
	w := newWorld(t, identity.SPIFFE) // whose agents serve one SVID many times
	compact := w.mint(demoissuer.Request{})
	first := w.accept(compact)
	second := w.accept(compact)
	if !w.again(second) {
		t.Error("the second was verified anew")
	}
	if second.Subject != first.Subject || second.Hash != first.Hash || second.ID != first.ID ||
		!second.Expiry.Equal(first.Expiry) {
		t.Errorf("first %+v, second %+v", first, second)
	}
	w.clock.advance(time.Minute)
	if third := w.accept(compact); w.again(third) || third.ID != first.ID {
		t.Errorf("a verification is remembered for more than a minute, or under another name: %+v", third)
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
		"token.lifetime":  func(i *identity.Issuer) { i.MaxLifetime = scopes.Duration(10 * time.Second) },
		"token.condition": func(i *identity.Issuer) { i.Condition = "never" },
	} {
		_, err := w.trust("acme", changed(w.entry, change)).Verify(t.Context(), compact, identity.TypeJWT)
		wantReason(t, err, reason)
	}
	if !w.again(w.accept(compact)) {
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

// Tokens of the same issuer differ by a few bytes in size; budget is a memory of so many of them.
func (w *world) budget(tokens int) identity.Config {
	return identity.Config{MaxRemembered: (tokens + 1) * len(w.mint(demoissuer.Request{}))}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.restart(w.budget(32))
	var all []string
	for i := range 20 {
		all = append(all, w.mint(claims("n", i)))
		w.accept(all[i])
	}
	reused := 0
	for _, compact := range slices.Backward(all) {
		if !w.again(w.accept(compact)) {
			break
		}
		reused++
	}
	if reused < 4 || reused > 8 {
		t.Errorf("the last %d tokens are remembered, where a tenant may have a quarter of 32", reused)
	}
}

func TestATokenOfManyValuesCountsForMore(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	crowd := make([]map[string]int, 1500)
	for i := range crowd {
		crowd[i] = map[string]int{"": 0}
	}
	size := len(w.mint(claims("crowd", crowd)))
	w.restart(identity.Config{MaxRemembered: 8 * 6 * size}) // room for 6 and 6 of its length
	var all []string
	for i := range 6 {
		all = append(all, w.mint(claims("crowd", crowd, "n", i)))
		w.accept(all[i])
	}
	reused := 0
	for _, compact := range all {
		if w.again(w.accept(compact)) {
			reused++
		}
	}
	if reused > 2 {
		t.Errorf("%d tokens of 3,000 values each are remembered", reused)
	}
}

func TestAllTenantsTogetherAreBounded(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.restart(w.budget(32))
	compact := w.mint(demoissuer.Request{})
	verify := func(tenant string) bool {
		p, err := w.trust(ledger.Tenant(tenant), w.entry).Verify(t.Context(), compact, identity.TypeJWT)
		if err != nil {
			t.Fatal(err)
		}
		return p.Traded.Swap(true)
	}
	verify("first")
	for i := range 12 {
		verify(fmt.Sprint(i))
	}
	if !verify("first") {
		t.Error("13 tokens of 13 tenants are not remembered, where 32 may be")
	}
	for i := range 40 {
		verify(fmt.Sprint("more", i))
	}
	if verify("first") {
		t.Error("the first of 53 tokens is still remembered, where 32 may be")
	}
}

func TestATenantMakesOnlyItsOwnTokensBeForgotten(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.restart(w.budget(32))
	quiet := w.mint(demoissuer.Request{})
	w.accept(quiet)
	loud := w.trust("loud", w.entry)
	for i := range 100 {
		if _, err := loud.Verify(t.Context(), w.mint(claims("n", i)), identity.TypeJWT); err != nil {
			t.Fatal(err)
		}
	}
	if !w.again(w.accept(quiet)) {
		t.Error("100 tokens of one tenant made another's be forgotten")
	}
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	ahead := w.mint(claims("nbf", w.clock.Now().Add(90*time.Second).Unix()))
	w.refuse(ahead, "token.not_yet_valid")
	w.clock.advance(30 * time.Second)
	if w.again(w.accept(ahead)) {
		t.Error("a token that was refused counts as used")
	}
}
