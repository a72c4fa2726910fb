package tenant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

const head = "apiVersion: bursar/v1\ntenant: acme\n"

// mistakes parses a file and returns what is wrong with it.
func mistakes(t *testing.T, file string) []string {
	t.Helper()
	f, err := tenant.ParseFile([]byte(file))
	if err == nil {
		return nil
	}
	if e := fault.As(err); f != nil || e.Kind != fault.Invalid || len(e.Problems) == 0 {
		t.Fatalf("refused as %+v, with %v", e, f)
	}
	return servertest.Problems(err)
}

func TestParseFileTellsEveryMistakeOfForm(t *testing.T) {
	for _, row := range []struct {
		name, file string
		want       []string
	}{
		{"nothing is wrong", servertest.Acme(), nil},
		{"JSON",
			`{"apiVersion":"bursar/v1","tenant":"acme","tools":[{"name":"a","resource":"https://a.example","actions":["x"]}]}`,
			nil},
		{"null is absent", head + "issuers: ~\nclients:\ntools: []\n", nil},
		{"no text", "", []string{"is empty"}},
		{"only a comment", "# hello\n", []string{"is empty"}},
		{"not YAML", "tenant: [", []string{"is not YAML: line 1: did not find expected node content"}},
		{"not a mapping", "- a\n", []string{"must be a mapping, not a list (line 1)"}},
		{"a word", "a\n", []string{"must be a mapping (line 1)"}},
		{"two documents", head + "---\n" + head, []string{"holds more than one document; apply one tenant at a time"}},
		{"a second document that is broken",
			head + "---\n{", []string{"holds more than one document; apply one tenant at a time"}},
		{"another version", "apiVersion: bursar/v2\ntenant: acme\n", []string{"apiVersion: must be bursar/v1"}},
		{"neither version nor tenant", "{}", []string{"apiVersion: must be bursar/v1", "tenant: "}},
		{"a tenant that is no slug", "apiVersion: bursar/v1\ntenant: Acme/../x\n", []string{"tenant: "}},
		{"unknown fields at every depth, all at once",
			head + "tool: x\ntools:\n  - name: a\n    nmae: b\nclients:\n  - auth: {metod: x}\n" +
				"issuers:\n  - network: {allow: true}\n",
			[]string{"tool: is not a known field (line 3)", "tools[0].nmae: is not a known field (line 6)",
				"clients[0].auth.metod: is not a known field (line 8)",
				"issuers[0].network.allow: is not a known field (line 10)"}},
		{"fields in another case", head + "Tools: []\ntools: [{Name: a}]\n", []string{"Tools: is not a known field (line 3)",
			"tools[0].Name: is not a known field (line 4)"}},
		{"a field given twice", head + "tenant: globex\n", []string{"tenant: is given twice (line 3)"}},
		{"a field given twice deep inside",
			head + "issuers:\n  - jwks: {keys: [], keys: []}\n", []string{"issuers[0].jwks.keys: is given twice (line 4)"}},
		{"a merge key",
			head + "tools:\n  - &a {name: a}\n  - {<<: *a}\n", []string{"tools[1].<<: is not a known field (line 5)"}},
		{"wrong types", head + "tools:\n  name: a\nclients: [7]\n" +
			"policies:\n  - {id: [a], clients: x, ttl: 300, actions: [1, {}]}\n" +
			"issuers: [{accept_act: yes}]\n",
			[]string{"tools: must be a list, not a mapping (line 4)", "clients[0]: must be a mapping (line 5)",
				"policies[0].id: must be a string, not a list (line 7)", "policies[0].clients: must be a list (line 7)",
				"policies[0].ttl: must be a duration, such as 90s or 5m (line 7)",
				"policies[0].actions[0]: must be a string (line 7)",
				"policies[0].actions[1]: must be a string, not a mapping (line 7)",
				"issuers[0].accept_act: must be true or false (line 8)"}},
		{"durations", head + "issuers: [{max_lifetime: 1 day}, {max_lifetime: 5}]\n" +
			"policies: [{ttl: soon}]\ntools: [{max_ttl: .inf}]\n",
			[]string{`issuers[0].max_lifetime: a duration is a number and a unit, such as 90s or 2m (line 3)`,
				`issuers[1].max_lifetime: must be a duration, such as 90s or 5m (line 3)`,
				"policies[0].ttl: a duration is", "tools[0].max_ttl: "}},
		{"an alias", head + "tools:\n  - name: &a t\n  - {name: *a}\n",
			[]string{"tools[1].name: is an alias; write out what it stands for (line 5)"}},
		{"fields without a value", head + "policies:\n  - {id: ~, condition: '', on_behalf_of: [], actions: [x, '']}\n",
			[]string{"policies[0].id: has no value", "policies[0].condition: has no value",
				"policies[0].on_behalf_of: is an empty list", "policies[0].actions[1]: has no value"}},
		{"a path of the server's disk is a word like others", head + "issuers: [{jwks_uri: /etc/passwd, file: x}]\n",
			[]string{"issuers[0].file: is not a known field (line 3)"}},
		{"a list without end", head + "tools: &a [*a]\n", []string{"tools[0]: is an alias"}},
		{"an object without end",
			head + "issuers:\n  - jwks: &a {keys: [*a]}\n", []string{"issuers[0].jwks.keys[0]: is an alias"}},
		{"brackets", head + "issuers: [{jwks: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}]\n",
			[]string{"is nested too deeply"}},
		{"too long", head + "#" + strings.Repeat("x", tenant.MaxFile), []string{"is larger than 1048576 bytes"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := mistakes(t, row.file)
			same := slices.EqualFunc(got, row.want, func(g, w string) bool {
				return g == w || strings.HasPrefix(g, w) && strings.HasSuffix(w, ": ") || strings.Contains(g, w)
			})
			if !same {
				t.Errorf("mistakes\n got %q\nwant %q", got, row.want)
			}
		})
	}
}

