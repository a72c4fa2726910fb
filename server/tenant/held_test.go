package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
)

// What stands in the file of acme, for the changes of these tests.
const (
	toolMail   = "  - {name: mail, resource: \"https://tools.example/mail\", actions: [send]}\n"
	policyMail = "  - {id: mail-night, clients: [ap-bot], tool: mail, actions: [send], " +
		"condition: \"request.hour_utc > 24\"}\n"
	identityMesh  = "      - {issuer: mesh, subject: \"spiffe://mesh.example/ns/prod/sa/ap-bot\"}\n"
	identityOther = "[{issuer: cluster, subject: \"system:serviceaccount:prod:other-bot\"}]"
	subjectKey    = "system:serviceaccount:prod:key-bot"
	clientsBegin  = "clients:\n"
)

// entry is an issuer of a file, with what every one of them has.
func entry(fields string) string {
	return "  - {" + fields + ", audiences: [\"https://sts.example/t/acme\"], network: {allow_private: true}}\n"
}

// TestApplyNeverUndoesACutoff: who may edit and may not enable cannot lead requests to another name than the disabled
// one. What is refused is allowed as soon as the target is enabled.
func TestApplyNeverUndoesACutoff(t *testing.T) {
	corp, once := servertest.Corp().URL, servertest.Once().URL
	meshKeys := ", jwks_uri: \"" + servertest.Mesh().JWKSURI() + "\""
	keys := between(t, servertest.Acme(), "private_key_jwt, jwks: ", "}\n")
	const tool = "is disabled by a revocation; before that is changed: bursar enable acme --tool payments"
	for name, row := range map[string]struct {
		kind, id string // what is disabled
		prune    bool
		changes  []string
		want     []string // how the mistakes begin
	}{
		"a resource goes to another tool": {"tool", "payments", false, []string{
			"tools:\n  - {name: payments, resource: \"https://tools.example/payments\"",
			"tools:\n  - {name: pay2, resource: \"https://tools.example/payments\", actions: [x]}\n" +
				"  - {name: payments, resource: \"https://tools.example/gone\"",
		}, []string{
			"tools[0].resource: would take https://tools.example/payments from tool payments, which is disabled by a revocation",
			"tools[1].resource: must keep https://tools.example/payments: tool payments " + tool,
		}},
		"a resource goes away": {"tool", "payments", false, []string{
			"https://tools.example/payments", "https://tools.example/gone",
		}, []string{"tools[0].resource: must keep https://tools.example/payments: tool payments " + tool}},
		"a resource goes to another tool in another spelling": {"tool", "mail", true, []string{
			toolMail, "  - {name: post, resource: \"HTTPS://Tools.example:443/mail\", actions: [send]}\n", policyMail, "",
		}, []string{"tool mail: is disabled by a revocation; before it is deleted: bursar enable acme --tool mail"}},
		"a tool is renamed": {"tool", "mail", true, []string{
			toolMail, strings.Replace(toolMail, "name: mail", "name: post", 1), policyMail, "",
		}, []string{
			"tool mail: is disabled by a revocation; before it is deleted: bursar enable acme --tool mail",
			"tools[2].resource: would take https://tools.example/mail from tool mail",
		}},
		"an issuer's iss goes to another issuer": {"issuer", "corp", false, []string{
			"{name: corp, issuer: \"" + corp, "{name: corp, issuer: \"https://elsewhere.example",
			clientsBegin, entry("name: corp3, use: [subject], issuer: \""+corp+"\"") + clientsBegin,
		}, []string{
			"issuers[2].issuer: must keep " + corp + ": issuer corp is disabled by a revocation",
			"issuers[4].issuer: would take " + corp + " from issuer corp",
		}},
		"a trust domain goes to another issuer": {"issuer", "mesh", false, []string{
			"{name: mesh, kind: spiffe, trust_domain: mesh.example", "{name: mesh, kind: spiffe, trust_domain: gone.example",
			clientsBegin, entry("name: mesh2, kind: spiffe, trust_domain: mesh.example"+meshKeys) + clientsBegin,
		}, []string{
			"issuers[1].trust_domain: must keep spiffe://mesh.example",
			"issuers[4].trust_domain: would take spiffe://mesh.example from issuer mesh",
		}},
		"a trust domain becomes an iss": {"issuer", "mesh", false, []string{
			"{name: mesh, kind: spiffe, trust_domain: mesh.example", "{name: mesh, issuer: \"https://mesh.example\"",
		}, []string{"issuers[1].trust_domain: must keep spiffe://mesh.example"}},
		"a trust domain takes the tokens of an iss": {"issuer", "once", false, []string{
			clientsBegin, entry("name: td, kind: spiffe, trust_domain: once.example"+meshKeys) + clientsBegin,
		}, []string{"issuers[4].issuer: would take " + once + " from issuer once, which is disabled by a revocation"}},
		"a trust domain turns to the tokens of an iss": {"issuer", "once", false, []string{
			"trust_domain: mesh.example", "trust_domain: mesh.example, issuer: \"" + once + "\"",
		}, []string{"issuers[1].issuer: would take " + once + " from issuer once"}},
		"a subject's issuer is renamed": {"subject", "corp:alice", true, []string{
			"{name: corp,", "{name: corp2,", "{issuer: corp,", "{issuer: corp2,",
		}, []string{
			"issuer corp: is needed as it is by the revocation of subject corp:alice; " +
				"before it is deleted: bursar enable acme --subject corp:alice",
			"issuers[2].issuer: would take " + corp + " from issuer corp",
		}},
		"a subject's issuer gives its iss away": {"subject", "corp:alice", false, []string{
			"{name: corp, issuer: \"" + corp, "{name: corp, issuer: \"https://elsewhere.example",
		}, []string{"issuers[2].issuer: must keep " + corp + ": issuer corp is needed as it is"}},
		"an identity goes to another client": {"client", "other-bot", false, []string{
			"{id: other-bot, kind: agent, identities: " + identityOther,
			"{id: bot2, kind: agent, identities: " + identityOther + "}\n  - {id: other-bot, kind: agent, " +
				"auth: {method: client_secret_basic}",
		}, []string{
			"clients[1].identities: would take {\"issuer\":\"cluster\",\"subject\":\"system:serviceaccount:prod:other-bot\"} " +
				"from client other-bot, which is disabled by a revocation",
			"clients[2].identities: must keep {\"issuer\":\"cluster\",\"subject\":\"system:serviceaccount:prod:other-bot\"}: ",
		}},
		"one of several identities goes away": {"client", "ap-bot", false, []string{identityMesh, ""},
			[]string{"clients[0].identities: must keep {\"issuer\":\"mesh\","}},
		"an identity gets a condition": {"client", "ap-bot", false, []string{
			"/sa/ap-bot\"}", "/sa/ap-bot\", condition: \"false\"}",
		}, []string{"clients[0].identities: must keep {\"issuer\":\"mesh\","}},
		"an identity's issuer gives its iss away": {"client", "ap-bot", false, []string{
			"{name: once, issuer: \"" + once, "{name: once, issuer: \"https://elsewhere.example",
			clientsBegin, entry("name: once2, issuer: \""+once+"\"") + clientsBegin +
				"  - {id: ap2, kind: agent, identities: [{issuer: once2, subject: ap-bot}]}\n",
		}, []string{
			"issuers[3].issuer: must keep " + once + ": issuer once is needed as it is by the revocation of client ap-bot; " +
				"before that is changed: bursar enable acme --client ap-bot",
			"issuers[4].issuer: would take " + once + " from issuer once",
		}},
		"a key goes to another client as well": {"client", "key-bot", false, []string{
			clientsBegin, clientsBegin + "  - {id: key2, kind: agent, auth: {method: private_key_jwt, jwks: " +
				strings.Replace(keys, `"k1"`, `"another"`, 1) + "}}\n",
		}, []string{"clients[0].auth.jwks: would take "}},
		"a client gives its keys up": {"client", "key-bot", false, []string{
			subjectKey + "\"}]\n    auth: {method: private_key_jwt, jwks: " + keys + "}", subjectKey + "\"}]",
		}, []string{"clients[4].auth.jwks: must keep "}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAcme(t)
			w.Cut("acme", row.kind, row.id, true)
			file := servertest.Acme(row.changes...)
			_, err := w.Draft(file, row.prune)
			got := servertest.Problems(err)
			if !slices.EqualFunc(sorted(got), sorted(row.want), strings.HasPrefix) {
				t.Errorf("%v\ngot  %q\nwant %q", err, got, row.want)
			}
			w.Commit("acme", ledger.Change{Enable: []ledger.Key{{Kind: row.kind, ID: row.id}}})
			if _, err := w.Draft(file, row.prune); err != nil {
				t.Errorf("enabled, and still: %v %q", err, servertest.Problems(err))
			}
		})
	}
}

