package identity_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/identity"
)

const good = `{"name":"sso","issuer":"https://sso.example","audiences":["https://sts.example/t/acme"]}`

// entry changes members of a good entry; a null removes one.
func entry(t *testing.T, changes string) identity.Issuer {
	t.Helper()
	var all map[string]json.RawMessage
	for _, text := range []string{good, changes} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range all {
		if string(value) == "null" {
			delete(all, name)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var i identity.Issuer
	if err := json.Unmarshal(text, &i); err != nil {
		t.Fatal(err)
	}
	return i
}

const ecKey = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
	`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`

// TestCheck (T-02, T-32): every mistake is told, an issuer without audiences among them, and one from which anybody can
// get a token without a condition that says whose are meant.
func TestCheck(t *testing.T) {
	for _, r := range []struct {
		name    string
		changes string
		fields  string // of the mistakes, in order
	}{
		{"the least entry", `{}`, ""},
		{"everything given", `{"kind":"oidc","jwks_uri":"https://keys.example/x?p=1","algorithms":["EdDSA","PS512"],
			"use":["subject","workload"],"replay":"once","max_lifetime":"1h","condition":"true",
			"network":{"allow_private":true}}`, ""},
		{"http on loopback", `{"issuer":"http://127.0.0.1:8082","jwks_uri":"http://localhost:8082/jwks"}`, ""},
		{"IPv6 loopback", `{"issuer":"http://[::1]:8082"}`, ""},
		{"a cluster", `{"kind":"kubernetes","issuer":"https://kubernetes.default.svc.cluster.local"}`, ""},
		{"a trust domain",
			`{"kind":"spiffe","issuer":null,"trust_domain":"prod.example","jwks_uri":"https://x.example"}`, ""},
		{"GitHub", `{"kind":"github","issuer":"https://token.actions.githubusercontent.com","condition":"x"}`, ""},
		{"inline keys", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1"}]}}`, ""},
		{"an inline bundle",
			`{"kind":"spiffe","trust_domain":"a.b","jwks":{"keys":[{` + ecKey + `,"kid":"1","use":"jwt-svid"}]}}`, ""},

		{"everything missing", `{"name":null,"issuer":null,"audiences":null}`, "name issuer audiences"},
		{"a name that is no slug", `{"name":"My SSO"}`, "name"},
		{"http", `{"issuer":"http://sso.example"}`, "issuer"},
		{"http on a host that sounds like loopback", `{"issuer":"http://127.0.0.1.evil.example"}`, "issuer"},
		{"an issuer without scheme", `{"issuer":"sso.example"}`, "issuer"},
		{"another scheme", `{"issuer":"ftp://sso.example"}`, "issuer"},
		{"a query", `{"issuer":"https://sso.example?x=1"}`, "issuer"},
		{"an empty query", `{"issuer":"https://sso.example?"}`, "issuer"},
		{"a fragment", `{"issuer":"https://sso.example#x"}`, "issuer"},
		{"a user", `{"issuer":"https://me:pw@sso.example"}`, "issuer"},
		{"an empty fragment", `{"issuer":"https://sso.example#"}`, "issuer"},
		{"an upper-case host", `{"issuer":"https://SSO.example"}`, "issuer"},
		{"a port without leading zeros alone", `{"issuer":"https://sso.example:0443"}`, "issuer"},
		{"an upper-case scheme", `{"issuer":"HTTPS://sso.example"}`, "issuer"},
		{"a space", `{"issuer":"https://sso.example/a b"}`, "issuer"},
		{"no host", `{"issuer":"https:///x"}`, "issuer"},
		{"empty audiences", `{"audiences":[]}`, "audiences"},
		{"an empty audience", `{"audiences":["a",""]}`, "audiences[1]"},
		{"an audience twice", `{"audiences":["a","a"]}`, "audiences[1]"},
		{"HS256", `{"algorithms":["HS256"]}`, "algorithms"},
		{"none", `{"algorithms":["ES256","none"]}`, "algorithms[1]"},
		{"an algorithm twice", `{"algorithms":["ES256","ES256"]}`, "algorithms[1]"},
		{"EdDSA of a trust domain",
			`{"kind":"spiffe","trust_domain":"a","jwks_uri":"https://x.example","algorithms":["EdDSA"]}`,
			"algorithms"},
		{"an unknown use", `{"use":["admin"]}`, "use"},
		{"an unknown replay", `{"replay":"twice"}`, "replay"},
		{"an unknown kind", `{"kind":"saml"}`, "kind"},
		{"accept_act of workloads", `{"accept_act":true}`, "accept_act"},
		{"no lifetime", `{"max_lifetime":"1ms"}`, "max_lifetime"},
		{"a negative lifetime", `{"max_lifetime":"-1h"}`, "max_lifetime"},
		{"a lifetime of ten years", `{"max_lifetime":"87600h"}`, "max_lifetime"},
		{"two sources", `{"jwks_uri":"https://x.example","jwks":{"keys":[{` + ecKey + `,"kid":"1"}]}}`, "jwks"},
		{"keys at a file", `{"jwks_uri":"file:///etc/keys"}`, "jwks_uri"},
		{"keys at a user's", `{"jwks_uri":"https://u@x.example"}`, "jwks_uri"},
		{"a trust domain that would be discovered", `{"kind":"spiffe","trust_domain":"a.b"}`, "jwks_uri"},
		{"no trust domain", `{"kind":"spiffe","jwks_uri":"https://x.example"}`, "trust_domain"},
		{"a trust domain with scheme",
			`{"kind":"spiffe","trust_domain":"spiffe://a.b","jwks_uri":"https://x.example"}`,
			"trust_domain"},
		{"a trust domain of another kind", `{"trust_domain":"a.b"}`, "trust_domain"},
		{"GitHub as plain OIDC", `{"issuer":"https://token.actions.githubusercontent.com","condition":"x"}`, "kind"},
		{"GitHub for everybody", `{"kind":"github","issuer":"https://token.actions.githubusercontent.com"}`,
			"condition"},
		{"Google for everybody", `{"issuer":"https://accounts.google.com"}`, "condition"},
		{"inline keys and a network", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1"}]},"network":{"allow_private":true}}`,
			"network.allow_private"},
		{"inline keys that are none", `{"jwks":{"keys":[]}}`, "jwks"},
		{"inline keys that are no set", `{"jwks":[]}`, "jwks"},
		{"an inline key without kid", `{"jwks":{"keys":[{` + ecKey + `}]}}`, "jwks.keys[0]"},
		{"two inline keys of one kid", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1"},{` + ecKey + `,"kid":"1"}]}}`,
			"jwks.keys[1]"},
		{"an inline private key", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1","d":"AAAA"}]}}`, "jwks.keys[0]"},
		{"an inline key with alg of another type", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1","alg":"RS256"}]}}`,
			"jwks.keys[0]"},
		{"an inline secret", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1"},{"kty":"oct","k":"AAAA","kid":"2"}]}}`,
			"jwks.keys[1]"},
		{"an inline key for encryption", `{"jwks":{"keys":[{` + ecKey + `,"kid":"1","use":"enc"}]}}`, "jwks.keys[0]"},
		{"everything wrong at once", `{"name":"-","issuer":"x","audiences":[],"algorithms":["none"],"use":["x"],
			"replay":"x","accept_act":true,"max_lifetime":"0.5s","kind":"x"}`,
			"name kind issuer audiences algorithms use replay accept_act max_lifetime"},
	} {
		var fields []string
		for _, mistake := range entry(t, r.changes).Check() {
			field, what, ok := strings.Cut(mistake, ": ")
			if !ok || what == "" {
				t.Errorf("%s: %q has no path", r.name, mistake)
			}
			fields = append(fields, field)
		}
		if want := strings.Fields(r.fields); !slices.Equal(fields, want) {
			t.Errorf("%s: mistakes in %q, want %q", r.name, fields, want)
		}
	}
	if len(identity.Issuer{}.Check()) == 0 {
		t.Error("the zero entry is accepted")
	}
}

func TestIssuerIsWrittenAsItIsRead(t *testing.T) {
	i := entry(t, `{"max_lifetime":"90m","use":["subject"],"network":{"allow_private":true}}`)
	text, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"sso","issuer":"https://sso.example","audiences":["https://sts.example/t/acme"],` +
		`"use":["subject"],"max_lifetime":"1h30m","network":{"allow_private":true}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if i.Uses(identity.Workload) || !i.Uses(identity.Subject) || !entry(t, `{}`).Uses(identity.Workload) {
		t.Error("use is not what was given, or its default is not workload")
	}
	for _, bad := range []string{`5`, `"5"`, `"soon"`, `{}`} {
		if err := json.Unmarshal([]byte(`{"max_lifetime":`+bad+`}`), new(identity.Issuer)); err == nil {
			t.Errorf("max_lifetime %s is read", bad)
		}
	}
	var absent identity.Issuer // as everywhere in a tenant file
	if err := json.Unmarshal([]byte(`{"max_lifetime":null}`), &absent); err != nil || absent.MaxLifetime != 0 {
		t.Errorf("max_lifetime null: %v, %v", absent.MaxLifetime, err)
	}
}

func TestSelectors(t *testing.T) {
	domain := entry(t, `{"kind":"spiffe","trust_domain":"a.b"}`)
	if got := domain.Selectors(); !slices.Equal(got, []string{"spiffe://a.b"}) {
		t.Errorf("selectors of a trust domain: %q", got)
	}
	if got := entry(t, `{}`).Selectors(); !slices.Equal(got, []string{"https://sso.example"}) {
		t.Errorf("selectors of an issuer: %q", got)
	}
}
