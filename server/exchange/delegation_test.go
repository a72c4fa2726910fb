package exchange_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
)

// delegating is acme with clients that pass tokens on: ap-bot to other-bot and to the others, at payments and for users
// too; and the resource server of payments to the ledger.
func delegating(changes ...string) string {
	return servertest.Acme(append([]string{"\npolicies:\n", `
policies:
  - {id: pass, clients: [ap-bot], delegates: [other-bot, secret-bot, key-bot, post-bot], tool: payments,
     actions: [refunds.read, refunds.create], default_actions: [refunds.read, refunds.create], ttl: 4m}
  - {id: pass-for, clients: [ap-bot], delegates: [other-bot, secret-bot, key-bot, post-bot], tool: payments,
     actions: [refunds.read, refunds.create], on_behalf_of: [{issuer: corp, subject_glob: "*"}]}
  - {id: book, clients: [payments-api], tool: ledger, actions: [write], from: ["payments:refunds.create"]}
  - {id: book-for, clients: [payments-api], tool: ledger, actions: [read, write], from: ["payments:refunds.read"],
     on_behalf_of: [{issuer: corp, subject_glob: "*"}], condition: "depth == 1 && client.id == 'payments-api'"}
`}, changes...)...)
}

func newDelegating(t *testing.T, changes ...string) *servertest.World {
	t.Helper()
	w := servertest.New(t, servertest.Options{})
	w.Create(delegating(changes...))
	return w
}

// trade is the request of a workload that trades in a token of ours, by its actor token.
func trade(own, actor string) exchange.Request {
	return exchange.Request{SubjectToken: own, SubjectTokenType: exchange.TypeAccessToken,
		ActorToken: actor, ActorTokenType: jwt, Audiences: []string{"payments"}, Scope: "payments:refunds.read"}
}

func with[T any](v T, change func(*T)) T { change(&v); return v }

// actors are the subjects of the act chain, the current one first.
func actors(c token.Claims) []string {
	var all []string
	for a := range c.Act.Chain() {
		all = append(all, a.Subject)
	}
	return all
}