// between returns what stands between two texts.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, found := strings.Cut(s, before)
	text, _, ends := strings.Cut(rest, after)
	if !found || !ends {
		t.Fatalf("nothing stands between %q and %q", before, after)
	}
	return text
}

// TestWhatIsDisabledCanBeMended: the cause of a revocation is mended before anybody enables.
func TestWhatIsDisabledCanBeMended(t *testing.T) {
	w := newAcme(t)
	for _, target := range []ledger.Key{{Kind: "tool", ID: "payments"}, {Kind: "client", ID: "ap-bot"},
		{Kind: "client", ID: "key-bot"}, {Kind: "issuer", ID: "once"}, {Kind: "issuer", ID: "mesh"},
		{Kind: "subject", ID: "corp:alice"}, {Kind: "tenant"}} {
		w.Cut("acme", target.Kind, target.ID, true)
	}
	draft(t, w, servertest.Acme(
		"refunds.create, refunds.delete]}", "refunds.create], max_ttl: 1m, disabled: true}",
		"actions: [refunds.read, refunds.create]\n    default", "actions: [refunds.read]\n    default",
		"replay: once,", "replay: audit, max_lifetime: 5m,",
		"trust_domain: mesh.example,", "trust_domain: mesh.example, algorithms: [ES256],",
		identityMesh, identityMesh+"      - {issuer: cluster, subject: \"system:serviceaccount:prod:ap-bot-2\"}\n",
		clientsBegin, entry("name: td, kind: spiffe, trust_domain: other.example, issuer: \"https://spire.example\", "+
			"jwks_uri: \""+servertest.Mesh().JWKSURI()+"\"")+clientsBegin), false)
}

