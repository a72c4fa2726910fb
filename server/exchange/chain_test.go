package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// TestNoChainOfExchangesWidensAnything (T-39, T-40) draws policies, and chains of exchanges under them: an agent
// begins, as itself or for somebody, and whoever then trades in whose token asks for whatever. Whatever is issued is
// held against its parent and against the policies, read here in another way than the server does: its tool, actions,
// subject, run, actors, lineage and expiry are never wider than both.
func TestNoChainOfExchangesWidensAnything(t *testing.T) {
	configs, chains := 5, 100
	if storagetest.Full() {
		configs, chains = 40, 250
	}
	w := servertest.New(t, servertest.Options{})
	w.Create(chainFile(nil))
	w.Create(strings.ReplaceAll(servertest.Globex(), "refunds.read", "read"))
	theirs, err := run(t.Context(), w.Exchanger, "globex", exchange.Request{SubjectTokenType: jwt,
		Audiences: []string{"payments"}, Scope: "payments:read",
		SubjectToken: w.Mint(servertest.Cluster(), map[string]any{"sub": "system:serviceaccount:prod:ap-bot",
			"aud": servertest.BaseURL + "/t/globex"})})
	if err != nil {
		t.Fatal(err)
	}
	seen := new(tally)
	for seed := range configs {
		rnd := rand.New(rand.NewPCG(uint64(seed), 8693))
		c := &chainWorld{World: w, t: t, seen: seen, rules: drawRules(rnd), theirs: theirs.Token, seed: seed}
		w.Apply(chainFile(c.rules), true)
		c.parties()
		if _, err := w.Directory.Fresh(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for worker := range 64 {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(seed), uint64(worker)))
				for i := worker; i < chains && !t.Failed(); i += 64 {
					c.chain(rnd)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			t.Fatalf("with the policies of seed %d:\n%s", seed, chainFile(c.rules))
		}
	}
	seen.check(t)
}

// chainRule is a policy as the chains have them.
type chainRule struct {
	clients, delegates, actions, defaults, from []string
	tool                                        string
	users                                       bool // on behalf of corp's
	ttl                                         int  // seconds
}

var (
	chainTools = map[string][]string{"payments": {"read", "create", "close"}, "ledger": {"look", "book"},
		"mail": {"send", "list"}}
	chainNames   = []string{"ledger", "mail", "payments"}
	chainAgents  = []string{"ap-bot", "other-bot", "secret-bot"}
	chainClients = []string{"ap-bot", "other-bot", "secret-bot", "payments-api"}
)

func some[T any](r *rand.Rand, all []T, least int) []T {
	picked := slices.Clone(all)
	r.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
	return picked[:least+r.IntN(len(all)-least+1)]
}

