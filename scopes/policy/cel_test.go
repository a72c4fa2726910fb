package policy_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/scopes/policy"
)

// claims are those of a token, decoded as a verifier would.
func claims(t testing.TB) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(`{"sub": "ann", "level": 3, "big": 9007199254740993, "ratio": 0.5, "text": "3",
		"admin": true, "none": null, "groups": ["eng", "ops"], "kubernetes.io": {"namespace": "prod"}}`))
	d.UseNumber()
	var c map[string]any
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func condition(t testing.TB, expr string) *policy.Condition {
	t.Helper()
	c, err := policy.NewCondition(expr)
	if err != nil {
		t.Fatalf("%.60s: %v", expr, err)
	}
	return c
}

// TestConditionsOverClaims (T-34): what is absent or of another type makes a condition false, however it is asked.
func TestConditionsOverClaims(t *testing.T) {
	for expr, want := range map[string]bool{
		`true`:                true,
		`claims.sub == "ann"`: true,
		`claims["kubernetes.io"].namespace == "prod"`:    true,
		`claims["kubernetes.io"]["namespace"] != "prod"`: false,
		`claims.level >= 3 && claims.level < 3.5`:        true,
		`claims.big == 9007199254740993`:                 true,
		`claims.big == 9007199254740992`:                 false,
		`claims.ratio < 1`:                               true,
		`claims.admin == true`:                           true,
		`"eng" in claims.groups`:                         true,
		`claims.groups.exists(g, g.startsWith("op"))`:    true,
		`claims.groups.all(g, g in ["eng", "ops"])`:      true,
		`has(claims.groups) && !has(claims.roles)`:       true,

		// What is absent makes the condition false, however it is asked.
		`claims.role == "admin"`:            false,
		`claims.role != "admin"`:            false,
		`!(claims.role == "admin")`:         false,
		`claims.sub.name == "x"`:            false,
		`claims.sub.name != "x"`:            false,
		`claims["kubernetes.io"].pod != ""`: false,
		`claims.none.x != 1`:                false,
		`claims.groups[2] != "x"`:           false,

		// So does a claim of a type that cannot be asked this; types differ, so their values are not equal.
		`claims.text > 2`:                                             false,
		`claims.text == 3`:                                            false,
		`claims.level.startsWith("3")`:                                false,
		`!claims.level.startsWith("4")`:                               false,
		`claims.text && true`:                                         false,
		`!(claims.admin && claims.text)`:                              false,
		`"ann" in claims.sub`:                                         false,
		`claims.sub.exists(c, c == "a")`:                              false,
		`claims.level / 0 == 1`:                                       false,
		`claims.big * claims.big > 0`:                                 false,
		`int(claims.sub) != 0`:                                        false,
		`timestamp(claims.text) != timestamp("2026-01-01T00:00:00Z")`: false,
	} {
		c, err := policy.NewCondition(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got := c.Allow(t.Context(), claims(t)); got != want {
			t.Errorf("%s: got %v", expr, got)
		}
	}
}

// TestWhatDoesNotCompileSaysWhy (T-31): there are no regular expressions to anchor wrongly.
func TestWhatDoesNotCompileSaysWhy(t *testing.T) {
	for expr, want := range map[string]string{
		``:                         "is empty",
		"\t ":                      "is empty",
		`claims.sub ==`:            "line 1, column 14: ",
		`claim.sub == "x"`:         "did you mean 'claims'",
		`request.hour_utc > 6`:     "undeclared reference to 'request'; the variables are claims",
		`claims.admin`:             "yields dyn; it must yield bool",
		`claims`:                   "yields map",
		`size(claims.sub)`:         "yields int",
		`"a".matches(claims.sub)`:  "undeclared reference to 'matches'",
		`matches(claims.sub, "a")`: "undeclared reference to 'matches'",
		`claims.sub.matches("^a")`: "undeclared reference to 'matches'",
		`timestamp("noon") == timestamp(claims.t)`: "invalid timestamp",
		`1 == "1"`: "no matching overload",
		`true` + strings.Repeat(" ", policy.MaxCondition):                        "has 4100 bytes; at most 4096",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100):             "recursion limit",
		strings.Repeat("[", 100) + strings.Repeat("]", 100) + ` == []`:           "recursion limit",
		"claims" + strings.Repeat(".a", 600) + " == 1":                           "recursion depth",
		"[" + strings.Repeat("1,", 1500) + "1].size() == 1":                      "limit",
		`claims.a.exists(x, claims.b.exists(y, claims.c.exists(z, x + y == z)))`: "nesting limit",
		`claims.a.exists(x, claims.a.exists(y, x.contains(y) && y.contains(x)))`: "units; at most",
	} {
		c, err := policy.NewCondition(expr)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "line -1") {
			t.Errorf("%.60s: got %v, want %q", expr, err, want)
		}
		if c.Allow(t.Context(), claims(t)) {
			t.Errorf("%.60s: what did not compile allows", expr)
		}
	}
}