// TestMistakesAreBounded: a file full of mistakes is not answered with as many words.
func TestMistakesAreBounded(t *testing.T) {
	got := mistakes(t, head+laughs()+"tools: ["+strings.Repeat("{x: y},", 1000)+"]\n")
	if len(got) != 101 || got[100] != "there are more mistakes than are listed here" {
		t.Errorf("%d mistakes, the last %q", len(got), got[len(got)-1])
	}
}

// laughs is short and would be a billion values.
func laughs() string {
	var b strings.Builder
	b.WriteString("issuers:\n  - jwks:\n      a0: &a0 [x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "      a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9), i)
	}
	return b.String()
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		servertest.Acme(), servertest.Globex(), head, "", "{}", "a: &a [*a]", "? {a: b}\n: c", head + laughs(),
		"apiVersion: bursar/v1\ntenant: !!binary YWNtZQ==\n", head + "tools: [{max_ttl: 2001-01-01}]",
		"%YAML 1.2\n---\n{}", "\xef\xbb\xbf{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := tenant.ParseFile(data)
		switch {
		case err != nil && (file != nil || fault.As(err).Kind != fault.Invalid || len(servertest.Problems(err)) == 0):
			t.Fatalf("refused as %v", err)
		case err == nil && (file.APIVersion != tenant.APIVersion || file.Tenant == ""):
			t.Fatalf("accepted %+v", file)
		}
	})
}