// TestATokenIsPassedOn (T-22): whoever trades in a token of ours becomes the current actor, in front of those who were
// before; subject and run stay, the lineage grows, and the token ends no later.
func TestATokenIsPassedOn(t *testing.T) {
	w := newDelegating(t)
	secret := w.Secret("secret-bot")
	bySecret := func(own string) exchange.Request {
		return with(trade(own, ""), func(r *exchange.Request) {
			r.ActorTokenType, r.Credentials = "", servertest.Basic("secret-bot", secret)
		})
	}
	byKey := func(own string) exchange.Request {
		return with(bySecret(own), func(r *exchange.Request) { r.Credentials = w.Assertion(nil) })
	}
	both := "payments:refunds.read payments:refunds.create"
	user := issue(t, w, withScope(onBehalf(w.User("alice"), w.Workload("ap-bot")), both)).Token
	alone := issue(t, w, withScope(self(w.Workload("ap-bot")), both)).Token
	for _, start := range []struct {
		name, root, subject string
		first               []string
	}{
		{"for a user", user, "corp:alice", []string{"client:ap-bot"}},
		{"an agent as itself", alone, "client:ap-bot", nil},
	} {
		t.Run(start.name, func(t *testing.T) {
			root := claimsOf(t, start.root)
			second := claimsOf(t, issue(t, w, trade(start.root, w.Workload("other-bot"))).Token)
			before := len(w.Records("acme"))
			own := issue(t, w, trade(start.root, w.Workload("other-bot")))
			third := claimsOf(t, issue(t, w, bySecret(own.Token)).Token)
			log := records(w, before)
			for _, c := range []token.Claims{second, third} {
				if c.Subject != start.subject || c.SubProfile != root.SubProfile || c.Txn != root.Txn ||
					c.Expiry > root.Expiry || c.Scope != "payments:refunds.read" || c.Audience != root.Audience {
					t.Errorf("from %+v came %+v", root, c)
				}
			}
			parent := claimsOf(t, own.Token)
			if second.ClientID != "other-bot" ||
				!slices.Equal(actors(second), append([]string{"client:other-bot"}, start.first...)) ||
				!slices.Equal(second.Lineage.JTI, []string{root.ID}) || !slices.Equal(second.Lineage.Clients, []string{"ap-bot"}) {
				t.Errorf("the second token is %+v by %q, lineage %+v", second, actors(second), second.Lineage)
			}
			if third.ClientID != "secret-bot" ||
				!slices.Equal(actors(third), append([]string{"client:secret-bot", "client:other-bot"}, start.first...)) ||
				!slices.Equal(third.Lineage.JTI, []string{parent.ID, root.ID}) ||
				!slices.Equal(third.Lineage.Clients, []string{"other-bot", "ap-bot"}) {
				t.Errorf("the third token is %+v by %q, lineage %+v", third, actors(third), third.Lineage)
			}
			if len(log) != 2 || !slices.Equal(log[1].Body.Lineage, third.Lineage.JTI) || log[1].Txn != root.Txn ||
				log[1].Body.Subject.JTI != parent.ID || log[1].Body.Subject.Issuer != issuer ||
				!slices.Equal(log[1].Body.Actor.Chain, append(actors(third), start.subject)) &&
					!slices.Equal(log[1].Body.Actor.Chain, actors(third)) {
				t.Errorf("recorded as %+v", log)
			}
			if part := leaks(log, start.root, own.Token, secret); part != "" {
				t.Errorf("the log holds %q", part)
			}
		})
	}
	t.Run("its holder only narrows it", func(t *testing.T) {
		again := claimsOf(t, issue(t, w, trade(user, w.Workload("ap-bot"))).Token)
		if !slices.Equal(actors(again), []string{"client:ap-bot"}) || again.Subject != "corp:alice" ||
			len(again.Lineage.JTI) != 1 {
			t.Errorf("traded in by its holder for %+v by %q", again, actors(again))
		}
		again = claimsOf(t, issue(t, w, trade(alone, w.Workload("ap-bot"))).Token)
		if again.Act != nil || again.Subject != "client:ap-bot" {
			t.Errorf("traded in by its holder for %+v", again)
		}
	})
	t.Run("without scope, the defaults within it", func(t *testing.T) {
		less := issue(t, w, trade(alone, w.Workload("ap-bot"))).Token
		c := claimsOf(t, issue(t, w, withScope(trade(less, w.Workload("other-bot")), "")).Token)
		if c.Scope != "payments:refunds.read" {
			t.Errorf("the default is %q", c.Scope)
		}
	})
	t.Run("the fourth actor is the last", func(t *testing.T) {
		post := clients.Credentials{ClientID: "post-bot",
			Post: &clients.IDSecret{ID: "post-bot", Secret: w.Secret("post-bot")}}
		own := issue(t, w, trade(user, w.Workload("other-bot"))).Token
		own = issue(t, w, bySecret(own)).Token
		own = issue(t, w, byKey(own)).Token
		f := refused(t, w, with(bySecret(own), func(r *exchange.Request) { r.Credentials = post }))
		if f.Reason != "delegation.depth" || f.Kind != fault.InvalidRequest {
			t.Errorf("a fifth actor is refused as %v", f)
		}
	})
}

