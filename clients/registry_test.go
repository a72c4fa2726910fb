package clients_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/go-jose/go-jose/v4"
)

// entry reads one entry of a tenant file.
func entry(t *testing.T, text string) clients.Client {
	t.Helper()
	var c clients.Client
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

const bound = `"identities":[{"issuer":"prod","subject":"bot"}]`

func keyed(jwks string) string {
	return `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt","jwks":` + jwks + `}}`
}

// TestMistakesOfAClient (T-32): an identity says whose tokens it means.
func TestMistakesOfAClient(t *testing.T) {
	es256 := keys()["es256"].public()
	changed := func(change func(*jose.JSONWebKey)) string {
		key := es256
		change(&key)
		return keyed(`{"keys":[` + string(mustJSON(key)) + `]}`)
	}
	member := func(more string) string {
		text := string(mustJSON(es256))
		return keyed(`{"keys":[` + text[:len(text)-1] + `,` + more + `}]}`)
	}
	rows := []struct {
		name, give string
		want       []string // the beginning of each mistake
	}{
		{"an agent with an identity", `{"id":"bot","kind":"agent",` + bound + `}`, nil},
		{"an agent with a key", keyed(string(jwks("es256", "rs256", "eddsa", "es384"))), nil},
		{"an agent that publishes its keys",
			`{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt","jwks_uri":"https://bot.example/jwks.json",
			"network":{"allow_private":true}}}`, nil},
		{"a resource server with a secret",
			`{"id":"api","kind":"resource_server","tools":["api"],"auth":{"method":"client_secret_basic"}}`, nil},
		{"a key with use and key_ops", member(`"use":"sig","key_ops":["verify"]`), nil},

		{"nothing", `{}`, []string{"id: ", "kind: ", "identities: "}},
		{"an id that is no slug", `{"id":"Bot","kind":"agent",` + bound + `}`, []string{"id: "}},
		{"an unknown kind", `{"id":"bot","kind":"robot",` + bound + `}`, []string{"kind: "}},
		{"an unknown method", `{"id":"bot","kind":"agent",` + bound + `,"auth":{"method":"none"}}`,
			[]string{"auth.method: "}},
		{"an agent that nobody can be", `{"id":"bot","kind":"agent"}`, []string{"identities: "}},
		{"a resource server that nobody can be", `{"id":"api","kind":"resource_server","tools":["api"]}`,
			[]string{"identities: "}},
		{"a resource server without tools", `{"id":"api","kind":"resource_server",` + bound + `}`, []string{"tools: "}},
		{"an agent with tools", `{"id":"bot","kind":"agent","tools":["api"],` + bound + `}`, []string{"tools: "}},
		{"a tool twice, and one that is no slug",
			`{"id":"api","kind":"resource_server","tools":["api","api","A"],` + bound + `}`,
			[]string{"tools[1]: ", "tools[2]: "}},
		{"an identity without a subject, one with both, one twice, one with line breaks",
			`{"id":"bot","kind":"agent","identities":[{"issuer":"prod"},{"issuer":"prod","subject":"a","subject_glob":"b"},
			{"issuer":"prod","subject":"c"},{"issuer":"prod","subject":"c"},{"issuer":"https://x","subject":"a\nb"}]}`,
			[]string{"identities[0].subject: ", "identities[1].subject_glob: ", "identities[3]: ", "identities[4].issuer: ",
				"identities[4].subject: "}},
		{"a subject that is too long",
			`{"id":"bot","kind":"agent","identities":[{"issuer":"prod","subject":"` + strings.Repeat("s", 2049) + `"}]}`,
			[]string{"identities[0].subject: "}},

		{"private_key_jwt without keys", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt"}}`,
			[]string{"auth.jwks: "}},
		{"private_key_jwt with both kinds of keys", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt",
			"jwks":{"keys":[]},"jwks_uri":"https://bot.example"}}`, []string{"auth.jwks_uri: "}},
		{"keys for other methods", `{"id":"bot","kind":"agent",` + bound + `,"auth":{"jwks":{},
			"jwks_uri":"https://bot.example",
			"network":{"allow_private":true}}}`, []string{"auth.jwks: ", "auth.jwks_uri: ", "auth.network: "}},
		{"plain http", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt","jwks_uri":"http://bot.example"}}`,
			[]string{"auth.jwks_uri: "}},
		{"a relative URI", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt","jwks_uri":"/jwks.json"}}`,
			[]string{"auth.jwks_uri: "}},
		{"an empty fragment in the URI", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt",
			"jwks_uri":"https://bot.example/jwks.json#"}}`, []string{"auth.jwks_uri: "}},
		{"a password in the URI", `{"id":"bot","kind":"agent","auth":{"method":"private_key_jwt",
			"jwks_uri":"https://a:b@bot.example"}}`, []string{"auth.jwks_uri: "}},

		{"no set", keyed(`[]`), []string{"auth.jwks: "}},
		{"a null set", keyed(`null`), []string{"auth.jwks: "}},
		{"an empty set", keyed(`{"keys":[]}`), []string{"auth.jwks.keys: "}},
		{"a member twice", keyed(`{"keys":[],"keys":[]}`), []string{"auth.jwks: "}},
		{"17 keys", keyed(`{"keys":[` + strings.Repeat(`{},`, 16) + `{}]}`), []string{"auth.jwks.keys: "}},
		{"no keys but strings", keyed(`{"keys":["a"]}`), []string{"auth.jwks.keys[0]: "}},
		{"a kid twice", keyed(string(jwks("es256", "rs256", "rs256"))), []string{"auth.jwks.keys[2]: "}},
		{"no kid", changed(func(k *jose.JSONWebKey) { k.KeyID = "" }), []string{"auth.jwks.keys[0]: "}},
		{"a kid of 257 bytes", changed(func(k *jose.JSONWebKey) { k.KeyID = strings.Repeat("k", 257) }),
			[]string{"auth.jwks.keys[0]: "}},
		{"a private key", changed(func(k *jose.JSONWebKey) { k.Key = keys()["es256"].key }),
			[]string{"auth.jwks.keys[0]: holds a private"}},
		{"a symmetric key", changed(func(k *jose.JSONWebKey) { k.Key = []byte("0123456789abcdef0123456789abcdef") }),
			[]string{"auth.jwks.keys[0]: holds a private"}},
		{"a key for encryption", changed(func(k *jose.JSONWebKey) { k.Use = "enc" }), []string{"auth.jwks.keys[0]: "}},
		{"a key for signing only", member(`"key_ops":["sign"]`), []string{"auth.jwks.keys[0]: "}},
		{"a key with another type's alg", changed(func(k *jose.JSONWebKey) { k.Algorithm = "RS256" }),
			[]string{"auth.jwks.keys[0]: "}},
		{"a key with a symmetric alg", changed(func(k *jose.JSONWebKey) { k.Algorithm = "HS256" }),
			[]string{"auth.jwks.keys[0]: "}},
		{"an RSA key of 1024 bits", keyed(`{"keys":[{"kty":"RSA","kid":"r","e":"AQAB","n":"` + encode(append([]byte{0xff},
			make([]byte, 127)...)) + `"}]}`), []string{"auth.jwks.keys[0]: "}},
		{"an RSA key of 8192 bits", keyed(`{"keys":[{"kty":"RSA","kid":"r","e":"AQAB","n":"` + encode(append([]byte{0xff},
			make([]byte, 1023)...)) + `"}]}`),
			[]string{"auth.jwks.keys[0]: is not a public JSON Web Key of P-256, P-384, P-521, Ed25519, or RSA of 2048 to 4096"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := entry(t, row.give)
			got := c.Check()
			if !slices.EqualFunc(got, row.want, strings.HasPrefix) {
				t.Errorf("mistakes %q, want %q", got, row.want)
			}
			_, mistakes := clients.NewRegistry(config(entry(t, `{"id":"first","kind":"agent",
				"identities":[{"issuer":"other","subject":"x"}]}`), c))
			for _, m := range got {
				if !slices.Contains(mistakes, "clients[1]."+m) {
					t.Errorf("the registry does not report %q: %q", m, mistakes)
				}
			}
		})
	}
}

