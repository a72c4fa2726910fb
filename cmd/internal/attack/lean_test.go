package attack_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack"
	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// leanProfile has one token that a command prints, and nothing else.
const leanProfile = `
client: {id: client, auth: basic, secret: right-secret-0}
subject: {type: jwt, command: [cat, subject.jwt]}
request: {resource: https://tools.example/api, scope: read}
`

// lean is a victim, and the profile of somebody who has one token of its issuer.
func lean(t *testing.T, alg string, defects ...string) (*victim, *attack.Profile) {
	t.Helper()
	key, err := forge.NewKeyFor(alg, "issuer")
	if err != nil {
		t.Fatal(err)
	}
	v := newVictim(t, key, defects...)
	now := time.Now().Unix()
	claims := map[string]any{"iss": trusted, "sub": "user", "aud": v.URL, "iat": now, "exp": now + 600}
	dir := t.TempDir()
	compact := key.Sign(forge.Text(forge.With(key.Head(), map[string]any{"typ": "JWT"})), forge.Text(claims))
	if err := os.WriteFile(filepath.Join(dir, "subject.jwt"), []byte(compact), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := attack.ReadProfile(filepath.Join(dir, "profile.yaml"), []byte(leanProfile), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return v, p
}

// TestOneTokenIsEnough attacks with a token whose issuer's keys nobody knows: what needs them is skipped, and nothing
// breaks down. The signature of RS256 is longer than the rest of such a token.
func TestOneTokenIsEnough(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256"} {
		v, p := lean(t, alg)
		r, err := attack.Run(t.Context(), attack.Config{URL: v.URL, Profile: p, Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range r.Results {
			if result.Verdict == findings.Fail || result.Verdict == findings.Error {
				t.Errorf("%s: %s: %s: %s", alg, result.ID, result.Verdict, result.Reason)
			}
		}
		i := slices.IndexFunc(r.Results, func(one findings.Result) bool { return one.ID == "subject.hs256" })
		if got := r.Results[i]; got.Verdict != findings.Skip {
			t.Errorf("%s: %s: %s, want it skipped", alg, got.ID, got.Verdict)
		}
	}
}

// TestAnUnknownIssuerIsNotHeldAgainstTheServer attacks a token endpoint, of whose issuer nobody says a word, and then
// lets the profile say a wrong one.
func TestAnUnknownIssuerIsNotHeldAgainstTheServer(t *testing.T) {
	for issuer, want := range map[string]findings.Verdict{"": findings.Pass, "https://other.example": findings.Fail} {
		v, p := lean(t, "ES256")
		p.Server.Issuer = issuer
		r, err := attack.Run(t.Context(), attack.Config{URL: v.URL + "/token", Profile: p, Only: []string{"token.claims"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Results[0]; got.Verdict != want {
			t.Errorf("the profile's issuer is %q: %s: %s, want %s", issuer, got.Verdict, got.Reason, want)
		}
	}
}