// TestAResourceServerPassesOnWhatItWasSent: a policy's from leads to another tool, and conditions see the depth.
func TestAResourceServerPassesOnWhatItWasSent(t *testing.T) {
	w := newDelegating(t)
	api := servertest.Basic("payments-api", w.Secret("payments-api"))
	book := func(own, scope string) exchange.Request {
		return exchange.Request{SubjectToken: own, SubjectTokenType: exchange.TypeAccessToken, Credentials: api,
			Audiences: []string{"ledger"}, Scope: scope}
	}
	create := issue(t, w, withScope(self(w.Workload("ap-bot")), "payments:refunds.create")).Token
	read := issue(t, w, withScope(self(w.Workload("ap-bot")), "payments:refunds.read")).Token
	forUser := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
	c := claimsOf(t, issue(t, w, book(create, "write")).Token)
	if c.Audience != "https://tools.example/ledger" || c.Scope != "write" || c.Subject != "client:ap-bot" ||
		c.ClientID != "payments-api" || c.Act == nil || c.Act.Subject != "client:payments-api" ||
		c.Act.SubProfile != "service" {
		t.Errorf("passed on as %+v by %+v", c, c.Act)
	}
	if c := claimsOf(t, issue(t, w, book(forUser, "read")).Token); c.Subject != "corp:alice" ||
		!slices.Equal(actors(c), []string{"client:payments-api", "client:ap-bot"}) {
		t.Errorf("passed on as %+v", c)
	}
	deep := issue(t, w, trade(forUser, w.Workload("other-bot"))).Token
	for _, row := range []struct {
		name    string
		request exchange.Request
		kind    fault.Kind
		reason  string
	}{
		{"what the token does not allow leads nowhere", book(read, "write"), fault.InvalidRequest, "policy.on_behalf_of"},
		{"an action that the mapping does not give (T-45)", book(create, "read"), fault.InvalidScope, "policy.action"},
		{"a condition on the depth", book(deep, "read"), fault.InvalidTarget, "policy.condition"},
		{"a tool without a mapping", with(book(create, "mail:send"), func(r *exchange.Request) {
			r.Audiences = []string{"mail"}
		}), fault.InvalidTarget, "policy.no_rule"},
		{"a workload's token", with(self(w.Workload("ap-bot")), func(r *exchange.Request) { r.Credentials = api }),
			fault.UnauthorizedClient, "client.grant"},
		{"itself", exchange.Request{AsItself: true, Credentials: api, Audiences: []string{"ledger"}, Scope: "write"},
			fault.UnauthorizedClient, "client.grant"},
		{"the token of another tool", with(book(create, "write"), func(r *exchange.Request) {
			r.Credentials = servertest.Basic("ledger-api", w.Secret("ledger-api"))
		}), fault.InvalidTarget, "policy.no_rule"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if f := refused(t, w, row.request); f.Kind != row.kind || f.Reason != row.reason {
				t.Errorf("refused as %v %s, want %v %s", f.Kind, f.Reason, row.kind, row.reason)
			}
		})
	}
}