func TestMistakesBetweenClients(t *testing.T) {
	_, hash := clients.NewSecret(now)
	damaged := hash
	damaged.Hash = hash.Hash[1:]
	c := config(
		entry(t, `{"id":"a","kind":"agent","identities":[{"issuer":"prod","subject":"x"},{"issuer":"prod","subject":"y"}]}`),
		entry(t, `{"id":"a","kind":"agent","identities":[{"issuer":"prod","subject":"z"}]}`),
		entry(t, `{"id":"b","kind":"agent","identities":[{"issuer":"prod","subject":"x"},{"issuer":"other","subject":"x"},
			{"issuer":"prod","subject":"y","condition":"claims.v == 1"}]}`),
		entry(t, `{"id":"c","kind":"agent","identities":[{"issuer":"prod","subject":"v","condition":"claims."},
			{"issuer":"prod","subject_glob":"a/**z"}]}`),
		entry(t, `{"id":"d","kind":"resource_server","tools":["d"],"auth":{"method":"client_secret_post"}}`),
		entry(t, `{"id":"e","kind":"resource_server","tools":["e"],"auth":{"method":"client_secret_post"}}`),
	)
	c.Secrets = []clients.SecretSet{
		{Client: "d", Secrets: []clients.Secret{damaged}},
		{Client: "e", Secrets: []clients.Secret{hash, hash, hash}},
		{Client: "gone", Secrets: []clients.Secret{damaged}},
	}
	registry, got := clients.NewRegistry(c)
	want := []string{"clients[1].id: ", "clients[2].identities[0]: ", "clients[3].identities[0].condition: ",
		"clients[3].identities[1].subject_glob: ", "client_secret d: ", "client_secret e: "}
	if registry != nil || !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("mistakes %q, want %q", got, want)
	}
}

