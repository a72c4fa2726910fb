package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// Each kind of issuer is a process of its own; its tokens are exchanged before and after it rotates its keys.
func TestATokenOfEachKindIsExchangedAcrossAKeyRotation(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, row := range []struct {
			kind   string
			issuer *harness.Issuer
			mint   harness.Mint
		}{
			{"kubernetes", w.cluster, harness.Mint{}},
			{"spiffe", w.mesh, harness.Mint{}},
			{"github", w.hub, harness.Mint{}},
			{"oidc", w.corp, harness.Mint{Claims: map[string]any{"sub": "ap-bot"}}},
		} {
			t.Run(row.kind, func(t *testing.T) {
				old := row.issuer.Mint(t, row.mint)
				exchanged(t, w, old)
				row.issuer.Rotate(t)
				fresh := row.issuer.Mint(t, row.mint)
				if harness.Header(t, old)["kid"] == harness.Header(t, fresh)["kid"] {
					t.Fatal("the issuer did not rotate its key")
				}
				exchanged(t, w, fresh)
				exchanged(t, w, row.issuer.Mint(t, row.mint))
			})
		}
	})
}

// exchanged fails the test unless the workload token gets an access token that says what it must.
func exchanged(t *testing.T, w *world, workload string) {
	t.Helper()
	a := w.acme().Exchange(t, harness.Form(workload, payments, readRefunds))
	if a.Status != http.StatusOK {
		t.Fatalf("status %d %s", a.Status, a.Body)
	}
	claims := harness.Claims(t, a.Token())
	for name, want := range map[string]any{
		"iss": w.Issuer("acme"), "sub": "client:ap-bot", "client_id": "ap-bot", "aud": payments, "scope": readRefunds,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if _, delegated := claims["act"]; delegated {
		t.Error("an agent that acts as itself has no actor")
	}
	if typ := harness.Header(t, a.Token())["typ"]; typ != "at+jwt" {
		t.Errorf("typ is %v", typ)
	}
	if a.Text("token_type") != "Bearer" || a.Text("scope") != readRefunds || a.JSON["expires_in"] != 300.0 {
		t.Errorf("response %s", a.Body)
	}
}

// However many tokens name keys that their issuer does not publish, it is asked for its keys once more and not again.
func TestAStormOfUnknownKeys(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		good := w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "ap-bot"}})
		w.acme().MustExchange(t, harness.Form(good, payments, readRefunds))
		tokens := make([]string, 100)
		for i := range tokens {
			tokens[i] = w.corp.Mint(t, harness.Mint{Header: map[string]any{"kid": fmt.Sprintf("unknown-%d", i)}})
		}
		before := w.corp.Fetches(t)
		all(len(tokens), func(i int) {
			a, err := w.acme().Send(t.Context(), "token", harness.Form(tokens[i], payments, readRefunds))
			if err != nil || a.Status != http.StatusBadRequest {
				t.Errorf("%v %+v", err, a)
			}
		})
		if n := w.corp.Fetches(t) - before; n > 1 {
			t.Errorf("the keys were fetched %d times", n)
		}
	})
}
