package exchange_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
)

// TestWhatIsDisabledTradesNothingIn (T-09): every target that can be disabled, on the paths that begin with a token of
// ours or with none. The issuers' keys are known all the while, which helps nobody (T-07).
func TestWhatIsDisabledTradesNothingIn(t *testing.T) {
	w := newDelegating(t)
	bot := servertest.Basic("secret-bot", w.Secret("secret-bot"))
	api := servertest.Basic("payments-api", w.Secret("payments-api"))
	paths := map[string]func(own string) exchange.Request{
		"credentials": func(string) exchange.Request {
			return exchange.Request{AsItself: true, Credentials: bot, Audiences: []string{"payments"}}
		},
		"holder":   func(own string) exchange.Request { return trade(own, w.Workload("ap-bot")) },
		"delegate": func(own string) exchange.Request { return trade(own, w.Workload("other-bot")) },
		"server": func(own string) exchange.Request {
			return exchange.Request{SubjectToken: own, SubjectTokenType: exchange.TypeAccessToken, Credentials: api,
				Audiences: []string{"ledger"}, Scope: "read"}
		},
	}
	root := func() string { return issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token }
	for _, row := range []struct{ kind, id, spares string }{
		{"tenant", "", ""},
		{"client", "ap-bot", "credentials"},
		{"client", "other-bot", "credentials holder server"},
		{"client", "secret-bot", "holder delegate server"},
		{"client", "payments-api", "credentials holder delegate"},
		{"tool", "payments", ""},
		{"tool", "ledger", "credentials holder delegate"},
		{"issuer", "cluster", "credentials"},
		{"issuer", "corp", "credentials"},
		{"subject", "corp:alice", "credentials"},
		{"subject", "corp:bob", "credentials holder delegate server"},
	} {
		own := root()
		w.Cut("acme", row.kind, row.id, true)
		w.Clock.Advance(2 * time.Second)
		for name, request := range paths {
			_, err := run(t.Context(), w.Exchanger, "acme", request(own))
			if spared := strings.Contains(row.spares, name); spared != (err == nil) {
				t.Errorf("%s %s is disabled, by %s: %v", row.kind, row.id, name, err)
			}
			if err != nil && fault.As(err).Kind == fault.Unavailable {
				t.Errorf("%s %s is disabled, by %s: nobody knows: %v", row.kind, row.id, name, err)
			}
		}
		enable(w, row.kind, row.id)
		w.Clock.Advance(2 * time.Second)
		own = root()
		for name, request := range paths {
			if _, err := run(t.Context(), w.Exchanger, "acme", request(own)); err != nil {
				t.Errorf("%s %s is enabled again, by %s: %v", row.kind, row.id, name, err)
			}
		}
	}
}

// TestNobodyInheritsTheTokensOfAResource: whichever tool has the resource of a token, and under whichever name, a token
// that was cut off stays so for as long as it can live.
func TestNobodyInheritsTheTokensOfAResource(t *testing.T) {
	const spelled = "https://TOOLS.example:443/payments"
	elsewhere := servertest.Acme("tools.example/payments", "tools.example/elsewhere")
	renamed := servertest.Acme("name: payments", "name: pay2", "tool: payments", "tool: pay2", "[payments]", "[pay2]")
	taken := servertest.Acme("tools.example/payments", "tools.example/elsewhere",
		"tools:\n  - {name: payments", "tools:\n  - {name: pay2, resource: \""+spelled+"\", actions: [x]}\n"+
			"  - {name: payments", "[payments]", "[payments, pay2]")
	for name, files := range map[string][]string{
		"renamed":                     {renamed},
		"handed over":                 {taken},
		"handed over in two steps":    {elsewhere, taken},
		"gone and back":               {elsewhere, servertest.Acme()},
		"spelled otherwise, and back": {servertest.Acme(payments, spelled), servertest.Acme()},
	} {
		t.Run(name, func(t *testing.T) {
			servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
				w.Create(servertest.Acme())
				secret := w.Secret("payments-api")
				old := issue(t, w, self(w.Workload("ap-bot"))).Token
				if c, err := owner(w, secret, old); c == nil || err != nil {
					t.Fatalf("inactive before anything happened: %v", err)
				}
				for _, file := range files {
					w.Apply(file, true)
					w.Clock.Advance(2 * time.Second)
					if c, err := owner(w, secret, old); c != nil || err != nil {
						t.Errorf("the tool lost its resource, and the token is active: %v", err)
					}
				}
			})
		})
	}
}

// TestADisabledSubjectIsNobody: not even a client, should somebody make one of it.
func TestADisabledSubjectIsNobody(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.Cut("acme", "subject", "once:alice", true)
	w.Apply(servertest.Acme("{issuer: once, subject: ap-bot}", "{issuer: once, subject: alice}"), false)
	request := self(w.Mint(servertest.Once(), map[string]any{"sub": "alice", "jti": "1"}))
	if f := refused(t, w, request); f.Reason != "revoked.subject" {
		t.Errorf("refused with %v", f)
	}
}