// TestMistakesOfMeaning drafts files whose objects do not fit together, all of whose mistakes come back at once.
func TestMistakesOfMeaning(t *testing.T) {
	w := servertest.New(t, servertest.Options{NoCeiling: true})
	issuer := func(name, rest string) string {
		url := "https://" + name + ".example"
		return "  - {name: " + name + ", issuer: \"" + url + "\", audiences: [x], jwks_uri: \"" + url + "/k\"" + rest + "}\n"
	}
	for _, row := range []struct {
		name, file string
		want       []string
	}{
		{"what is named does not exist", "clients: [{id: a, kind: agent, identities: [{issuer: none, subject: x}]}, " +
			"{id: b, kind: resource_server, tools: [none], auth: {method: client_secret_basic}}]\n" +
			"policies: [{id: p, clients: [c], tool: none, actions: [x], on_behalf_of: [{issuer: none, subject: x}]}]\n",
			[]string{"clients[0].identities[0].issuer: is not an issuer of this tenant",
				"clients[1].tools[0]: is not a tool of this tenant",
				"policies[0].clients[0]: is not a client of this tenant", "policies[0].tool: is not a tool of this tenant",
				"policies[0].on_behalf_of[0].issuer: is not an issuer of this tenant"}},
		{"issuers of the wrong use", "issuers:\n" + issuer("users", ", use: [subject]") + issuer("pods", "") +
			"clients: [{id: a, kind: agent, identities: [{issuer: users, subject: x}]}]\n" +
			"tools: [{name: t, resource: \"https://t.example\", actions: [x]}]\n" +
			"policies: [{id: p, clients: [a], tool: t, actions: [x, y], on_behalf_of: [{issuer: pods, subject: x}]}]\n",
			[]string{"clients[0].identities[0].issuer: names an issuer whose use does not include workload",
				"policies[0].actions[1]: is not an action of tool t",
				"policies[0].on_behalf_of[0].issuer: names an issuer whose use does not include subject"}},
		{"names used twice", "issuers:\n" + issuer("a", "") + issuer("a", "") +
			"clients: [{id: c, kind: agent, auth: {method: client_secret_basic}}, " +
			"{id: c, kind: agent, auth: {method: client_secret_basic}}]\n" +
			"tools: [{name: t, resource: \"https://t.example\", actions: [x]}, " +
			"{name: t, resource: \"https://u.example\", actions: [x]}]\n" +
			"policies: [{id: p, clients: [c], tool: t, actions: [x]}, {id: p, clients: [c], tool: t, actions: [x]}]\n",
			[]string{"tools[1].name: is used twice", "clients[1].id: is the id of another client, too",
				"policies[1].id: is also the id of policies[0]", "issuers[1].name: is used twice",
				"issuers[1]: would accept the same tokens as issuer a; an identity must have one meaning"}},
		{"one resource, two tools", "tools: [{name: t, resource: \"https://t.example/\", actions: [x]}, " +
			"{name: u, resource: \"HTTPS://T.example:443/\", actions: [x]}]\n",
			[]string{"tools[1].resource: is also the resource of tool t"}},
		{"the name that clients of ours have", "issuers:\n" + issuer("client", ""),
			[]string{"issuers[0].name: is reserved: the subjects of its tokens would be named like clients of ours"}},
		{"addresses that the platform does not open", "issuers:\n" + issuer("a", ", network: {allow_private: true}") +
			"clients: [{id: c, kind: agent, " +
			"auth: {method: private_key_jwt, jwks_uri: \"https://c.example\", network: {allow_private: true}}}]\n",
			[]string{"issuers[0].network.allow_private: the platform allows this tenant no private addresses " +
				"(tenants.acme.private_cidrs in bursar.yaml)",
				"clients[0].auth.network.allow_private: the platform allows this tenant no private addresses"}},
		{"our own issuers", "issuers: [{name: a, issuer: \"https://sts.example/t/globex\", audiences: [x], " +
			"jwks_uri: \"https://sts.example/t/globex/jwks.json\"}]\n",
			[]string{"issuers[0].issuer: lies under this server's own address",
				"issuers[0].jwks_uri: lies under this server's own address"}},
		{"tools", "tools: [{name: T, resource: x}, " +
			"{name: t, resource: \"https://t.example\", actions: [a, a, \"b:c\"], max_ttl: 1h, " +
			"signing_alg: HS256, scope_format: loose}]\n",
			[]string{"tools[0].name: ", "tools[0].resource: must be an absolute URL, such as https://host.example",
				"tools[0].actions: lists nothing; name at least one action", "tools[1].actions[1]: is listed twice",
				"tools[1].actions[2]: ", "tools[1].max_ttl: must be between 1s and 15m",
				"tools[1].signing_alg: must be ES256, RS256 or EdDSA", "tools[1].scope_format: must be qualified or bare"}},
		{"conditions", "issuers:\n" + issuer("a", ", condition: \"claims.\"") +
			"clients: [{id: c, kind: agent, identities: [{issuer: a, subject: x, condition: \"1\"}]}]\n",
			[]string{"issuers[0].condition: ", "clients[0].identities[0].condition: "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := tenant.ParseFile([]byte(head + row.file))
			if err != nil {
				t.Fatal(err, servertest.Problems(err))
			}
			_, _, err = w.Directory.DraftNew(f)
			got := servertest.Problems(err)
			if !slices.EqualFunc(got, row.want, func(g, w string) bool { return strings.HasPrefix(g, w) }) {
				t.Errorf("mistakes\n got %q\nwant %q", got, row.want)
			}
		})
	}
}