func TestTheZeroConditionHoldsForNothing(t *testing.T) {
	var none *policy.Condition
	if none.Allow(t.Context(), claims(t)) || new(policy.Condition).Allow(t.Context(), claims(t)) {
		t.Error("the zero Condition allows")
	}
}

// TestAConditionThatClaimsMakeTooDearIsFalse (T-34).
func TestAConditionThatClaimsMakeTooDearIsFalse(t *testing.T) {
	// In the estimate a claim is small; nothing stops a token from making it large.
	c := condition(t, `!claims.a.exists(x, claims.b.exists(y, x == y))`)
	lists := func(n int) map[string]any {
		var a, b []any
		for i := range n {
			a, b = append(a, fmt.Sprint("a", i)), append(b, fmt.Sprint("b", i))
		}
		return map[string]any{"a": a, "b": b}
	}
	if !c.Allow(t.Context(), lists(10)) {
		t.Error("refused lists of 10")
	}
	if c.Allow(t.Context(), lists(1000)) {
		t.Error("went through a million pairs")
	}
	long := strings.Repeat("x", 1<<20)
	if condition(t, `!claims.a.contains(claims.b)`).Allow(t.Context(), map[string]any{"a": long, "b": long + "y"}) {
		t.Error("searched a megabyte for a megabyte")
	}
}

// late is a context that was alive when it was asked and is done ever after.
type late struct {
	context.Context
	asked *bool
}

func (l late) Err() error {
	if *l.asked {
		return context.Canceled
	}
	*l.asked = true
	return nil
}

func (late) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// TestAConditionWhoseCallerGaveUpIsFalse (T-34).
func TestAConditionWhoseCallerGaveUpIsFalse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if condition(t, `true`).Allow(ctx, nil) {
		t.Error("held though the caller had given up before")
	}
	var many []any
	for range 1000 {
		many = append(many, 1)
	}
	loop := condition(t, `claims.a.all(x, x == 1)`)
	if !loop.Allow(t.Context(), map[string]any{"a": many}) {
		t.Fatal("does not hold")
	}
	if loop.Allow(late{t.Context(), new(bool)}, map[string]any{"a": many}) {
		t.Error("held though the caller gave up in between")
	}
}

func TestConditionsAreJudgedAtTheSameTime(t *testing.T) {
	c := condition(t, `claims.groups.exists(g, g == claims.sub)`)
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 200 {
				sub := fmt.Sprint("g", i%4)
				if c.Allow(t.Context(), map[string]any{"sub": sub, "groups": []any{"g0", "g1"}}) != (i%4 < 2) {
					t.Errorf("%s", sub)
				}
			}
		})
	}
}

func FuzzCondition(f *testing.F) {
	f.Add(`claims["kubernetes.io"]["namespace"] == "prod"`, `{"kubernetes.io": {"namespace": "prod"}}`)
	f.Add(`claims.groups.exists(g, g.startsWith("eng"))`, `{"groups": ["eng-1", 2, null]}`)
	f.Add(`claims.a.map(x, x + x).all(x, x != [1])`, `{"a": [[1], [[]], {}]}`)
	f.Add(`timestamp(claims.t).getHours("Europe/Berlin") > 3`, `{"t": "2026-11-20T06:00:00Z"}`)
	f.Add(`!!!!-1 == {1: 2}[3] ? dyn([]) : type(1)`, `{}`)
	f.Fuzz(func(t *testing.T, expr, token string) {
		c, err := policy.NewCondition(expr)
		var claims map[string]any
		if err != nil || json.Unmarshal([]byte(token), &claims) != nil {
			return
		}
		if first, again := c.Allow(t.Context(), claims), c.Allow(t.Context(), claims); first != again {
			t.Error("the same claims are judged differently")
		}
	})
}

func BenchmarkCompileCondition(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		condition(b, `claims["kubernetes.io"]["namespace"] == "prod" && "eng" in claims.groups`)
	}
}

func BenchmarkDecide(b *testing.B) {
	request := policy.Request{Client: "ap-bot", Tool: "payments", Actions: []string{"refunds.read"},
		Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Actor: policy.Identity{Claims: claims(b)}}
	for _, expr := range []string{"", `request.hour_utc >= 6`, `actor.claims["kubernetes.io"]["namespace"] == "prod"`,
		`actor.claims.groups.exists(g, g.startsWith("ops"))`} {
		r := good()
		r.OnBehalfOf, r.Condition = nil, expr
		p := compile(b, r)
		b.Run(cmp.Or(expr, "no condition"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Decide(b.Context(), request); !d.Allowed {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}
