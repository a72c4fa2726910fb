package attack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/attack"
	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// profile is how the victim is asked.
const profile = `
client: {id: client, ${AUTH}}
subject: &user
  type: jwt
  once: ${ONCE}
  issuer: {iss: https://issuer.example, key_file: issuer.jwk, audience: "${URL}", claims: {sub: user}}
request: {resource: https://tools.example/api, scope: read write}
try: {narrower_scope: read, denied_scope: admin, denied_resource: https://tools.example/vault, flood: ${FLOOD},
  foreign_scope: vault.read, same_audience: https://tools.example/api}
delegation:
  subject: *user
  actor:
    type: jwt
    issuer: {iss: https://issuer.example, key_file: issuer.jwk, audience: "${URL}", claims: {sub: agent}}
  may_act: {sub: agent}
  other_actor:
    type: jwt
    issuer: {iss: https://issuer.example, key_file: issuer.jwk, audience: "${URL}", claims: {sub: another}}
others:
  client: {id: other, auth: basic, secret: other-secret-0}
  resource_server: &reader {id: reader, auth: basic, secret: reader-secret-0}
  ungranted_client: *reader
  disabled_client: {id: disabled, auth: basic, secret: disabled-secret-0}
  foreign_client: &foreign {id: foreign, auth: basic, secret: foreign-secret-0}
refused:
  unknown_subject:
    type: jwt
    issuer: &named {iss: https://issuer.example, key_file: issuer.jwk, audience: "${URL}", claims: {sub: nobody}}
  disabled_subject: {type: jwt, issuer: {<<: *named, claims: {sub: banned}}}
  another_subject: {type: jwt, issuer: {<<: *named, claims: {sub: stranger}}}
  unfit_token: {type: jwt, issuer: {<<: *named, claims: {sub: user, verified: false}}}
  unfit_key: {type: jwt, issuer: {<<: *named, kid: encryption, claims: {sub: user}}}
  shared_token:
    type: jwt
    issuer: {<<: *named, iss: https://mesh.example, claims: {sub: user, aud: ["${URL}", https://other.example]}}
  disabled_issuer: {type: jwt, issuer: {<<: *named, iss: https://dropped.example, claims: {sub: user}}}
  other_tenants_issuer: {type: jwt, issuer: {<<: *named, iss: https://elsewhere.example, claims: {sub: user}}}
  other_tenants_token:
    type: access_token
    request: {grant_type: client_credentials}
    client: *foreign
    token_endpoint: "${URL}/elsewhere/token"
`

const (
	bySecret    = "auth: basic, secret_env: SECRET"
	byAssertion = "auth: private_key_jwt, key_file: issuer.jwk"
)

// attackOn attacks a victim with some defects.
func attackOn(t *testing.T, auth string, only []string, defects ...string) *findings.Report {
	t.Helper()
	text, err := os.ReadFile("testdata/issuer.jwk")
	if err != nil {
		t.Fatal(err)
	}
	key, err := forge.ReadKey(text, "", "")
	if err != nil {
		t.Fatal(err)
	}
	v := newVictim(t, key, defects...)
	flood := "0"
	if slices.Contains(only, "client.flood") {
		flood = "5"
	}
	env := func(name string) string {
		return map[string]string{"URL": v.URL, "SECRET": secrets["client"], "AUTH": auth,
			"ONCE": fmt.Sprint(v.has("good once")), "FLOOD": flood}[name]
	}
	p, err := attack.ReadProfile(filepath.Join("testdata", "profile.yaml"), []byte(profile), env)
	if err != nil {
		t.Fatalf("%v: %q", err, err.(*attack.Mistakes).List)
	}
	r, err := attack.Run(t.Context(), attack.Config{URL: v.URL, Profile: p, Strict: true, Env: env, Only: only})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// failed are the checks that did not pass, but for those that did not run.
func failed(r *findings.Report) (ids []string) {
	for _, result := range r.Results {
		if result.Verdict == findings.Fail || result.Verdict == findings.Error {
			ids = append(ids, result.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestASoundServerIsClean shows that a server can do what the checks want, and that every check runs.
func TestASoundServerIsClean(t *testing.T) {
	ran := map[string]bool{"client.flood": true} // TestSlowingDownIsNoticed
	for _, auth := range []string{bySecret, byAssertion} {
		for _, defects := range [][]string{nil, {"good once"}} {
			for _, result := range attackOn(t, auth, nil, defects...).Results {
				switch result.Verdict {
				case findings.Fail, findings.Error:
					t.Errorf("%s: %s: %s\n%+v", result.ID, result.Verdict, result.Reason, result.Tries)
				case findings.Pass:
					ran[result.ID] = true
				}
			}
		}
	}
	for _, c := range attack.Checks() {
		if !ran[c.ID] {
			t.Errorf("%s was not run", c.ID)
		}
	}
}

// TestEveryDefectIsFound breaks the sound server in one way at a time: exactly the checks that are about it fail, of
// those that run. These are the ones about it, and some others: a quarter of all, another one for each defect, in the
// long form.
func TestEveryDefectIsFound(t *testing.T) {
	hit := map[string]bool{}
	for _, table := range []struct {
		auth    string
		defects map[string]string
		beside  []string
	}{
		{bySecret, defects, []string{"target.*", "client.*", "subject.signature", "subject.decorated"}},
		{byAssertion, assertionDefects, []string{"assertion.*"}},
	} {
		for defect, ids := range table.defects {
			want := strings.Fields(ids)
			slices.Sort(want)
			for _, id := range want {
				hit[id] = true
			}
			only := slices.Concat(want, table.beside)
			if os.Getenv("BURSAR_TEST") == "full" && table.auth == bySecret {
				for i, c := range attack.Checks() {
					if (i+len(defect))%4 == 0 && c.ID != "client.flood" { // which would guess only if it is asked for
						only = append(only, c.ID)
					}
				}
			}
			t.Run(defect, func(t *testing.T) {
				t.Parallel()
				if got := failed(attackOn(t, table.auth, only, strings.Split(defect, " + ")...)); !slices.Equal(got, want) {
					t.Errorf("failed: %s\nwant:   %s", strings.Join(got, " "), strings.Join(want, " "))
				}
			})
		}
	}
	for _, c := range attack.Checks() {
		if _, other := elsewhere[c.ID]; !other && !hit[c.ID] {
			t.Errorf("no defect shows that %s can fail", c.ID)
		}
	}
}