// TestTokensThatAreNotTradedIn: what a token of ours does not allow, and whom.
func TestTokensThatAreNotTradedIn(t *testing.T) {
	w := newDelegating(t)
	w.Create(servertest.Globex())
	theirs, err := run(t.Context(), w.Exchanger, "globex", exchange.Request{SubjectTokenType: jwt,
		Audiences: []string{"payments"},
		SubjectToken: w.Mint(servertest.Cluster(), map[string]any{"sub": "system:serviceaccount:prod:ap-bot",
			"aud": servertest.BaseURL + "/t/globex"}), Scope: "payments:refunds.read"})
	if err != nil {
		t.Fatal(err)
	}
	secret := w.Secret("payments-api")
	fresh := func() string {
		return issue(t, w, withScope(self(w.Workload("ap-bot")), "payments:refunds.read")).Token
	}
	other := func(own string) exchange.Request { return trade(own, w.Workload("other-bot")) }
	for _, row := range []struct {
		name    string
		request exchange.Request
		kind    fault.Kind
		reason  string
	}{
		{"by nobody (T-30)", with(other(fresh()), func(r *exchange.Request) { r.ActorToken, r.ActorTokenType = "", "" }),
			fault.InvalidRequest, "subject.alone"},
		{"by a client that no policy names",
			trade(fresh(), w.Mint(servertest.Cluster(), map[string]any{"sub": "system:serviceaccount:prod:nobody"})),
			fault.InvalidRequest, "actor.unbound"},
		{"by the resource server without a mapping", with(trade(fresh(), ""), func(r *exchange.Request) {
			r.ActorTokenType, r.Credentials = "", servertest.Basic("payments-api", secret)
		}), fault.InvalidTarget, "policy.no_rule"},
		{"of another tenant (T-05)", other(theirs.Token), fault.InvalidRequest, "subject.own"},
		{"somebody else's (C8)", other(w.Workload("ap-bot")), fault.InvalidRequest, "subject.own"},
		{"garbage", other("garbage"), fault.InvalidRequest, "subject.own"},
		{"with a changed payload", other(tamper(fresh())), fault.InvalidRequest, "subject.own"},
		{"said to be a foreign JWT", with(other(fresh()), func(r *exchange.Request) { r.SubjectTokenType = jwt }),
			fault.InvalidRequest, "subject.issuer_unknown"},
		{"as actor token (T-23)", with(other(fresh()), func(r *exchange.Request) {
			r.ActorToken, r.ActorTokenType = fresh(), exchange.TypeAccessToken
		}), fault.InvalidRequest, "request.actor_token_type"},
		{"with an actor of another run (T-23)", trade(fresh(), w.Mint(servertest.Cluster(), map[string]any{
			"sub": "system:serviceaccount:prod:other-bot", "txn": "another"})), fault.InvalidRequest, "subject.run"},
		{"with an actor whose run is no text", trade(fresh(), w.Mint(servertest.Cluster(), map[string]any{
			"sub": "system:serviceaccount:prod:other-bot", "txn": 7})), fault.InvalidRequest, "subject.run"},
		{"for more than it allows (T-37)", withScope(other(fresh()), "payments:refunds.read payments:refunds.create"),
			fault.InvalidScope, "scope.parent"},
		{"for another tool (T-42)", with(other(fresh()), func(r *exchange.Request) {
			r.Audiences, r.Scope = []string{"ledger"}, "read"
		}), fault.InvalidRequest, "policy.presenter"},
		{"by its holder for another tool", with(trade(fresh(), w.Workload("ap-bot")), func(r *exchange.Request) {
			r.Audiences, r.Scope = []string{"ledger"}, "read"
		}), fault.InvalidTarget, "policy.from"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if f := refused(t, w, row.request); f.Kind != row.kind || f.Reason != row.reason {
				t.Errorf("refused as %v %s, want %v %s", f.Kind, f.Reason, row.kind, row.reason)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		own := fresh()
		w.Clock.Advance(2 * time.Minute)
		if f := refused(t, w, other(own)); f.Reason != "subject.own" {
			t.Errorf("refused as %s", f.Reason)
		}
	})
	t.Run("whose scope is known no more (E10)", func(t *testing.T) {
		own := fresh()
		w.Apply(delegating("refunds.read", "refunds.look"), false)
		f := refused(t, w, withScope(other(own), "payments:refunds.create"))
		if f.Kind != fault.InvalidScope || f.Reason != "scope.parent_unknown" {
			t.Errorf("refused as %v %s", f.Kind, f.Reason)
		}
	})
}

// tamper changes one character of the payload.
func tamper(compact string) string {
	parts := strings.Split(compact, ".")
	at := len(parts[1]) / 2
	parts[1] = parts[1][:at] + string(parts[1][at]^1) + parts[1][at+1:]
	return strings.Join(parts, ".")
}

// TestARevokedChainIsNotExtended (T-08, T-53): every kind of cutoff that hits a token, or one that it descends from,
// refuses it and its descendants as subjects.
func TestARevokedChainIsNotExtended(t *testing.T) {
	for _, kind := range revoke.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			w := newDelegating(t)
			root := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
			child := issue(t, w, trade(root, w.Workload("other-bot"))).Token
			c := claimsOf(t, root)
			value := map[revoke.Kind]string{revoke.JTI: c.ID, revoke.Lineage: c.ID, revoke.Run: c.Txn, revoke.Client: "ap-bot",
				revoke.Tool: "payments", revoke.Issuer: "corp", revoke.Subject: "corp:alice"}[kind]
			w.Cut("acme", string(kind), value, kind.Disables())
			for name, own := range map[string]string{"the token": root, "its child": child} {
				f := refused(t, w, trade(own, w.Workload("other-bot")))
				if f.Kind != fault.InvalidRequest && f.Kind != fault.InvalidClient || !strings.HasPrefix(f.Reason, "revoked.") &&
					f.Reason != "client.disabled" {
					t.Errorf("%s is refused as %v %s", name, f.Kind, f.Reason)
				}
			}
			if !kind.Disables() {
				return
			}
			enable(w, string(kind), value)
			for name, own := range map[string]string{"the token": root, "its child": child} {
				if f := refused(t, w, trade(own, w.Workload("other-bot"))); !strings.HasPrefix(f.Reason, "revoked.") {
					t.Errorf("after it was enabled again, %s is refused as %v %s", name, f.Kind, f.Reason)
				}
			}
		})
	}
}