func one[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func drawRules(r *rand.Rand) []chainRule {
	rules := make([]chainRule, 10)
	for i := range rules {
		x := chainRule{tool: one(r, chainNames), clients: some(r, chainClients, 1), ttl: 1 + r.IntN(900),
			users: r.IntN(2) == 0}
		x.actions = some(r, chainTools[x.tool], 1)
		x.defaults = some(r, x.actions, 0)
		if r.IntN(3) > 0 {
			x.delegates = some(r, chainClients, 1)
		}
		if r.IntN(3) == 0 {
			for _, tool := range chainNames {
				if tool != x.tool {
					x.from = append(x.from, tool+":"+one(r, chainTools[tool]))
				}
			}
			x.from = some(r, x.from, 1)
		}
		rules[i] = x
	}
	return rules
}

// chainFile is the tenant's file with the given rules.
func chainFile(rules []chainRule) string {
	file := servertest.Acme("use: [subject]", "use: [subject], accept_act: true",
		"actions: [refunds.read, refunds.create, refunds.delete]", "actions: [read, create, close]",
		"actions: [read, write], scope_format: bare, max_ttl: 1m", "actions: [look, book], scope_format: bare, max_ttl: 3m",
		"actions: [send]}", "actions: [send, list]}")
	file, _, _ = strings.Cut(file, "\npolicies:")
	file += "\npolicies:\n  - {id: none, clients: [post-bot], tool: attic, actions: [open]}\n"
	list := func(name string, all []string) string {
		if len(all) == 0 {
			return ""
		}
		return fmt.Sprintf(", %s: [%q]", name, strings.Join(all, `", "`))
	}
	for i, x := range rules {
		users := ""
		if x.users {
			users = `, on_behalf_of: [{issuer: corp, subject_glob: "*"}]`
		}
		file += strings.ReplaceAll(fmt.Sprintf("  - {id: rule%d, tool: %s, ttl: %ds%s%s%s%s%s%s}\n", i, x.tool, x.ttl,
			list("clients", x.clients), list("delegates", x.delegates), list("actions", x.actions),
			list("default_actions", x.defaults), list("from", x.from), users), `\"`, `"`)
	}
	return file
}

// chainWorld is the tenant under one set of rules.
type chainWorld struct {
	*servertest.World
	t      *testing.T
	seen   *tally
	rules  []chainRule
	theirs string // a token of another tenant
	seed   int

	credentials map[string]clients.Credentials // of those that have a secret
	workloads   map[string][]string            // tokens of those that do not
	users       []start
}

// start is a token of somebody whom an agent acts for.
type start struct {
	compact, sub string
	actors       []string // who acts already
	only         string   // the one agent who may act; "" for any
}

// hop is an issued token.
type hop struct {
	compact string
	token.Claims
	tool    string
	actions []string
}

// tally counts what was issued, so that a test of nothing fails.
type tally struct {
	sync.Mutex
	chains, issued, refused, delegated, across, narrowed, users int
	deepest                                                     int
}

func (s *tally) check(t *testing.T) {
	t.Logf("%+v", struct{ chains, issued, refused, delegated, across, narrowed, users, deepest int }{s.chains, s.issued,
		s.refused, s.delegated, s.across, s.narrowed, s.users, s.deepest})
	if least := s.chains / 100; s.issued < s.chains/2 || s.refused < s.chains || s.delegated < least || s.across < least ||
		s.narrowed < least || s.users < least || s.deepest < 4 {
		t.Error("the chains hardly tested anything")
	}
}

func (c *chainWorld) parties() {
	c.credentials, c.workloads, c.users = map[string]clients.Credentials{}, map[string][]string{}, nil
	for _, id := range []string{"secret-bot", "payments-api"} {
		c.credentials[id] = servertest.Basic(id, c.Secret(id))
	}
	now := c.Clock.Now().Unix()
	for _, id := range []string{"ap-bot", "other-bot"} {
		for _, life := range []int64{40, 100, 3600} {
			c.workloads[id] = append(c.workloads[id], c.Mint(servertest.Cluster(), map[string]any{
				"sub": "system:serviceaccount:prod:" + id, "exp": now + life}))
		}
	}
	add := func(sub string, life int64, only string, actors ...string) {
		claims := map[string]any{"sub": sub, "exp": now + life}
		for _, a := range slices.Backward(actors) {
			act := map[string]any{"sub": a}
			if before, ok := claims["act"]; ok {
				act["act"] = before
			}
			claims["act"] = act
		}
		if only != "" {
			claims["may_act"] = map[string]any{"iss": issuer, "sub": "client:" + only}
		}
		c.users = append(c.users, start{c.Mint(servertest.Corp(), claims), "corp:" + sub, actors, only})
	}
	add("alice", 3600, "")
	add("bob", 50, "")
	add("carol", 3600, "other-bot")
	add("dave", 3600, "", "portal")
	add("erin", 3600, "", "portal", "app")
}

// present adds what proves the client.
func (c *chainWorld) present(rnd *rand.Rand, r *exchange.Request, client string) (expiry int64) {
	if credentials, ok := c.credentials[client]; ok {
		r.Credentials = credentials
		return 1 << 40
	}
	compact := one(rnd, c.workloads[client])
	if rnd.IntN(2) == 0 {
		r.ActorToken, r.ActorTokenType = compact, jwt
	} else {
		r.Credentials = clients.Credentials{AssertionType: clients.TypeJWTBearer, Assertion: compact}
	}
	return c.expiry(compact)
}

func (c *chainWorld) expiry(compact string) int64 {
	exp, _ := members(c.t, compact)["exp"].(float64)
	return int64(exp)
}

// ask draws a tool, mostly the given one, and actions there: likely ones, if there are any, but for once in a while.
func (c *chainWorld) ask(rnd *rand.Rand, r *exchange.Request, tool string, likely ...string) (string, []string) {
	var asked []string
	if len(likely) > 0 && rnd.IntN(5) > 0 {
		asked = some(rnd, likely, 1)
	} else {
		if tool == "" || rnd.IntN(2) == 0 {
			tool = one(rnd, chainNames)
		}
		asked = some(rnd, chainTools[tool], 0)
	}
	var words []string
	for _, a := range asked {
		if tool != "ledger" {
			a = tool + ":" + a
		}
		words = append(words, a)
	}
	r.Audiences, r.Scope = []string{tool}, strings.Join(words, " ")
	return tool, asked
}

// chain begins a run and passes it on until it is refused three times.
func (c *chainWorld) chain(rnd *rand.Rand) {
	c.seen.Lock()
	c.seen.chains++
	c.seen.Unlock()
	var last *hop
	for range 6 {
		if last = c.begin(rnd); last != nil {
			break
		}
	}
	refusals := 0
	for hops := 0; last != nil && refusals < 3 && hops < 3*token.MaxHops; hops++ {
		if next := c.pass(rnd, last); next != nil {
			last, refusals = next, 0
		} else {
			refusals++
		}
	}
}

// begin is an agent's first exchange of a run.
func (c *chainWorld) begin(rnd *rand.Rand) *hop {
	client := one(rnd, chainAgents)
	want := expected{client: client, sub: "client:" + client, expiry: 1 << 40}
	var r exchange.Request
	secret := c.credentials[client].Basic != nil
	switch {
	case rnd.IntN(2) == 0:
		user := one(rnd, c.users)
		r.SubjectToken, r.SubjectTokenType = user.compact, jwt
		want.expiry = min(c.present(rnd, &r, client), c.expiry(user.compact))
		want.sub, want.chain = user.sub, append([]string{"client:" + client}, user.actors...)
		want.refused = user.only != "" && user.only != client
	case secret:
		r.AsItself, r.Credentials = true, c.credentials[client]
	default:
		r.SubjectToken, r.SubjectTokenType = one(rnd, c.workloads[client]), jwt
		want.expiry = c.expiry(r.SubjectToken)
	}
	want.tool, want.asked = c.ask(rnd, &r, "")
	return c.judge(&r, want)
}

// pass is one more exchange, by anybody, of a token that was issued.
func (c *chainWorld) pass(rnd *rand.Rand, last *hop) *hop {
	client, likely := one(rnd, chainClients), []string(nil)
	if rnd.IntN(5) > 0 { // one that may, mostly, so that chains become long
		for range 20 {
			allowed, _ := c.allows(expected{client: client, tool: last.tool, parent: last, sub: last.Subject})
			likely = slices.DeleteFunc(slices.Clone(last.actions), func(a string) bool { return !slices.Contains(allowed, a) })
			if len(likely) > 0 {
				break
			}
			client = one(rnd, chainClients)
		}
	}
	r := exchange.Request{SubjectToken: last.compact, SubjectTokenType: exchange.TypeAccessToken}
	want := expected{client: client, parent: last, sub: last.Subject, chain: actors(last.Claims)}
	if client != last.ClientID {
		want.chain = append([]string{"client:" + client}, want.chain...)
	}
	want.expiry = min(c.present(rnd, &r, client), last.Expiry)
	want.tool, want.asked = c.ask(rnd, &r, last.tool, likely...)
	if rnd.IntN(20) == 0 {
		r.SubjectToken, want.refused = c.theirs, true
	}
	return c.judge(&r, want)
}

// expected is what an issued token must be within.
type expected struct {
	client, sub, tool string
	asked             []string
	chain             []string // of actors
	expiry            int64
	parent            *hop
	refused           bool // in any case
}

// judge makes a request, and holds what is issued against everything that it must be within.
func (c *chainWorld) judge(r *exchange.Request, want expected) *hop {
	result, err := run(c.t.Context(), c.Exchanger, "acme", *r)
	c.seen.Lock()
	defer c.seen.Unlock()
	if err != nil {
		c.seen.refused++
		return nil
	}
	c.seen.issued++
	got := hop{compact: result.Token, Claims: claimsOf(c.t, result.Token), tool: want.tool}
	for word := range strings.FieldsSeq(got.Scope) {
		got.actions = append(got.actions, word[strings.Index(word, ":")+1:])
	}
	allowed, ttl := c.allows(want)
	fail := func(what string) {
		c.t.Errorf("seed %d: %s: asked %+v\nissued %+v by %q\nof %+v", c.seed, what, want, got.Claims, actors(got.Claims),
			want.parent)
	}
	switch life := got.Expiry - got.IssuedAt; {
	case want.refused:
		fail("something was issued")
	case got.Issuer != issuer || got.Audience != "https://tools.example/"+want.tool || got.ClientID != want.client:
		fail("tenant, tool or client")
	case len(got.actions) == 0 || !within(got.actions, allowed) || len(want.asked) > 0 && !within(got.actions, want.asked):
		fail(fmt.Sprintf("actions beyond %q", allowed))
	case got.Expiry > want.expiry || life > int64(ttl) || life > 900 || life <= 0 || want.tool == "ledger" && life > 180:
		fail(fmt.Sprintf("expiry beyond %d, or %d s", want.expiry, ttl))
	case got.Subject != want.sub:
		fail("subject")
	case !slices.Equal(actors(got.Claims), want.chain) || len(want.chain) > token.MaxActors:
		fail(fmt.Sprintf("actors are not %q", want.chain))
	}
	if p := want.parent; p != nil {
		c.inherit(fail, got, p)
	}
	if strings.HasPrefix(got.Subject, "corp:") {
		c.seen.users++
	}
	c.seen.deepest = max(c.seen.deepest, len(got.Lineage.JTI))
	return &got
}

// inherit holds a token against the one that it descends from.
func (c *chainWorld) inherit(fail func(string), got hop, p *hop) {
	switch l, before := got.Lineage, p.Lineage; {
	case got.Txn != p.Txn:
		fail("run")
	case !slices.Equal(l.JTI, append([]string{p.ID}, before.JTI...)) || len(l.JTI) > token.MaxHops:
		fail("ancestors")
	case !slices.Contains(l.Clients, p.ClientID) || !within(before.Clients, l.Clients) ||
		!within(before.Issuers, l.Issuers) || !within(before.Subjects, l.Subjects):
		fail("lineage")
	case got.tool == p.tool && !within(got.actions, p.actions):
		fail("actions beyond the parent's")
	}
	if got.ClientID != p.ClientID {
		c.seen.delegated++
	}
	if got.tool != p.tool {
		c.seen.across++
	} else if len(got.actions) < len(p.actions) {
		c.seen.narrowed++
	}
}

// allows returns every action that some rule allows in such a request, and the longest life that one gives.
func (c *chainWorld) allows(e expected) (actions []string, ttl int) {
	for _, x := range c.rules {
		if x.tool != e.tool || x.users != strings.HasPrefix(e.sub, "corp:") || !x.admits(e) {
			continue
		}
		actions, ttl = append(actions, x.actions...), max(ttl, x.ttl)
	}
	return actions, ttl
}

func (x chainRule) admits(e expected) bool {
	p := e.parent
	if p == nil {
		return slices.Contains(x.clients, e.client) && x.from == nil
	}
	holder := p.ClientID == e.client || e.client == "payments-api" && p.tool == "payments"
	theirs := slices.Contains(slices.Concat(x.clients, x.delegates), p.ClientID)
	if !(holder && slices.Contains(x.clients, e.client)) && !(theirs && slices.Contains(x.delegates, e.client)) {
		return false
	}
	if p.tool == x.tool {
		return x.from == nil
	}
	return slices.ContainsFunc(p.actions, func(a string) bool { return slices.Contains(x.from, p.tool+":"+a) })
}

// within reports whether all of a is in b.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
