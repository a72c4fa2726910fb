package policy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
)

func TestDecideAsTheCasesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d cases: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rules []policy.Rule
			var request policy.Request
			var want struct {
				Allowed bool
				Actions []string
				TTL     scopes.Duration
				Rules   []string
				Denial  policy.Denial
			}
			for _, f := range a.Files {
				switch f.Name {
				case "policies.json":
					decode(t, f.Data, &rules)
				case "request.json":
					request = decodeRequest(t, f.Data)
				case "decision.json":
					decode(t, f.Data, &want)
				default:
					t.Fatalf("unknown part %q", f.Name)
				}
			}
			got := compile(t, rules...).Decide(t.Context(), request)
			if len(got.Revision) != 64 {
				t.Errorf("revision %q", got.Revision)
			}
			got.Revision, got.Considered = "", nil
			expected := policy.Decision{Allowed: want.Allowed, Actions: want.Actions,
				TTL: time.Duration(want.TTL), Rules: want.Rules, Denial: want.Denial}
			if !reflect.DeepEqual(got, expected) {
				t.Errorf("%sgot  %+v\nwant %+v", a.Comment, got, expected)
			}
		})
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func decodeRequest(t *testing.T, text []byte) policy.Request {
	t.Helper()
	var r struct {
		Subject, Actor policy.Identity
		Client         string
		OnBehalf       bool `json:"on_behalf"`
		Parent         *struct {
			Client, Tool string
			Owned        bool
			Actions      []string
		}
		Tool    string
		Actions []string
		Run     string
		Depth   int
		Time    time.Time
		IP      netip.Addr
	}
	decode(t, text, &r)
	request := policy.Request{Subject: r.Subject, Actor: r.Actor, Client: r.Client, OnBehalf: r.OnBehalf, Tool: r.Tool,
		Actions: r.Actions, Run: r.Run, Depth: r.Depth, Time: r.Time, IP: r.IP}
	if p := r.Parent; p != nil {
		request.Parent = &policy.Parent{Client: p.Client, Tool: p.Tool, Owned: p.Owned,
			Scope: scopes.Actions(p.Tool, p.Actions...)}
	}
	return request
}

func compile(t interface {
	Helper()
	Fatalf(string, ...any)
}, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	p, wrong := policy.Compile(rules, nil)
	if wrong != nil {
		t.Fatalf("compile: %q", wrong)
	}
	return p
}

func TestNothingIsAllowedByNothing(t *testing.T) {
	var zero policy.Decision
	if zero.Allowed || zero.TTL != 0 {
		t.Error("the zero Decision allows")
	}
	var none *policy.Policy
	for _, p := range []*policy.Policy{none, {}, compile(t)} {
		for _, actions := range [][]string{nil, {}, {""}, {"refunds.read"}} {
			if d := p.Decide(t.Context(), policy.Request{Actions: actions}); d.Allowed || d.Denial != policy.NoRule {
				t.Errorf("%+v", d)
			}
		}
	}
}