// TestATokenSaysByItselfWhatCutsItOff: whoever has the token and the cutoffs, and asks nobody, decides each kind.
func TestATokenSaysByItselfWhatCutsItOff(t *testing.T) {
	w := newDelegating(t)
	root := issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
	c, parent := claimsOf(t, issue(t, w, trade(root, w.Workload("other-bot"))).Token), claimsOf(t, root)
	if c.Subject != "corp:alice" || c.ClientID != "other-bot" {
		t.Fatalf("received %+v", c)
	}
	account := "cluster:system:serviceaccount:prod:"
	for kind, values := range map[revoke.Kind][]string{
		revoke.JTI: {c.ID, parent.ID}, revoke.Lineage: {c.ID, parent.ID}, revoke.Run: {c.Txn},
		revoke.Client: {"ap-bot", "other-bot"}, revoke.Tool: {"payments"}, revoke.Tenant: {""},
		revoke.Issuer:  {"corp", "cluster"},
		revoke.Subject: {"corp:alice", account + "ap-bot", account + "other-bot"},
	} {
		for _, value := range append(values, "another") {
			at := time.Unix(c.IssuedAt, 0)
			cut := ledger.Cutoff{Key: ledger.Key{Kind: string(kind), ID: value}, Seq: 1, At: at, Until: at.Add(revoke.Keep)}
			state := new(revoke.State).With([]ledger.Cutoff{cut}, ledger.Position{Time: at})
			want := value != "another" || kind == revoke.Tenant
			if _, hit := state.Hits(c, "payments"); hit != want {
				t.Errorf("%s %q: hit %t", kind, value, hit)
			}
		}
	}
}

// TestAWorkloadThatIsCutOffLosesWhatItGot: a subject is the agent's own identity too, not only that of somebody whom it
// acts for.
func TestAWorkloadThatIsCutOffLosesWhatItGot(t *testing.T) {
	w := newDelegating(t)
	root := issue(t, w, self(w.Workload("ap-bot"))).Token
	child := issue(t, w, trade(root, w.Workload("other-bot"))).Token
	api := exchange.Question{Credentials: servertest.Basic("payments-api", w.Secret("payments-api"))}
	w.Cut("acme", string(revoke.Subject), "cluster:system:serviceaccount:prod:ap-bot", true)
	for name, own := range map[string]string{"the token": root, "its child": child} {
		api.Token = own
		if got, err := w.Exchanger.Introspect(t.Context(), "acme", api); err != nil || got != nil {
			t.Errorf("%s is active: %v, %v", name, got, err)
		}
		if f := refused(t, w, trade(own, w.Workload("other-bot"))); f.Reason != "revoked.subject" {
			t.Errorf("%s, traded in, is refused as %v", name, f)
		}
	}
}

