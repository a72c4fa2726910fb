package e2e_test

import (
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