func TestWhatARequestLacksIsAbsent(t *testing.T) {
	full := policy.Request{
		Client: "ap-bot", Tool: "payments", Actions: []string{"read"}, Run: "r-1", Depth: 1,
		Subject: policy.Identity{Issuer: "corp-sso", Subject: "ann", Claims: map[string]any{"a": "b"}},
		Actor:   policy.Identity{Issuer: "ci", Subject: "bot", Claims: map[string]any{"a": "b"}},
		Time:    time.Date(2026, 11, 20, 23, 30, 0, 0, time.FixedZone("", -3600)), IP: netip.MustParseAddr("2001:db8::1"),
	}
	for condition, lack := range map[string]func(*policy.Request){
		`subject.iss != "x"`:       func(r *policy.Request) { r.Subject.Issuer = "" },
		`subject.sub != "x"`:       func(r *policy.Request) { r.Subject.Subject = "" },
		`subject.claims.a != "x"`:  func(r *policy.Request) { r.Subject.Claims = nil },
		`actor.iss != "x"`:         func(r *policy.Request) { r.Actor.Issuer = "" },
		`actor.sub != "x"`:         func(r *policy.Request) { r.Actor.Subject = "" },
		`actor.claims["a"] != "x"`: func(r *policy.Request) { r.Actor.Claims = nil },
		`run != "x"`:               func(r *policy.Request) { r.Run = "" },
		`request.ip != "x"`:        func(r *policy.Request) { r.IP = netip.Addr{} },
		`request.hour_utc < 24`:    func(r *policy.Request) { r.Time = time.Time{} },
		`request.time < timestamp("2030-01-01T00:00:00Z")`: func(r *policy.Request) { r.Time = time.Time{} },
		`request.hour_utc == 0 && string(request.time) == "2026-11-21T00:30:00Z" && actor.client == client.id &&
			tool == "payments" && depth == 1 &&
			client.id == "ap-bot" && actions == ["read"]`: func(r *policy.Request) { r.Depth = 0 },
	} {
		p := compile(t, policy.Rule{ID: "r", Clients: []string{"ap-bot"}, Tool: "payments",
			Actions: []string{"read"}, Condition: condition})
		if d := p.Decide(t.Context(), full); !d.Allowed {
			t.Errorf("%s: refused a request that has it: %+v", condition, d)
		}
		lacking := full
		lack(&lacking)
		if d := p.Decide(t.Context(), lacking); d.Denial != policy.NotCondition {
			t.Errorf("%s: allowed a request that lacks it: %+v", condition, d)
		}
	}
}

// The generators draw from few names, so that rules and requests meet often.
var (
	actions    = rapid.SampledFrom([]string{"a", "b", "c", "d"})
	clientIDs  = rapid.SampledFrom([]string{"bot", "crawler"})
	tools      = rapid.SampledFrom([]string{"payments", "mail"})
	issuers    = rapid.SampledFrom([]string{"corp-sso", "ci"})
	subjects   = rapid.SampledFrom([]string{"ann", "bob", "repo:acme/app"})
	conditions = rapid.SampledFrom([]string{"", "", "depth == 0", "subject.claims.ok == true", "size(actions) > 1",
		"!('a' in actions)"})
)

func drawRule(t *rapid.T, id string) policy.Rule {
	distinct := func(g *rapid.Generator[string], most int, name string) []string {
		return rapid.SliceOfNDistinct(g, 1, most, rapid.ID).Draw(t, name)
	}
	r := policy.Rule{ID: id, Clients: distinct(clientIDs, 2, "clients"), Tool: tools.Draw(t, "tool"),
		Actions:   distinct(actions, 4, "actions"),
		TTL:       scopes.Duration(rapid.Int64Range(1, 900).Draw(t, "ttl")) * scopes.Duration(time.Second),
		Condition: conditions.Draw(t, "condition")}
	r.DefaultActions = r.Actions[:rapid.IntRange(0, len(r.Actions)).Draw(t, "defaults")]
	for range rapid.IntRange(0, 2).Draw(t, "matches") {
		m := policy.Match{Issuer: issuers.Draw(t, "issuer")}
		if rapid.Bool().Draw(t, "glob") {
			m.SubjectGlob = rapid.SampledFrom([]string{"*", "a*", "repo:acme/*"}).Draw(t, "pattern")
		} else {
			m.Subject = subjects.Draw(t, "subject")
		}
		r.OnBehalfOf = append(r.OnBehalfOf, m)
	}
	return r
}

func drawRules(t *rapid.T) []policy.Rule {
	var rules []policy.Rule
	for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
		rules = append(rules, drawRule(t, fmt.Sprintf("rule-%d", i)))
	}
	return rules
}