// TestAClientThatIsCutOffIsNobodysSubject: where a client's identity may be acted for, cutting off the client ends
// that, and what was issued by it.
func TestAClientThatIsCutOffIsNobodysSubject(t *testing.T) {
	w := newDelegating(t)
	secret := w.Secret("secret-bot")
	ask := func() exchange.Request {
		r := onBehalf(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"}), w.Workload("secret-bot"))
		r.Credentials = servertest.Basic("secret-bot", secret)
		return r
	}
	own := issue(t, w, ask()).Token
	if c := claimsOf(t, own); c.Subject != "once:ap-bot" || c.Act.Subject != "client:secret-bot" ||
		!slices.Contains(c.Lineage.Clients, "ap-bot") {
		t.Fatalf("received %+v", c)
	}
	w.Cut("acme", string(revoke.Client), "ap-bot", true)
	if f := refused(t, w, ask()); f.Reason != "revoked.client" {
		t.Errorf("refused as %v", f)
	}
	got, err := w.Exchanger.Introspect(t.Context(), "acme", exchange.Question{Token: own,
		Credentials: servertest.Basic("payments-api", w.Secret("payments-api"))})
	if err != nil || got != nil {
		t.Errorf("the token of before is active: %v, %v", got, err)
	}
}

// TestNoSecondIsGained (T-40): a hundred times traded in, a token lives no longer; and a chain ends at its eighth hop.
func TestNoSecondIsGained(t *testing.T) {
	w := newDelegating(t)
	root := issue(t, w, self(w.Workload("ap-bot"))).Token
	end := claimsOf(t, root).Expiry
	for range 100 {
		w.Clock.Advance(time.Second)
		if c := claimsOf(t, issue(t, w, trade(root, w.Workload("ap-bot"))).Token); c.Expiry > end {
			t.Fatalf("ends %d s later", c.Expiry-end)
		}
	}
	own := issue(t, w, self(w.Workload("ap-bot"))).Token
	for range token.MaxHops {
		next := issue(t, w, trade(own, w.Workload("ap-bot"))).Token
		if a, b := claimsOf(t, own), claimsOf(t, next); b.Expiry > a.Expiry || b.Txn != a.Txn {
			t.Fatalf("from %+v came %+v", a, b)
		}
		own = next
	}
	f := refused(t, w, trade(own, w.Workload("ap-bot")))
	if f.Reason != "delegation.hops" || f.Kind != fault.InvalidRequest {
		t.Errorf("the ninth hop is refused as %v", f)
	}
}

// TestMayActIsACeiling (T-25): the one whom it names may act, and nobody else may.
func TestMayActIsACeiling(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret := w.Secret("secret-bot")
	account := "system:serviceaccount:prod:ap-bot"
	for _, row := range []struct {
		name   string
		mayAct any
		ok     bool
		reason string
	}{
		{"the workload", map[string]any{"iss": servertest.Cluster().URL, "sub": account}, true, ""},
		{"the client, by its name with us", map[string]any{"iss": issuer, "sub": "client:ap-bot"}, true, ""},
		{"the workload, of no issuer", map[string]any{"sub": account}, false, "subject.may_act"},
		{"the workload, of another issuer", map[string]any{"iss": servertest.Corp().URL, "sub": account}, false,
			"subject.may_act"},
		{"another workload", map[string]any{"iss": servertest.Cluster().URL, "sub": account + "x"}, false, "subject.may_act"},
		{"another client", map[string]any{"iss": issuer, "sub": "client:other-bot"}, false, "subject.may_act"},
		{"the client, by the name of another tenant",
			map[string]any{"iss": servertest.BaseURL + "/t/globex", "sub": "client:ap-bot"}, false, "subject.may_act"},
		{"the client's bare id", map[string]any{"iss": issuer, "sub": "ap-bot"}, false, "subject.may_act"},
		{"nobody", map[string]any{}, false, "subject.may_act"},
		{"a word", "client:ap-bot", false, "subject.may_act"},
	} {
		t.Run(row.name, func(t *testing.T) {
			alice := w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "may_act": row.mayAct})
			request := onBehalf(alice, w.Workload("ap-bot"))
			if !row.ok {
				if f := refused(t, w, request); f.Reason != row.reason || f.Kind != fault.InvalidRequest {
					t.Errorf("refused as %v %s", f.Kind, f.Reason)
				}
				return
			}
			c := members(t, issue(t, w, request).Token)
			if _, copied := c["may_act"]; copied {
				t.Error("may_act is in the token")
			}
		})
	}
	// A client that proves itself by a secret is known by its name with us alone.
	for sub, ok := range map[string]bool{"client:secret-bot": true, "client:ap-bot": false} {
		_, err := run(t.Context(), w.Exchanger, "acme", exchange.Request{SubjectTokenType: jwt,
			Audiences: []string{"payments"},
			SubjectToken: w.Mint(servertest.Corp(), map[string]any{"sub": "alice",
				"may_act": map[string]any{"iss": issuer, "sub": sub}}),
			Scope: "payments:refunds.read", Credentials: servertest.Basic("secret-bot", secret)})
		if ok != (err == nil) {
			t.Errorf("may_act %s: %v", sub, err)
		}
	}
}

