package exchange_test

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/servertest"
)

// However early a request of a known client is refused, the record says who asked for what, and which token that was
// not accepted; but nothing that nobody checked.
func TestAnEarlyRefusalSaysWhoAskedForWhat(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	credentials := servertest.Basic("secret-bot", w.Secret("secret-bot"))
	good := w.User("alice")
	forged := good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86)
	about := func(subject string, change func(*exchange.Request)) exchange.Request {
		r := exchange.Request{Credentials: credentials, SubjectToken: subject, SubjectTokenType: jwt,
			Resources: []string{payments}, Scope: "payments:refunds.read"}
		if change != nil {
			change(&r)
		}
		return r
	}
	sum := sha256.Sum256([]byte(forged))
	digest := base64.RawURLEncoding.EncodeToString(sum[:])
	for _, row := range []struct {
		name      string
		request   exchange.Request
		step      string
		tool      string
		requested string
		hash      string
	}{
		{"a forged token", about(forged, nil), "subject", "payments", "refunds.read", digest},
		{"no token", about("", nil), "subject", "payments", "refunds.read", ""},
		{"a password for a token", about("eyJ.correct horse battery.staple", nil), "subject", "payments",
			"refunds.read", ""},
		{"a long password for a token", about(strings.Repeat("hunter2", 20), nil), "subject", "payments",
			"refunds.read", ""},
		{"for a tool by its name", about(forged, func(r *exchange.Request) {
			r.Resources, r.Audiences = nil, []string{"payments"}
		}), "subject", "payments", "refunds.read", digest},
		{"for a tool of nobody", about(forged, func(r *exchange.Request) {
			r.Resources = []string{"https://elsewhere.example/secret"}
		}), "subject", "", "", digest},
		{"for two tools", about(forged, func(r *exchange.Request) { r.Audiences = []string{"ledger"} }),
			"subject", "", "", digest},
		{"in unknown words", about(forged, func(r *exchange.Request) { r.Scope = "payments:everything please" }),
			"subject", "payments", "", digest},
		{"with a parameter that is not served", about(forged, func(r *exchange.Request) { r.Proof = true }),
			"subject", "payments", "refunds.read", digest},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(w.Records("acme"))
			refused(t, w, row.request)
			log := records(w, before)
			if len(log) != 1 {
				t.Fatalf("recorded %v", log)
			}
			b := log[0].Body
			if b.ClientID != "secret-bot" || b.Method != "client_secret_basic" || b.Step != row.step ||
				!slices.Equal(b.Actor.Chain, []string{"client:secret-bot"}) || b.Tool != row.tool ||
				(b.Resource == payments) != (row.tool == "payments") || strings.Join(b.Requested, " ") != row.requested ||
				b.Subject != (audit.Presented{Hash: row.hash}) {
				t.Errorf("recorded %s", log[0].Text)
			}
			for _, foreign := range []string{"elsewhere", "everything", "hunter2", "horse"} {
				if strings.Contains(log[0].Text, foreign) {
					t.Errorf("recorded what nobody checked: %s", log[0].Text)
				}
			}
		})
	}
}

// A tool that is switched off answers like one that is not there; the log knows which it is.
func TestTheLogKnowsTheToolThatIsSwitchedOff(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.Cut("acme", "tool", "payments", true)
	refused(t, w, self(w.Workload("ap-bot")))
	log := w.Records("acme")
	if b := log[len(log)-1].Body; b.Reason != "revoked.tool" || b.Tool != "payments" || b.Resource != payments {
		t.Errorf("recorded %s", log[len(log)-1].Text)
	}
}

// What is asked about a token, and its revocation, say whose it is, for whom it acts, and for what.
func TestAQuestionIsRecordedWithItsToken(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret := w.Secret("payments-api")
	compact := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
	if err := w.Exchanger.Revoke(t.Context(), "acme", exchange.Question{
		Credentials: servertest.Basic("payments-api", secret), Token: compact}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner(w, secret, compact); err != nil {
		t.Fatal(err)
	}
	c := claimsOf(t, compact)
	log := w.Records("acme")
	for i, want := range []string{audit.TokenRevoke, audit.TokenIntrospect} {
		r := log[len(log)-2+i]
		b := r.Body
		if r.Name != want || r.Txn != c.Txn || b.ClientID != "payments-api" || b.Tool != "payments" ||
			b.Resource != payments || b.Token.JTI != c.ID ||
			!slices.Equal(b.Actor.Chain, []string{"client:ap-bot", "corp:alice"}) {
			t.Errorf("recorded %s", r.Text)
		}
	}
}