func drawRequest(t *rapid.T) policy.Request {
	r := policy.Request{Client: clientIDs.Draw(t, "client"), Tool: tools.Draw(t, "tool"),
		OnBehalf: rapid.Bool().Draw(t, "on behalf"), Depth: rapid.IntRange(0, 1).Draw(t, "depth"),
		Subject: policy.Identity{Issuer: issuers.Draw(t, "issuer"), Subject: subjects.Draw(t, "subject"),
			Claims: map[string]any{"ok": rapid.Bool().Draw(t, "ok")}}}
	if rapid.Bool().Draw(t, "scoped") {
		r.Actions = rapid.SliceOfN(actions, 0, 5).Draw(t, "asked")
	}
	return r
}

func TestEveryDecisionIsWithinItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, request := drawRules(t), drawRequest(t)
		d := compile(t, rules...).Decide(context.Background(), request)
		if d.Allowed == (d.Denial != "") {
			t.Fatalf("both or neither of allowed and denial: %+v", d)
		}
		if !d.Allowed {
			if d.TTL != 0 || d.Actions != nil {
				t.Fatalf("a refusal gives something: %+v", d)
			}
			return
		}
		listed, defaults := map[string]bool{}, map[string]bool{}
		for _, r := range rules {
			if !slices.Contains(d.Rules, r.ID) {
				continue
			}
			if !slices.Contains(r.Clients, request.Client) || r.Tool != request.Tool ||
				request.OnBehalf != (len(r.OnBehalfOf) > 0) {
				t.Fatalf("%s has no say in this: %+v", r.ID, d)
			}
			if d.TTL > time.Duration(r.TTL) {
				t.Fatalf("%v outlives %s, which says %v", d.TTL, r.ID, time.Duration(r.TTL))
			}
			for _, a := range r.Actions {
				listed[a] = true
			}
			for _, a := range r.DefaultActions {
				defaults[a] = true
			}
		}
		if len(d.Actions) == 0 || !slices.IsSorted(d.Actions) {
			t.Fatalf("actions %q", d.Actions)
		}
		for _, a := range d.Actions {
			if request.Actions == nil && !defaults[a] || request.Actions != nil && !slices.Contains(request.Actions, a) {
				t.Fatalf("%s was neither asked for nor a default: %+v", a, d)
			}
			if !listed[a] {
				t.Fatalf("%s is allowed by none of %q", a, d.Rules)
			}
		}
		for _, a := range request.Actions {
			if !slices.Contains(d.Actions, a) {
				t.Fatalf("%s was asked for and silently dropped: %+v", a, d)
			}
		}
	})
}

func TestARuleMoreNeverTakesAnActionAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, request := drawRules(t), drawRequest(t)
		more := append(slices.Clone(rules), drawRule(t, "more"))
		if request.Actions == nil {
			// The defaults of the rule may be more than another's condition bears beside its own.
			request.Actions = []string{"a"}
		}
		before := compile(t, rules...).Decide(context.Background(), request)
		after := compile(t, more...).Decide(context.Background(), request)
		if before.Allowed && (!after.Allowed || !slices.Equal(before.Actions, after.Actions)) {
			t.Fatalf("before %+v\nafter  %+v", before, after)
		}
	})
}

func TestSilenceReceivesOnlyWhatNamingItWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, request := compile(t, drawRules(t)...), drawRequest(t)
		request.Actions = nil
		silent := p.Decide(context.Background(), request)
		if !silent.Allowed {
			return
		}
		request.Actions = silent.Actions
		if named := p.Decide(context.Background(), request); !named.Allowed {
			t.Fatalf("silent %+v\nnamed  %+v", silent, named)
		}
	})
}

func TestTheOrderOfRulesAndOfActionsMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, request := drawRules(t), drawRequest(t)
		one := compile(t, rules...).Decide(context.Background(), request)
		slices.Reverse(rules)
		slices.Reverse(request.Actions)
		two := compile(t, rules...).Decide(context.Background(), request)
		if !reflect.DeepEqual(one, two) {
			t.Fatalf("%+v\n%+v", one, two)
		}
	})
}
