package exchange_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
)

// TestATokenThatSaysNothingAllowsNothing (T-16, T-42): what a token of ours lacks is not filled in from anywhere, not
// even if we signed it.
func TestATokenThatSaysNothingAllowsNothing(t *testing.T) {
	w := newDelegating(t)
	usual := members(t, issue(t, w, self(w.Workload("ap-bot"))).Token)
	for _, row := range []struct {
		name   string
		change map[string]any
		reason string // accepted if empty
	}{
		{"everything that it should", nil, ""},
		{"no scope", map[string]any{"scope": nil}, "scope.parent_unknown"},
		{"a scope of nobody", map[string]any{"scope": "openid"}, "scope.parent_unknown"},
		{"a star for a scope", map[string]any{"scope": "payments:* *"}, "scope.parent_unknown"},
		{"a scope of another tool", map[string]any{"scope": "ledger:read"}, "scope.parent_unknown"},
		{"scopes in a list, under another name", map[string]any{"scope": nil, "scp": []string{"payments:refunds.read"}},
			"scope.parent_unknown"},
		{"no client", map[string]any{"client_id": nil}, "subject.own"},
		{"no tool", map[string]any{"aud": nil}, "subject.own"},
		{"several tools", map[string]any{"aud": []string{payments, "https://tools.example/ledger"}}, "subject.own"},
		{"a tool of nobody", map[string]any{"aud": "https://tools.example/nothing"}, "subject.target"},
		{"no subject", map[string]any{"sub": nil}, "subject.own"},
		{"no jti", map[string]any{"jti": nil}, "subject.own"},
		{"a key that it is bound to", map[string]any{"cnf": map[string]any{"jkt": "x"}}, "subject.bound"},
	} {
		t.Run(row.name, func(t *testing.T) {
			claims := maps.Clone(usual)
			for name, value := range row.change {
				claims[name] = value
				if value == nil {
					delete(claims, name)
				}
			}
			request := trade(w.Signed(claims), w.Workload("ap-bot"))
			if row.reason == "" {
				issue(t, w, request)
				return
			}
			for _, scope := range []string{"payments:refunds.read", ""} {
				if f := refused(t, w, withScope(request, scope)); f.Reason != row.reason {
					t.Errorf("scope %q: refused as %s", scope, f.Reason)
				}
			}
		})
	}
}

// TestNothingThatATokenClaimsIsCopied (T-36): there is no mapping of claims. Whatever a trusted issuer writes into its
// tokens, what we issue is the same, but for whom it is about.
func TestNothingThatATokenClaimsIsCopied(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	claims := map[string]any{
		"scope": "payments:refunds.delete", "scp": []string{"payments:refunds.delete"}, "client_id": "other-bot",
		"azp": "other-bot", "tenant": "globex", "jti": "jti-of-theirs", "txn": "run-of-theirs", "sub_profile": "admin",
		"nbf": w.Clock.Now().Unix() - 1, "authorization_details": []any{map[string]any{"type": "x"}},
		"status": map[string]any{"status_list": map[string]any{"idx": 0, "uri": "https://x.example"}},
		"roles":  []string{"admin"}, "groups": []string{"admin"},
		"urn:bursar:lineage": map[string]any{"jti": []string{"x"}, "clients": []string{"other-bot"}, "issuers": []string{}},
	}
	named := func(more map[string]any, sub string) map[string]any {
		all := maps.Clone(more)
		if all == nil {
			all = map[string]any{}
		}
		all["sub"] = sub
		return all
	}
	build := func(more map[string]any) map[string]exchange.Request {
		workload := func() string {
			return w.Mint(servertest.Cluster(), named(more, "system:serviceaccount:prod:ap-bot"))
		}
		return map[string]exchange.Request{
			"as itself":    self(workload()),
			"for somebody": onBehalf(w.Mint(servertest.Corp(), named(more, "alice")), workload()),
		}
	}
	plain := build(nil)
	for name, request := range build(claims) {
		want, got := members(t, issue(t, w, plain[name]).Token), members(t, issue(t, w, request).Token)
		if got["jti"] == claims["jti"] || got["txn"] == claims["txn"] {
			t.Errorf("%s: jti %v, txn %v", name, got["jti"], got["txn"])
		}
		for _, own := range []string{"iat", "exp", "jti", "txn"} {
			delete(want, own)
			delete(got, own)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: received %v, want %v", name, got, want)
		}
	}
}

// TestASpentTokenStaysSpent (T-18, T-19): in another spelling, which either is refused before it is looked at or is the
// same token; and when it has expired, which no leeway puts off.
func TestASpentTokenStaysSpent(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	compact := w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})
	for _, spelling := range []string{respell(compact), compact + "=", compact + "\n", " " + compact} {
		if f := refused(t, w, self(spelling)); f.Reason != "subject.not_canonical" {
			t.Errorf("another spelling is refused as %s", f.Reason)
		}
	}
	issue(t, w, self(compact)) // so none of them spent it
	for _, again := range []string{compact, flip(compact)} {
		if f := refused(t, w, self(again)); f.Reason != "subject.replayed" {
			t.Errorf("used again, it is refused as %s", f.Reason)
		}
	}
	for _, passed := range []time.Duration{time.Hour, time.Second, 28 * time.Second, time.Minute, time.Hour} {
		w.Clock.Advance(passed)
		for _, again := range []string{compact, flip(compact)} {
			if f := refused(t, w, self(again)); f.Reason != "subject.expired" {
				t.Errorf("%v later it is refused as %s", passed, f.Reason)
			}
		}
	}
}

