package exchange_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/tools"
)

// TestNothingIsWiderThanItsInputs draws policies, tools, presented tokens and requests, and holds each issued token
// against all of them: its scope is what was asked for and within policy and tool, it ends with the first of its
// inputs, and it is for one tool of its tenant.
func TestNothingIsWiderThanItsInputs(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	actions := []string{"a.read", "a.write", "b", "c"}
	issued := 0
	rapid.Check(t, func(r *rapid.T) {
		tool := tools.Tool{Name: "payments", Resource: payments, Actions: subset(r, "tool", actions, 1),
			MaxTTL: scopes.Duration(time.Duration(rapid.IntRange(0, 900).Draw(r, "max_ttl")) * time.Second)}
		if rapid.Bool().Draw(r, "bare") {
			tool.ScopeFormat = "bare"
		}
		allowed, ttl := map[string]bool{}, time.Hour
		behalf := rapid.Bool().Draw(r, "behalf")
		change := ledger.Change{Put: []ledger.Row{row(tenant.KindTool, tool.Name, tool)}}
		defaults := []string{}
		for i := range 3 {
			rule := policy.Rule{
				ID:      fmt.Sprintf("rule%d", i),
				Clients: []string{rapid.SampledFrom([]string{"ap-bot", "other-bot"}).Draw(r, "client")},
				Tool:    "payments",
				Actions: subset(r, "rule", tool.Actions, 1),
				TTL:     scopes.Duration(time.Duration(rapid.IntRange(1, 900).Draw(r, "ttl")) * time.Second),
			}
			rule.DefaultActions = subset(r, "defaults", rule.Actions, 0)
			if rapid.Bool().Draw(r, "for users") {
				glob := rapid.SampledFrom([]string{"*", "alice", "bob*"}).Draw(r, "glob")
				rule.OnBehalfOf = []policy.Match{{Issuer: "corp", SubjectGlob: glob}}
			}
			applies := rule.Clients[0] == "ap-bot" && behalf == (len(rule.OnBehalfOf) > 0) &&
				(!behalf || policy.Glob(rule.OnBehalfOf[0].SubjectGlob, "alice"))
			for _, action := range rule.Actions {
				allowed[action] = allowed[action] || applies
			}
			if applies {
				defaults = append(defaults, rule.DefaultActions...)
				ttl = min(ttl, time.Duration(rule.TTL)) // at least the widest possible bound is checked below
			}
			change.Put = append(change.Put, row(tenant.KindPolicy, rule.ID, rule))
		}
		configure(w, change)

		now := w.Clock.Now()
		lives := []int64{rapid.Int64Range(60, 1200).Draw(r, "actor life"), rapid.Int64Range(60, 1200).Draw(r, "subject life")}
		actor := w.Mint(servertest.Cluster(), map[string]any{
			"sub": "system:serviceaccount:prod:ap-bot", "exp": now.Unix() + lives[0]})
		request := self(actor)
		latest := now.Unix() + lives[0]
		if behalf {
			request = onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "exp": now.Unix() + lives[1]}), actor)
			latest = min(latest, now.Unix()+lives[1])
		}
		asked := subset(r, "asked", append(actions, "d"), 0)
		request.Scope = words(tool, asked)

		result, err := run(t.Context(), w.Exchanger, "acme", request)
		want := len(asked) > 0 || len(defaults) > 0
		for _, action := range asked {
			want = want && allowed[action] && slices.Contains(tool.Actions, action)
		}
		if want != (err == nil) {
			r.Fatalf("asked for %q: %v", request.Scope, err)
		}
		if err != nil {
			return
		}
		issued++
		c := claimsOf(t, result.Token)
		granted := strings.Fields(c.Scope)
		if len(asked) == 0 {
			asked = defaults
		}
		slices.Sort(asked)
		wanted := strings.Fields(words(tool, slices.Compact(asked)))
		if !slices.Equal(slices.Sorted(slices.Values(granted)), wanted) {
			r.Fatalf("asked for %q, granted %q", asked, granted)
		}
		life := time.Duration(c.Expiry-c.IssuedAt) * time.Second
		switch {
		case c.Expiry > latest, life > tool.TTL(), life > token.MaxLife, life <= 0:
			r.Fatalf("lives %v until %d; inputs end at %d, the tool allows %v", life, c.Expiry, latest, tool.TTL())
		case life < ttl && life < tool.TTL() && c.Expiry < latest:
			r.Fatalf("lives %v, less than everything allows", life)
		case c.Audience != payments || c.Issuer != issuer || c.ClientID != "ap-bot":
			r.Fatalf("issued %+v", c)
		case behalf != (c.Act != nil) || behalf != (c.Subject == "corp:alice"):
			r.Fatalf("issued %+v", c)
		}
	})
	if issued == 0 {
		t.Error("nothing was ever issued")
	}
}

func subset(r *rapid.T, label string, all []string, least int) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), least, len(all), rapid.ID).Draw(r, label)
}

func words(tool tools.Tool, actions []string) string {
	var all []string
	for _, action := range actions {
		if tool.ScopeFormat != "bare" {
			action = tool.Name + ":" + action
		}
		all = append(all, action)
	}
	return strings.Join(all, " ")
}

func row(kind, id string, object any) ledger.Row {
	value, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return ledger.Row{Kind: kind, ID: id, Value: value}
}

// configure makes a change and drops the other rules about payments.
func configure(w *servertest.World, c ledger.Change) {
	w.T.Helper()
	v, err := w.Directory.Fresh(w.T.Context(), "acme")
	if err != nil {
		w.T.Fatal(err)
	}
	for _, id := range []string{"payments-self", "payments-for"} {
		if _, ok := v.Row(tenant.KindPolicy, id); ok {
			c.Delete = append(c.Delete, ledger.Key{Kind: tenant.KindPolicy, ID: id})
		}
	}
	c.Expect = v.Revision
	w.Commit("acme", c)
	// A token of the configuration before may be released if it is narrower than one of this; here it must be exact.
	if _, err := w.Directory.Fresh(w.T.Context(), "acme"); err != nil {
		w.T.Fatal(err)
	}
}