func TestMatch(t *testing.T) {
	registry, mistakes := clients.NewRegistry(config(
		entry(t, `{"id":"exact","kind":"agent","identities":[{"issuer":"prod","subject":"ns:a:exact"},
			{"issuer":"prod","subject_glob":"ns:a:exa*"}]}`),
		entry(t, `{"id":"dev","kind":"agent","identities":[
			{"issuer":"prod","subject":"ns:b:bot","condition":"claims.env == \"dev\""}]}`),
		entry(t, `{"id":"live","kind":"agent","identities":[
			{"issuer":"prod","subject":"ns:b:bot","condition":"claims.env == \"live\""},
			{"issuer":"prod","subject":"ns:b:both"}]}`),
		entry(t, `{"id":"glob","kind":"agent","identities":[{"issuer":"prod","subject_glob":"ns:c:*"},
			{"issuer":"prod","subject_glob":"ns:b:both","condition":"claims.env == \"dev\""}]}`),
		entry(t, `{"id":"narrow","kind":"agent","identities":[{"issuer":"prod","subject_glob":"ns:c:n*"}]}`),
		entry(t, `{"id":"any","kind":"agent","identities":[{"issuer":"lab","subject_glob":"*"}]}`),
	))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	dev, live := object{"env": "dev"}, object{"env": "live"}
	rows := []struct {
		name, issuer, subject string
		claims                object
		want                  string
	}{
		{"one client by subject and by glob", "prod", "ns:a:exact", nil, "exact"},
		{"conditions tell two clients apart: dev", "prod", "ns:b:bot", dev, "dev"},
		{"conditions tell two clients apart: live", "prod", "ns:b:bot", live, "live"},
		{"no condition holds", "prod", "ns:b:bot", object{"env": "test"}, "unbound"},
		{"the claim is absent", "prod", "ns:b:bot", nil, "unbound"},
		{"by glob", "prod", "ns:c:wide", nil, "glob"},
		{"two globs", "prod", "ns:c:narrow", nil, "ambiguous"},
		{"subject and glob", "prod", "ns:b:both", dev, "ambiguous"},
		{"subject, and a glob whose condition does not hold", "prod", "ns:b:both", live, "live"},
		{"a glob does not reach across segments", "prod", "ns:c:a:b", nil, "unbound"},
		{"another issuer", "lab2", "ns:a:exact", nil, "unbound"},
		{"an exact subject of another issuer", "lab", "ns:a:exact", nil, "unbound"},
		{"everybody of an issuer", "lab", "anybody", nil, "any"},
		{"a token without subject is nobody", "lab", "", nil, "unbound"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			client, err := registry.Match(t.Context(), row.issuer, row.subject, row.claims)
			got := "unbound"
			switch {
			case err == nil:
				got = client.ID
			case errors.Is(err, clients.ErrAmbiguous):
				got = "ambiguous"
			case !errors.Is(err, clients.ErrUnbound):
				got = err.Error()
			}
			if got != row.want || (err == nil) != (client != nil) {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	all := config(entry(t, `{"id":"any","kind":"agent","identities":[{"issuer":"lab","subject_glob":"*"}]}`))
	all.Glob = func(string, string) bool { return true }
	lax, _ := clients.NewRegistry(all)
	if _, err := lax.Match(t.Context(), "lab", "", nil); !errors.Is(err, clients.ErrUnbound) {
		t.Errorf("whatever a glob says, no subject is nobody: %v", err)
	}
	client, ok := registry.Get("any")
	if !ok || client.Auth.Method != clients.MethodWorkload {
		t.Errorf("Get: %v, %v; an absent method means workload", client, ok)
	}
	if _, ok := registry.Get("nobody"); ok {
		t.Error("Get found a client that is not registered")
	}
}

func TestClientKeepsItsShape(t *testing.T) {
	const text = `{"id":"api","kind":"resource_server","identities":[{"issuer":"prod","subject_glob":"a*",` +
		`"condition":"true"}],"tools":["api"],"auth":{"method":"private_key_jwt","jwks_uri":"https://a.example",` +
		`"network":{"allow_private":true}}}`
	if got := string(mustJSON(entry(t, text))); got != text {
		t.Errorf("got %s", got)
	}
	const short = `{"id":"bot","kind":"agent",` + bound + `}`
	if got := string(mustJSON(entry(t, short))); got != short {
		t.Errorf("got %s", got)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(jwks("es256", "es384", "rs256", "eddsa")))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"b"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"a","key_ops":3}]}`))
	f.Add([]byte(`{"keys":[null,{},[]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := clients.Client{ID: "bot", Kind: clients.Agent,
			Auth: clients.Auth{Method: clients.MethodPrivateKeyJWT, JWKS: text}}
		if len(c.Check()) > 0 {
			return
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 {
			t.Fatalf("accepted what is no key set: %v", err)
		}
		for _, key := range set.Keys {
			if !key.IsPublic() || !key.Valid() || key.KeyID == "" {
				t.Errorf("accepted a key that cannot be used")
			}
		}
	})
}
