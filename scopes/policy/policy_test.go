package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
)

// good returns a rule without mistakes.
func good() policy.Rule {
	return policy.Rule{ID: "bot", Clients: []string{"ap-bot"}, Tool: "payments",
		Actions: []string{"refunds.read", "refunds.create"}, DefaultActions: []string{"refunds.read"},
		TTL:        scopes.Duration(2 * time.Minute),
		OnBehalfOf: []policy.Match{{Issuer: "corp-sso", SubjectGlob: "*"}}, Condition: "request.hour_utc >= 6"}
}

// mistakes returns those of one rule, with their paths in it.
func mistakes(r policy.Rule) []string {
	_, wrong := policy.Compile([]policy.Rule{r}, nil)
	for i := range wrong {
		wrong[i] = strings.TrimPrefix(wrong[i], "policies[0].")
	}
	return wrong
}

func TestCompileTellsEveryMistakeWithItsPath(t *testing.T) {
	if wrong := mistakes(good()); wrong != nil {
		t.Fatalf("a good rule: %q", wrong)
	}
	for _, row := range []struct {
		name  string
		spoil func(*policy.Rule)
		want  []string // the beginning of each mistake, in order
	}{
		{"the zero rule", func(r *policy.Rule) { *r = policy.Rule{} },
			[]string{"id: is empty", "clients: is empty", "tool: is empty", "actions: is empty"}},
		{"names that are no slugs", func(r *policy.Rule) { r.ID, r.Clients, r.Tool = "Bot", []string{"a", "-"}, "a.b" },
			[]string{"id: may hold only", "clients[1]: begins or ends", "tool: may hold only"}},
		{"a client twice", func(r *policy.Rule) { r.Clients = []string{"a", "b", "a"} },
			[]string{"clients[2]: repeats clients[0]"}},
		{"an action that is a scope", func(r *policy.Rule) { r.Actions = append(r.Actions, "payments:refunds.read") },
			[]string{"actions[2]: must be words"}},
		{"a default that is no action", func(r *policy.Rule) { r.DefaultActions = []string{"refunds.read", "payouts"} },
			[]string{"default_actions[1]: is not among"}},
		{"a negative ttl", func(r *policy.Rule) { r.TTL = -1 }, []string{"ttl: must be from 1s to 15m"}},
		{"a ttl too short", func(r *policy.Rule) { r.TTL = scopes.Duration(999 * time.Millisecond) },
			[]string{"ttl: must be from 1s to 15m; leave it out for 5m"}},
		{"a ttl too long", func(r *policy.Rule) { r.TTL = scopes.Duration(15*time.Minute + 1) }, []string{"ttl: must"}},
		{"neither subject nor glob", func(r *policy.Rule) { r.OnBehalfOf[0].SubjectGlob = "" },
			[]string{"on_behalf_of[0]: needs exactly one"}},
		{"both subject and glob", func(r *policy.Rule) { r.OnBehalfOf[0].Subject = "ann" },
			[]string{"on_behalf_of[0]: needs exactly one"}},
		{"a glob across segments and no issuer", func(r *policy.Rule) {
			r.OnBehalfOf = append(r.OnBehalfOf, policy.Match{SubjectGlob: "repo:**"})
		}, []string{"on_behalf_of[1].issuer: is empty", "on_behalf_of[1].subject_glob: holds **"}},
		{"two mistakes in a condition", func(r *policy.Rule) { r.Condition = "request.hour > 6 &&\n  tol == 'x'" },
			[]string{"condition: line 1, column 8: undeclared reference", "condition: line 2, column 3: undeclared reference"}},
		{"a condition of blanks", func(r *policy.Rule) { r.Condition = " \n" }, []string{"condition: is empty"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := good()
			row.spoil(&r)
			got := mistakes(r)
			if len(got) != len(row.want) {
				t.Fatalf("got %q, want %q", got, row.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], row.want[i]) {
					t.Errorf("got %q, want it to begin %q", got[i], row.want[i])
				}
			}
		})
	}
}

func TestCompileTellsTheMistakesOfAllRules(t *testing.T) {
	late, again := good(), good()
	late.ID, late.TTL = "late", scopes.Duration(time.Hour)
	p, wrong := policy.Compile([]policy.Rule{good(), late, again}, nil)
	want := []string{"policies[1].ttl: must be from 1s to 15m; leave it out for 5m",
		"policies[2].id: is also the id of policies[0]"}
	if p != nil || !slices.Equal(wrong, want) {
		t.Errorf("got %v, %q", p, wrong)
	}
}

func TestAPolicyDoesNotChangeWithWhatItWasMadeOf(t *testing.T) {
	r := good()
	r.Condition = ""
	p := compile(t, r)
	r.Clients[0], r.Actions[0], r.DefaultActions[0], r.OnBehalfOf[0].Issuer = "other", "payouts", "payouts", "ci"
	request := policy.Request{Client: "ap-bot", Tool: "payments", OnBehalf: true,
		Subject: policy.Identity{Issuer: "corp-sso", Subject: "ann"}}
	for _, request.Actions = range [][]string{nil, {"refunds.read"}} {
		if d := p.Decide(t.Context(), request); !slices.Equal(d.Actions, []string{"refunds.read"}) {
			t.Errorf("%+v", d)
		}
	}
}

func TestTheRevisionNamesTheRules(t *testing.T) {
	revision := func(rules ...policy.Rule) string {
		return compile(t, rules...).Decide(t.Context(), policy.Request{}).Revision
	}
	a, b := good(), good()
	b.ID = "other"
	if revision(a, b) != revision(b, a) {
		t.Error("the order of the rules changes the revision")
	}
	seen := map[string]bool{revision(): true, revision(a): true, revision(a, b): true}
	for _, change := range []func(*policy.Rule){
		func(r *policy.Rule) { r.Clients = []string{"x"} },
		func(r *policy.Rule) { r.Tool = "x" },
		func(r *policy.Rule) { r.Actions = r.Actions[:1] },
		func(r *policy.Rule) { r.DefaultActions = nil },
		func(r *policy.Rule) { r.TTL++ },
		func(r *policy.Rule) { r.OnBehalfOf = nil },
		func(r *policy.Rule) { r.Condition = "" },
	} {
		changed := good()
		change(&changed)
		seen[revision(changed)] = true
	}
	if len(seen) != 10 {
		t.Errorf("10 sets of rules have %d revisions", len(seen))
	}
}

func TestARuleIsWrittenAsInATenantFile(t *testing.T) {
	const text = `{"id":"bot","clients":["ap-bot"],"tool":"payments","actions":["refunds.read","refunds.create"],` +
		`"default_actions":["refunds.read"],"ttl":"2m","on_behalf_of":[{"issuer":"corp-sso","subject_glob":"*"}],` +
		`"condition":"request.hour_utc \u003e= 6"}`
	var r policy.Rule
	decode(t, []byte(text), &r)
	if wrong := mistakes(r); wrong != nil {
		t.Fatal(wrong)
	}
	if back, err := json.Marshal(r); err != nil || string(back) != text {
		t.Errorf("%s\n%v", back, err)
	}
	small := policy.Rule{ID: "bot", Clients: []string{"a"}, Tool: "b", Actions: []string{"c"}}
	if back, _ := json.Marshal(small); string(back) != `{"id":"bot","clients":["a"],"tool":"b","actions":["c"]}` {
		t.Errorf("%s", back)
	}
}