// TestForeignActorsStayInTheChain (T-27, T-29): by who they are alone, behind our own, and granting nothing.
func TestForeignActorsStayInTheChain(t *testing.T) {
	w := newDelegating(t, "use: [subject]", "use: [subject], accept_act: true",
		"use: [workload, subject], replay: once", "use: [workload, subject], replay: once, accept_act: true")
	corp := servertest.Corp().URL
	user := func(act any) string { return w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "act": act}) }
	c := claimsOf(t, issue(t, w, onBehalf(user(map[string]any{"sub": "portal", "exp": 1, "role": "admin",
		"act": map[string]any{"iss": "https://x.example", "sub": "app"}}), w.Workload("ap-bot"))).Token)
	want := &token.Actor{Issuer: issuer, Subject: "client:ap-bot", SubProfile: "ai_agent",
		Act: &token.Actor{Issuer: corp, Subject: "portal", Act: &token.Actor{Issuer: "https://x.example", Subject: "app"}}}
	if fmt.Sprint(actors(c)) != "[client:ap-bot portal app]" || c.Act.Act.Issuer != corp ||
		c.Act.Act.Act.Issuer != want.Act.Act.Issuer || c.Act.SubProfile != want.SubProfile {
		t.Errorf("the chain is %v", actors(c))
	}
	named := func(sub string) map[string]any { return map[string]any{"iss": issuer, "sub": sub} }
	once := func(claims map[string]any) string { return w.Mint(servertest.Once(), claims) }
	for _, row := range []struct {
		name    string
		request exchange.Request
		reason  string
	}{
		{"an actor of ours", onBehalf(user(named("client:other-bot")), w.Workload("ap-bot")), "subject.act_ours"},
		{"an actor of ours, deeper", onBehalf(user(map[string]any{"sub": "x", "act": named("client:ap-bot")}),
			w.Workload("ap-bot")), "subject.act_ours"},
		{"an actor of another tenant of ours", onBehalf(user(map[string]any{"iss": servertest.BaseURL + "/t/globex",
			"sub": "client:ap-bot"}), w.Workload("ap-bot")), "subject.act_ours"},
		{"our issuer in another spelling", onBehalf(user(map[string]any{"iss": "HTTPS://STS.EXAMPLE:443/t/acme",
			"sub": "client:ap-bot"}), w.Workload("ap-bot")), "subject.act_ours"},
		{"four of them and ours", onBehalf(user(map[string]any{"sub": "1", "act": map[string]any{"sub": "2",
			"act": map[string]any{"sub": "3", "act": map[string]any{"sub": "4"}}}}), w.Workload("ap-bot")), "delegation.depth"},
		{"an actor token with an actor (E5)", onBehalf(w.User("alice"),
			once(map[string]any{"sub": "ap-bot", "act": map[string]any{"sub": "x"}})), "actor.act"},
		{"an agent's own token with an actor", self(once(map[string]any{"sub": "ap-bot", "act": map[string]any{"sub": "x"}})),
			"subject.act"},
		{"an assertion with an actor", with(onBehalf(w.User("alice"), ""), func(r *exchange.Request) {
			r.ActorTokenType = ""
			r.Credentials = clients.Credentials{AssertionType: clients.TypeJWTBearer,
				Assertion: once(map[string]any{"sub": "ap-bot", "act": map[string]any{"sub": "x"}})}
		}), "client.assertion.act"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if f := refused(t, w, row.request); f.Reason != row.reason || f.Kind != fault.InvalidRequest {
				t.Errorf("refused as %v %s, want %s", f.Kind, f.Reason, row.reason)
			}
		})
	}
}

