package exchange_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
)

// TestIssuedTokens holds every claim of what is issued against what the request and the configuration say.
func TestIssuedTokens(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret, post := w.Secret("secret-bot"), w.Secret("post-bot")
	alone := map[string]any{"sub": "client:ap-bot", "client_id": "ap-bot", "sub_profile": "ai_agent", "aud": payments,
		"scope": "payments:refunds.read", "life": 120.0, "issuers": []any{"cluster"}}
	with := func(base map[string]any, changes ...any) map[string]any {
		all := map[string]any{}
		for k, v := range base {
			all[k] = v
		}
		for i := 0; i < len(changes); i += 2 {
			all[changes[i].(string)] = changes[i+1]
		}
		return all
	}
	actor := func(client string) map[string]any {
		return map[string]any{"iss": issuer, "sub": "client:" + client, "sub_profile": "ai_agent"}
	}
	svid := w.Mint(servertest.Mesh(), nil)
	own := func(r exchange.Request, c clients.Credentials) exchange.Request { r.Credentials = c; return r }
	as := func(client string) map[string]any { return with(alone, "sub", "client:"+client, "client_id", client) }
	for _, row := range []struct {
		name    string
		request exchange.Request
		want    map[string]any
	}{
		{"an agent as itself by its workload token alone", self(w.Workload("ap-bot")), alone},
		{"with its client_id beside it", own(self(w.Workload("ap-bot")), clients.Credentials{ClientID: "ap-bot"}), alone},
		{"by a JWT-SVID, which names no iss", self(svid), with(alone, "issuers", []any{"mesh"})},
		{"by a secret and its workload token",
			own(self(w.Workload("secret-bot")), servertest.Basic("secret-bot", secret)), as("secret-bot")},
		{"by a secret in the form", own(self(w.Workload("post-bot")), clients.Credentials{ClientID: "post-bot",
			Post: &clients.IDSecret{ID: "post-bot", Secret: post}}), as("post-bot")},
		{"by private_key_jwt", own(self(w.Workload("key-bot")), w.Assertion(nil)), as("key-bot")},
		{"by a workload token as jwt-bearer assertion, too", own(self(w.Workload("ap-bot")), clients.Credentials{
			AssertionType: clients.TypeJWTBearer, Assertion: w.Workload("ap-bot")}), alone},
		{"by a JWT-SVID as jwt-spiffe assertion and another workload token as subject", own(self(w.Workload("ap-bot")),
			clients.Credentials{AssertionType: clients.TypeJWTSPIFFE, Assertion: svid}),
			with(alone, "issuers", []any{"cluster", "mesh"})},
		{"for a user, proven by actor_token", onBehalf(w.User("alice"), w.Workload("ap-bot")),
			with(alone, "sub", "corp:alice", "sub_profile", nil, "act", actor("ap-bot"), "life", 300.0,
				"issuers", []any{"corp", "cluster"})},
		{"for a user, proven by a secret", own(exchange.Request{SubjectToken: w.User("alice"), SubjectTokenType: jwt,
			Resources: []string{payments}, Scope: "payments:refunds.read"}, servertest.Basic("secret-bot", secret)),
			with(as("secret-bot"), "sub", "corp:alice", "sub_profile", nil, "act", actor("secret-bot"), "life", 300.0,
				"issuers", []any{"corp"})},
		{"several actions, in any order and twice", withScope(self(w.Workload("ap-bot")),
			"payments:refunds.read payments:refunds.create payments:refunds.read"),
			with(alone, "scope", "payments:refunds.create payments:refunds.read")},
		{"the tool in other spellings of one resource",
			exchange.Request{SubjectToken: w.Workload("ap-bot"), SubjectTokenType: jwt,
				Resources: []string{payments, "HTTPS://TOOLS.example:443/payments"},
				Audiences: []string{"payments", payments}}, alone},
		{"a tool that knows bare words only, whose max_ttl is less than the policy's",
			exchange.Request{SubjectToken: w.Workload("ap-bot"), SubjectTokenType: jwt,
				Audiences: []string{"ledger"}, Scope: "read"},
			with(alone, "aud", "https://tools.example/ledger", "scope", "read", "life", 60.0)},
		{"a workload token that expires before the policy's lifetime", self(w.Mint(servertest.Cluster(), map[string]any{
			"sub": "system:serviceaccount:prod:ap-bot", "exp": w.Clock.Now().Unix() + 30})), with(alone, "life", 30.0)},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(w.Records("acme"))
			result := issue(t, w, row.request)
			got := members(t, result.Token)
			life := got["exp"].(float64) - got["iat"].(float64)
			if ahead := got["iat"].(float64) - float64(w.Clock.Now().Unix()); ahead > 0 || ahead < -2 {
				t.Errorf("iat is %v s ahead", ahead)
			}
			if result.ExpiresIn != time.Duration(life)*time.Second || result.Txn != got["txn"] || result.Scope != got["scope"] {
				t.Errorf("the result %+v does not say what the token says", result)
			}
			if len(got["jti"].(string)) < 32 {
				t.Errorf("jti %v has too few bits", got["jti"])
			}
			if want := row.want["life"]; life != want && !(want == 30.0 && life > 27 && life < 30) {
				t.Errorf("lives %v s, want %v", life, want)
			}
			lineage := map[string]any{"jti": []any{}, "clients": []any{}, "issuers": row.want["issuers"]}
			if agents := workloads(row.want); len(agents) > 0 {
				lineage["subjects"] = agents
			}
			want := map[string]any{"iss": issuer, "urn:bursar:lineage": lineage}
			for name, value := range row.want {
				if name != "issuers" && name != "life" && value != nil {
					want[name] = value
				}
			}
			jti, exp := got["jti"], got["exp"]
			for _, name := range []string{"iat", "exp", "jti", "txn"} {
				delete(got, name)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("claims\n got %v\nwant %v", got, want)
			}
			log := records(w, before)
			if len(log) != 1 || log[0].Body.Outcome != audit.Allowed || log[0].Txn != result.Txn ||
				log[0].Body.Token.JTI != jti ||
				float64(log[0].Body.Token.Expiry) != exp || len(log[0].Body.Policy.Rules) != 1 {
				t.Errorf("recorded as %+v", log)
			}
			if part := leaks(log, result.Token, row.request.SubjectToken, row.request.ActorToken, secret, post); part != "" {
				t.Errorf("the log holds %q", part)
			}
		})
	}
}

