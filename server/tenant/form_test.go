package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

// TestMistakesOfFormHideNoneOfMeaning drafts files with mistakes of both kinds. What only follows from a value that
// could not be read is not held against the file.
func TestMistakesOfFormHideNoneOfMeaning(t *testing.T) {
	w := servertest.New(t, servertest.Options{NoCeiling: true})
	const good = `issuers: [{name: i, issuer: "https://i.example", audiences: [x], jwks_uri: "https://i.example/k"}]
clients: [{id: c, kind: agent, identities: [{issuer: i, subject: x}]}]
tools: [{name: t, resource: "https://t.example", actions: [x]}]
policies: [{id: p, clients: [c], tool: t, actions: [x]}]
`
	bad := func(old, changed string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("nothing is %q", old)
		}
		return strings.Replace(good, old, changed, 1)
	}
	for _, row := range []struct {
		name, file string
		want       []string
	}{
		{"nothing is wrong", head + good, nil},
		{"everything that a first file has wrong", "apiVersion: v1\ntenant: acme\ncolour: blue\n" +
			"issuers: [{name: I, issuer: \"ftp://i\", audiences: [x], jwks_uri: \"https://i.example/k\"}]\n" +
			"clients: [{id: C, kind: robot}, {id: d, kind: agent, identities: [{issuer: none, subject: x}]}]\n" +
			"tools: [{name: t, resource: \"https://t.example\", actions: [x], max_ttl: 5}]\n" +
			"policies: [{id: p, clients: [e], tool: t, actions: [x], ttl: 5, condition: \"subject.\"}]\n",
			[]string{"colour: is not a known field (line 3)", "tools[0].max_ttl: must be a duration, such as 90s or 5m (line 6)",
				"policies[0].ttl: must be a duration, such as 90s or 5m (line 7)", "apiVersion: must be bursar/v1",
				"issuers[0].name: ", "issuers[0].issuer: ", "clients[0].id: ", "clients[0].kind: ", "clients[0].identities: ",
				"policies[0].condition: ", "clients[1].identities[0].issuer: is not an issuer of this tenant",
				"policies[0].clients[0]: is not a client of this tenant"}},
		{"another object's meaning", head + bad("actions: [x]}]", "actions: [x], max_ttl: 5}]") +
			"  # \n", []string{"tools[0].max_ttl: must be a duration"}},
		{"a name that cannot be read is nobody's wrong reference", head + bad("name: t", "name: [t]"),
			[]string{"tools[0].name: must be a string, not a list"}},
		{"nor are actions", head + bad("example\", actions: [x]", "example\", actions: [{}]"),
			[]string{"tools[0].actions[0]: must be a string, not a mapping"}},
		{"nor is a whole section", head + bad("clients: [{", "klients: [{"), []string{"klients: is not a known field"}},
		{"nor an entry of one", head + bad("issuers: [{", "issuers: [7, {"), []string{"issuers[0]: must be a mapping"}},
		{"a kind that cannot be read asks for nothing", head + bad("kind: agent", "kind: [agent]"),
			[]string{"clients[0].kind: must be a string, not a list"}},
		{"but a wrong reference elsewhere is one", head + bad("clients: [c], tool: t", "clients: [d], ttl: 5, tool: u"),
			[]string{"policies[0].ttl: must be a duration", "policies[0].clients[0]: is not a client of this tenant",
				"policies[0].tool: is not a tool of this tenant"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := tenant.ReadFile([]byte(row.file))
			if err != nil {
				t.Fatal(err, servertest.Problems(err))
			}
			_, draft, err := w.Directory.DraftNew(f)
			if (err == nil) != (draft != nil && row.want == nil) || err != nil && fault.As(err).Kind != fault.Invalid {
				t.Fatalf("drafted %v, %v", draft, err)
			}
			got := servertest.Problems(err)
			if !slices.EqualFunc(got, row.want, strings.HasPrefix) {
				t.Errorf("mistakes\n got %q\nwant %q", got, row.want)
			}
		})
	}
}

// TestAFileWithMistakesOfFormAloneIsRefused, whether the tenant is there or not.
func TestAFileWithMistakesOfFormAloneIsRefused(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme())
	f, err := tenant.ReadFile([]byte(servertest.Acme() + "colour: blue\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Directory.View(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Directory.Draft(v, f, false)
	if got := servertest.Problems(err); len(got) != 1 || !strings.HasPrefix(got[0], "colour: is not a known field") {
		t.Errorf("drafted: %v %q", err, got)
	}
	if _, _, err = w.Directory.DraftNew(f); err == nil {
		t.Error("a new tenant was drafted from it")
	}
	if f, err := tenant.ParseFile([]byte(servertest.Acme() + "colour: blue\n")); err == nil || f != nil {
		t.Errorf("parsed %v, %v", f, err)
	}
}
