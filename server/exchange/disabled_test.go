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