func withScope(r exchange.Request, scope string) exchange.Request { r.Scope = scope; return r }

// workloads are the identities of an agent that a token with the given claims rests on.
func workloads(claims map[string]any) (subjects []any) {
	for _, issuer := range claims["issuers"].([]any) {
		switch issuer {
		case "cluster":
			subjects = append(subjects, "cluster:system:serviceaccount:prod:"+claims["client_id"].(string))
		case "mesh":
			subjects = append(subjects, "mesh:spiffe://mesh.example/ns/prod/sa/ap-bot")
		}
	}
	return subjects
}

// TestRefusals: each refusal has its kind, one event with its reason, and says nothing of why a policy refused.
func TestRefusals(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.Create(servertest.Globex())
	secret, apiSecret := w.Secret("secret-bot"), w.Secret("payments-api")
	change := func(r exchange.Request, f func(*exchange.Request)) exchange.Request { f(&r); return r }
	creds := func(r exchange.Request, c clients.Credentials) exchange.Request { r.Credentials = c; return r }
	basic := servertest.Basic("secret-bot", secret)
	workload := func(account string) string { return w.Workload(account) }
	target := func(resources, audiences []string) exchange.Request {
		return change(self(workload("ap-bot")), func(r *exchange.Request) { r.Resources, r.Audiences = resources, audiences })
	}
	const flood = true // refusals of callers nobody knows are counted, not recorded one by one
	for _, row := range []struct {
		name    string
		request exchange.Request
		kind    fault.Kind
		reason  string
		flood   bool
	}{
		{"nothing at all", exchange.Request{}, fault.InvalidClient, "client.none", flood},
		{"a client_id alone",
			creds(exchange.Request{}, clients.Credentials{ClientID: "ap-bot"}), fault.InvalidClient, "client.none", flood},
		{"a wrong secret", creds(self(workload("secret-bot")), servertest.Basic("secret-bot", "x")),
			fault.InvalidClient, "client.secret", flood},
		{"an unknown client", creds(self(workload("secret-bot")), servertest.Basic("nobody", secret)),
			fault.InvalidClient, "client.unknown", flood},
		{"a secret by the wrong method", creds(self(workload("secret-bot")), clients.Credentials{ClientID: "secret-bot",
			Post: &clients.IDSecret{ID: "secret-bot", Secret: secret}}), fault.InvalidClient, "client.method", flood},
		{"a resource server", creds(self(workload("ap-bot")), servertest.Basic("payments-api", apiSecret)),
			fault.UnauthorizedClient, "client.grant", false},
		{"a secret and another agent's token (T-24)",
			creds(self(workload("ap-bot")), basic), fault.InvalidClient, "client.contradiction", false},
		{"a workload token and another client_id",
			creds(self(workload("ap-bot")), clients.Credentials{ClientID: "other-bot"}),
			fault.InvalidClient, "client.contradiction", flood},
		{"a workload token of a client that has a secret",
			self(workload("secret-bot")), fault.InvalidClient, "client.method", flood},
		{"an assertion and another agent's actor token (T-24)",
			creds(onBehalf(w.User("alice"), workload("other-bot")), clients.Credentials{
				AssertionType: clients.TypeJWTBearer, Assertion: workload("ap-bot")}),
			fault.InvalidClient, "client.contradiction", false},
		{"a service account that is no client", self(workload("nobody")), fault.InvalidRequest, "subject.unbound", flood},
		{"a user's token alone", self(w.User("alice")), fault.InvalidRequest, "subject.unbound", flood},
		{"a user's token as actor", onBehalf(w.User("alice"), w.User("bob")), fault.InvalidRequest, "actor.unbound", flood},
		{"garbage", self("garbage"), fault.InvalidRequest, "subject.not_canonical", flood},
		{"an expired token", self(w.Mint(servertest.Cluster(), map[string]any{"sub": "system:serviceaccount:prod:ap-bot",
			"exp": w.Clock.Now().Unix() - 1})), fault.InvalidRequest, "subject.expired", flood},
		{"a token for another tenant",
			self(w.Mint(servertest.Cluster(), map[string]any{
				"sub": "system:serviceaccount:prod:ap-bot", "aud": servertest.BaseURL + "/t/globex"})),
			fault.InvalidRequest, "subject.audience", flood},
		{"an expired token of a known client",
			creds(self(w.Mint(servertest.Cluster(), map[string]any{"exp": w.Clock.Now().Unix() - 1})), basic),
			fault.InvalidRequest, "subject.expired", false},
		{"actor and subject of one agent",
			onBehalf(workload("ap-bot"), workload("ap-bot")), fault.InvalidRequest, "subject.is_actor", false},
		{"one token as actor and subject", func() exchange.Request { x := workload("ap-bot"); return onBehalf(x, x) }(),
			fault.InvalidRequest, "subject.is_actor", false},
		{"somebody whose issuer is not for subjects",
			onBehalf(workload("nobody"), workload("ap-bot")), fault.InvalidRequest, "subject.use", false},
		{"a subject that restricts its actors", onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice",
			"may_act": map[string]any{"sub": "client:ap-bot"}}), workload("ap-bot")),
			fault.InvalidRequest, "subject.may_act", false},
		{"an empty may_act", onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "may_act": map[string]any{}}),
			workload("ap-bot")), fault.InvalidRequest, "subject.may_act", false},
		{"an actor chain of others", onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice",
			"act": map[string]any{"sub": "x"}}), workload("ap-bot")), fault.InvalidRequest, "subject.act", false},
		{"an agent without a policy to act for anybody",
			onBehalf(w.User("alice"), workload("other-bot")), fault.InvalidTarget, "policy.no_rule", false},
		{"a subject that the policy does not name",
			change(onBehalf(w.User("alice"), workload("ap-bot")), func(r *exchange.Request) {
				r.Audiences, r.Scope = []string{"ledger"}, "read"
			}), fault.InvalidRequest, "policy.on_behalf_of", false},
		{"no target", target(nil, nil), fault.InvalidTarget, "target.missing", false},
		{"two targets", target([]string{payments}, []string{"ledger"}), fault.InvalidTarget, "target.several", false},
		{"an unknown target",
			target([]string{"https://tools.example/nothing"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"another tenant's target",
			target([]string{"https://tools.globex.example/payments"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a name as resource", target([]string{"payments"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a child of a resource", target([]string{payments + "/x"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a resource with a trailing slash",
			target([]string{payments + "/"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a resource with a fragment", target([]string{payments + "#"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a resource with user info",
			target([]string{"https://a@tools.example/payments"}, nil), fault.InvalidTarget, "target.unknown", false},
		{"a tool that is switched off", target(nil, []string{"attic"}), fault.InvalidTarget, "target.unknown", false},
		{"a tool without a rule", self(workload("other-bot")), fault.InvalidTarget, "policy.no_rule", false},
		{"a condition that does not hold",
			change(target(nil, []string{"mail"}), func(r *exchange.Request) { r.Scope = "mail:send" }),
			fault.InvalidTarget, "policy.condition", false},
		{"no scope where there is no default",
			target(nil, []string{"ledger"}), fault.InvalidScope, "policy.no_default", false},
		{"one action of two allowed", withScope(self(workload("ap-bot")), "payments:refunds.read payments:refunds.delete"),
			fault.InvalidScope, "policy.action", false},
		{"an unknown action",
			withScope(self(workload("ap-bot")), "payments:refunds.burn"), fault.InvalidScope, "scope.unknown", false},
		{"another tool's scope",
			withScope(self(workload("ap-bot")), "ledger:read"), fault.InvalidScope, "scope.unknown", false},
		{"a bare word where scopes are qualified",
			withScope(self(workload("ap-bot")), "refunds.read"), fault.InvalidScope, "scope.unknown", false},
		{"another case",
			withScope(self(workload("ap-bot")), "payments:Refunds.read"), fault.InvalidScope, "scope.unknown", false},
		{"two spaces", withScope(self(workload("ap-bot")), "payments:refunds.read  payments:refunds.create"),
			fault.InvalidScope, "scope.malformed", false},
		{"1,000 scopes", withScope(self(workload("ap-bot")), strings.Repeat("payments:refunds.read ", 999)+"x"),
			fault.InvalidScope, "scope.malformed", false},
		{"authorization_details",
			change(creds(self(workload("secret-bot")), basic), func(r *exchange.Request) { r.AuthorizationDetails = true }),
			fault.InvalidRequest, "request.authorization_details", false},
		{"a DPoP header", change(creds(self(workload("secret-bot")), basic), func(r *exchange.Request) { r.Proof = true }),
			fault.InvalidRequest, "request.dpop", false},
		{"no subject token",
			creds(exchange.Request{SubjectTokenType: jwt}, basic), fault.InvalidRequest, "request.subject_token", false},
		{"no subject token but an actor token", exchange.Request{ActorToken: workload("ap-bot"), ActorTokenType: jwt},
			fault.InvalidRequest, "request.subject_token", flood},
		{"an actor token without its type",
			change(onBehalf(w.User("a"), workload("ap-bot")), func(r *exchange.Request) { r.ActorTokenType = "" }),
			fault.InvalidRequest, "request.actor_token_type", flood},
		{"an actor type without a token",
			change(creds(self(workload("secret-bot")), basic), func(r *exchange.Request) { r.ActorTokenType = jwt }),
			fault.InvalidRequest, "request.actor_token", false},
		{"a requested refresh token", change(creds(self(workload("secret-bot")), basic), func(r *exchange.Request) {
			r.RequestedTokenType = "urn:ietf:params:oauth:token-type:refresh_token"
		}), fault.InvalidRequest, "request.requested_token_type", false},
		{"somebody else's token that is said to be one of ours",
			change(creds(self(workload("secret-bot")), basic), func(r *exchange.Request) {
				r.SubjectTokenType = exchange.TypeAccessToken
			}), fault.InvalidRequest, "subject.own", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := len(w.Records("acme"))
			f := refused(t, w, row.request)
			if f.Kind != row.kind || f.Reason != row.reason {
				t.Fatalf("refused as %v %s, want %v %s", f.Kind, f.Reason, row.kind, row.reason)
			}
			const opaque = "The policy does not allow this; an operator can look up the decision by its id."
			if strings.HasPrefix(f.Reason, "policy.") && f.Public != opaque {
				t.Errorf("a refusal by policy says %q", f.Public)
			}
			var log []servertest.Record
			for _, r := range records(w, before) { // the log adds up what is counted on its own time
				if r.Name == audit.TokenExchange {
					log = append(log, r)
				}
			}
			switch {
			case row.flood && (len(log) != 0 || f.DecisionID != ""):
				t.Errorf("a stranger's refusal was recorded by itself: %+v", log)
			case row.flood:
			case len(log) != 1 || log[0].Body.Outcome != audit.Denied || log[0].Body.Reason != row.reason ||
				log[0].Body.DecisionID != f.DecisionID || f.DecisionID == "" || log[0].Body.ClientID == "":
				t.Errorf("recorded as %+v", log)
			}
			if part := leaks(log, row.request.SubjectToken, row.request.ActorToken, secret); part != "" {
				t.Errorf("the log holds %q", part)
			}
		})
	}
	counted := map[string]int64{}
	_ = w.Log.Close(t.Context())
	for _, r := range w.Records("acme") {
		if r.Name == audit.DenyFlood {
			counted[r.Body.Reason] += r.Body.Count
		}
	}
	for reason, want := range map[string]int64{
		"client.none": 2, "subject.unbound": 2, "client.method": 2, "subject.expired": 1,
	} {
		if counted[reason] != want {
			t.Errorf("%d refusals were counted as %s, want %d", counted[reason], reason, want)
		}
	}
}

func TestAnUnknownTenantIsNotFound(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	for _, slug := range []string{"nobody", "", "ACME", "acme/x", "acme%2f", "ｅ", strings.Repeat("a", 1000)} {
		_, err := run(t.Context(), w.Exchanger, slug, self(w.Workload("ap-bot")))
		if fault.As(err).Kind != fault.NotFound {
			t.Errorf("%q: %v", slug, err)
		}
	}
}

// The tenant is the URL's alone: what a tenant issued or accepts is worth nothing at another.
func TestTenantsShareNothing(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.Create(servertest.Globex())
	mine := w.Workload("ap-bot")
	if _, err := run(t.Context(), w.Exchanger, "globex", self(mine)); fault.As(err).Reason != "subject.audience" {
		t.Errorf("a token for acme at globex: %v", err)
	}
	issued := issue(t, w, self(mine)).Token
	api := w.SecretOf("globex", "payments-api")
	ask := exchange.Question{Credentials: servertest.Basic("payments-api", api), Token: issued}
	if claims, err := w.Exchanger.Introspect(t.Context(), "globex", ask); claims != nil || err != nil {
		t.Errorf("globex says of a token of acme: %v, %v", claims, err)
	}
	if err := w.Exchanger.Revoke(t.Context(), "globex", ask); err != nil {
		t.Errorf("a token of acme is unknown at globex, and revoking it: %v", err)
	}
	ask.Credentials = servertest.Basic("payments-api", api)
	if _, err := w.Exchanger.Introspect(t.Context(), "acme", ask); fault.As(err).Kind != fault.InvalidClient {
		t.Errorf("a client of globex at acme: %v", err)
	}
	if claims, err := owner(w, w.Secret("payments-api"), issued); claims == nil || err != nil {
		t.Errorf("the token is not active at home any more: %v", err)
	}
}