// TestAResourceThatItsToolLosesIsCutOff: tokens name the resource, and whoever has it next must not inherit them.
func TestAResourceThatItsToolLosesIsCutOff(t *testing.T) {
	for name, row := range map[string]struct {
		prune   bool
		changes []string
		want    []string
	}{
		"renamed": {true, []string{toolMail, strings.Replace(toolMail, "name: mail", "name: post", 1), policyMail, ""},
			[]string{"tool/https://tools.example/mail", "tool/mail"}},
		"deleted": {true, []string{toolMail, "", policyMail, ""},
			[]string{"tool/https://tools.example/mail", "tool/mail"}},
		"changed": {false, []string{"tools.example/mail", "tools.example/post"}, []string{"tool/https://tools.example/mail"}},
		"spelled otherwise": {false, []string{"https://tools.example/mail", "HTTPS://tools.example/mail"},
			[]string{"tool/https://tools.example/mail"}},
		"exchanged": {false, []string{"tools.example/mail", "tools.example/x", "tools.example/ledger", "tools.example/mail",
			"tools.example/x", "tools.example/ledger"},
			[]string{"tool/https://tools.example/ledger", "tool/https://tools.example/mail"}},
		"kept":    {false, []string{"actions: [send]}", "actions: [send, read], disabled: true}"}, nil},
		"created": {false, []string{toolMail, toolMail + strings.ReplaceAll(toolMail, "mail", "post")}, nil},
	} {
		w := newAcme(t)
		var cut []string
		for _, c := range draft(t, w, servertest.Acme(row.changes...), row.prune).Change.Cut {
			cut = append(cut, c.Kind+"/"+c.ID)
			if c.Disable || c.Keep != revoke.Keep {
				t.Errorf("%s: cuts %+v", name, c)
			}
		}
		if !slices.Equal(sorted(cut), row.want) {
			t.Errorf("%s: cuts %q, want %q", name, cut, row.want)
		}
	}
}