// TestAClientAsItself: client_credentials ends in the same decision as an exchange.
func TestAClientAsItself(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret := w.Secret("secret-bot")
	ask := func(c clients.Credentials, scope string) exchange.Request {
		return exchange.Request{AsItself: true, Credentials: c, Audiences: []string{"payments"}, Scope: scope}
	}
	for name, c := range map[string]clients.Credentials{
		"secret-bot": servertest.Basic("secret-bot", secret), "key-bot": w.Assertion(nil),
		"ap-bot": {AssertionType: clients.TypeJWTBearer, Assertion: w.Workload("ap-bot")},
	} {
		before := len(w.Records("acme"))
		got := claimsOf(t, issue(t, w, ask(c, "")).Token)
		if got.Subject != "client:"+name || got.ClientID != name || got.Act != nil || got.Scope != "payments:refunds.read" ||
			got.SubProfile != "ai_agent" || got.Expiry-got.IssuedAt != 120 || got.Lineage == nil {
			t.Errorf("%s received %+v", name, got)
		}
		if log := records(w, before); len(log) != 1 || log[0].Body.Token.JTI != got.ID {
			t.Errorf("recorded as %+v", log)
		}
	}
	basic := servertest.Basic("secret-bot", secret)
	for _, row := range []struct {
		name    string
		request exchange.Request
		kind    fault.Kind
		reason  string
	}{
		{"no credentials", ask(clients.Credentials{}, ""), fault.InvalidClient, "client.none"},
		{"a client_id alone", ask(clients.Credentials{ClientID: "secret-bot"}, ""), fault.InvalidClient, "client.none"},
		{"a workload token beside it", with(ask(clients.Credentials{}, ""), func(r *exchange.Request) {
			r.SubjectToken, r.SubjectTokenType = w.Workload("ap-bot"), jwt
		}), fault.InvalidClient, "client.none"},
		{"a subject token", with(ask(basic, ""), func(r *exchange.Request) {
			r.SubjectToken, r.SubjectTokenType = w.User("alice"), jwt
		}), fault.InvalidRequest, "request.as_itself"},
		{"a requested token type", with(ask(basic, ""), func(r *exchange.Request) {
			r.RequestedTokenType = exchange.TypeAccessToken
		}), fault.InvalidRequest, "request.as_itself"},
		{"an action that is for users alone", ask(basic, "payments:refunds.delete"), fault.InvalidScope, "policy.action"},
		{"no target", with(ask(basic, ""), func(r *exchange.Request) { r.Audiences = nil }),
			fault.InvalidTarget, "target.missing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if f := refused(t, w, row.request); f.Kind != row.kind || f.Reason != row.reason {
				t.Errorf("refused as %v %s, want %v %s", f.Kind, f.Reason, row.kind, row.reason)
			}
		})
	}
	w.Commit("acme", ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: "secret-bot"}, Keep: revoke.Keep,
		Disable: true}}})
	if f := refused(t, w, ask(basic, "")); f.Kind != fault.InvalidClient || f.Reason != "client.disabled" {
		t.Errorf("a disabled client is refused as %v %s", f.Kind, f.Reason)
	}
}