// TestATokenThatGetsTooLongIsNotIssued (T-26): names fill a token as well as actors do.
func TestATokenThatGetsTooLongIsNotIssued(t *testing.T) {
	w := newDelegating(t, "use: [subject]", "use: [subject], accept_act: true")
	chain := func(length int) exchange.Request {
		name := func(s string) string { return s + strings.Repeat("x", length) }
		act := map[string]any{"sub": name("1"), "act": map[string]any{"sub": name("2"),
			"act": map[string]any{"sub": name("3")}}}
		return onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "act": act}), w.Workload("ap-bot"))
	}
	issue(t, w, chain(1000))
	if f := refused(t, w, chain(2000)); f.Kind != fault.InvalidRequest || f.Reason != "delegation.size" {
		t.Errorf("refused as %v %s", f.Kind, f.Reason)
	}
}

// TestOnlyTheCurrentActorCounts (T-29): what an actor before it may do is no concern of the policy.
func TestOnlyTheCurrentActorCounts(t *testing.T) {
	w := newDelegating(t, "policies:\n  - {id: pass, ", `policies:
  - {id: the-first-alone, clients: [ap-bot], tool: payments, actions: [refunds.delete],
     on_behalf_of: [{issuer: corp, subject_glob: "*"}]}
  - {id: by-its-name, clients: [ap-bot], delegates: [other-bot], tool: payments, actions: [refunds.delete],
     on_behalf_of: [{issuer: corp, subject_glob: "*"}], condition: "actor.client == 'ap-bot'"}
  - {id: pass, `)
	both := "payments:refunds.read payments:refunds.delete"
	root := issue(t, w, withScope(onBehalf(w.User("alice"), w.Workload("ap-bot")), both)).Token
	issue(t, w, withScope(trade(root, w.Workload("ap-bot")), both))
	issue(t, w, trade(root, w.Workload("other-bot")))
	f := refused(t, w, withScope(trade(root, w.Workload("other-bot")), "payments:refunds.delete"))
	if f.Reason != "policy.condition" {
		t.Errorf("refused as %s", f.Reason)
	}
}

// TestAPolicyThatIsNotThereDenies (T-35): gone or unreadable, in this process and in another, and at once.
func TestAPolicyThatIsNotThereDenies(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		other := w.Start()
		policies := ledger.Key{Kind: tenant.KindPolicy, ID: "payments-self"}
		view, err := w.Directory.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		good, _ := view.Row(policies.Kind, policies.ID)
		revision := view.Revision
		commit := func(c ledger.Change) {
			c.Expect = revision
			revision = w.Commit("acme", c).Revision
		}
		put := func(value string) ledger.Change {
			return ledger.Change{Put: []ledger.Row{{Kind: policies.Kind, ID: policies.ID, Value: []byte(value)}}}
		}
		for _, row := range []struct {
			name   string
			change ledger.Change
			reason string
		}{
			{"it is deleted", ledger.Change{Delete: []ledger.Key{policies}}, "policy.on_behalf_of"}, // the other one's denial
			{"it cannot be read", put("{"), "tenant.unreadable"},
			{"it has a mistake", put(strings.Replace(string(good), `"ap-bot"`, `"AP BOT"`, 1)), "tenant.unreadable"},
			{"it names others", put(strings.Replace(string(good), `"ap-bot"`, `"other-bot"`, 1)), "policy.on_behalf_of"},
		} {
			for name, x := range map[string]*exchange.Exchanger{"here": w.Exchanger, "there": other.Exchanger} {
				if _, err := run(t.Context(), x, "acme", self(w.Workload("ap-bot"))); err != nil {
					t.Fatalf("before %s, %s: %v", row.name, name, err)
				}
			}
			commit(row.change)
			for name, x := range map[string]*exchange.Exchanger{"here": w.Exchanger, "there": other.Exchanger} {
				if _, err := run(t.Context(), x, "acme", self(w.Workload("ap-bot"))); fault.As(err).Reason != row.reason {
					t.Errorf("%s, %s: %v", row.name, name, err)
				}
			}
			commit(put(string(good)))
		}
	})
	var none *policy.Policy
	if none.Decide(t.Context(), policy.Request{Client: "ap-bot", Tool: "payments"}).Allowed {
		t.Error("no policy allows")
	}
}

// TestWithoutAKeyNothingIsIssued: a tool whose algorithm has no key has no tokens.
func TestWithoutAKeyNothingIsIssued(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		view, err := w.Directory.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		tool, _ := view.Tools.Named("payments")
		changed := *tool
		changed.SigningAlg = keys.EdDSA
		w.Commit("acme", ledger.Change{Expect: view.Revision, Put: []ledger.Row{row(tenant.KindTool, tool.Name, changed)}})
		if _, err := w.Directory.Fresh(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		f := refused(t, w, self(w.Workload("ap-bot")))
		if f.Kind != fault.Unavailable || f.Reason != "key.unavailable" {
			t.Errorf("refused as %v %s", f.Kind, f.Reason)
		}
		if got := outcomes(w.Records("acme")); !slices.Equal(got, []string{"error key.unavailable"}) {
			t.Errorf("recorded %q", got)
		}
	})
}
