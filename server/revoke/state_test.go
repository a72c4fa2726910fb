package revoke_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
)

// cut is when everything in these tests is revoked: 400 ms into a second.
var cut = time.Date(2027, 1, 15, 8, 0, 0, 400e6, time.UTC)

const issuer = "https://sts.example/t/acme"

// delegated is a token that the client ap-bot got for alice from a token of the client planner.
func delegated() token.Claims {
	return token.Claims{
		Issuer: issuer, Subject: "corp-sso:alice:admin", Audience: "https://tool.example", ClientID: "ap-bot",
		IssuedAt: cut.Unix(), Expiry: cut.Unix() + 300, ID: "child", Txn: "run-7",
		Act: &token.Actor{Issuer: issuer, Subject: "client:ap-bot", Act: &token.Actor{
			Issuer: issuer, Subject: "client:helper", Act: &token.Actor{
				Issuer: "https://other.example", Subject: "client:foreign"}}},
		Lineage: &token.Lineage{JTI: []string{"parent", "root"}, Clients: []string{"planner"}, Issuers: []string{"prod"},
			Subjects: []string{"prod:ns/ap-bot"}},
	}
}

func itself() token.Claims {
	return token.Claims{Issuer: issuer, Subject: "client:ap-bot", ClientID: "ap-bot", IssuedAt: cut.Unix(), ID: "self"}
}

func cutoff(kind revoke.Kind, value string, change ...func(*ledger.Cutoff)) ledger.Cutoff {
	c := ledger.Cutoff{Key: ledger.Key{Kind: string(kind), ID: value}, Seq: 1, At: cut, Until: cut.Add(revoke.Keep)}
	for _, f := range change {
		f(&c)
	}
	return c
}

func at(t time.Time) ledger.Position { return ledger.Position{Cutoffs: 1, Time: t} }

func state(cutoffs ...ledger.Cutoff) *revoke.State { return new(revoke.State).With(cutoffs, at(cut)) }

func TestHitsByEveryTargetOfAToken(t *testing.T) {
	tests := []struct {
		kind  revoke.Kind
		value string
		c     token.Claims
		hit   bool
	}{
		{revoke.JTI, "child", delegated(), true},
		{revoke.JTI, "parent", delegated(), true},
		{revoke.JTI, "root", delegated(), true},
		{revoke.JTI, "run-7", delegated(), false},
		{revoke.Lineage, "child", delegated(), true},
		{revoke.Lineage, "root", delegated(), true},
		{revoke.Lineage, "other", delegated(), false},
		{revoke.Run, "run-7", delegated(), true},
		{revoke.Run, "child", delegated(), false},
		{revoke.Client, "ap-bot", delegated(), true},
		{revoke.Client, "ap-bot", itself(), true},
		{revoke.Client, "planner", delegated(), true},
		{revoke.Client, "helper", delegated(), true},
		{revoke.Client, "foreign", delegated(), false}, // another issuer's client of that name
		{revoke.Client, "corp-sso", delegated(), false},
		{revoke.Tool, "payments", delegated(), true},
		{revoke.Tool, "ledger", delegated(), false},
		{revoke.Tool, "https://tool.example", delegated(), true}, // whichever tool it belongs to now
		{revoke.Tool, "https://tool.example/", delegated(), false},
		{revoke.Tenant, "", delegated(), true},
		{revoke.Tenant, "", itself(), true},
		{revoke.Issuer, "corp-sso", delegated(), true},
		{revoke.Issuer, "prod", delegated(), true},
		{revoke.Issuer, "prod", itself(), false},
		{revoke.Issuer, "client", itself(), false},
		{revoke.Issuer, "corp", delegated(), false},
		{revoke.Subject, "corp-sso:alice:admin", delegated(), true},
		{revoke.Subject, "prod:ns/ap-bot", delegated(), true},
		{revoke.Subject, "prod:ns/ap-bot", itself(), false},
		{revoke.Subject, "corp-sso:alice", delegated(), false},
		{revoke.Subject, "alice:admin", delegated(), false},
	}
	for _, test := range tests {
		target := ledger.Key{Kind: string(test.kind), ID: test.value}
		key, hit := state(cutoff(test.kind, test.value)).Hits(test.c, "payments")
		if hit != test.hit || hit && key != target {
			t.Errorf("%s %q on %s: got %v, %v", test.kind, test.value, test.c.ID, key, hit)
		}
	}
}

// TestACutoffHitsWhatWasIssuedUpToItsSecond (T-54): the second of the cutoff itself is hit, the next one is not.
func TestACutoffHitsWhatWasIssuedUpToItsSecond(t *testing.T) {
	second := cut.Unix()
	for _, kind := range revoke.Kinds() {
		value := map[revoke.Kind]string{revoke.JTI: "child", revoke.Lineage: "root", revoke.Run: "run-7",
			revoke.Client: "ap-bot", revoke.Tool: "payments", revoke.Issuer: "prod",
			revoke.Subject: "corp-sso:alice:admin"}[kind]
		s := state(cutoff(kind, value))
		for iat, want := range map[int64]bool{second - 300: true, second: true, second + 1: !kind.Disables()} {
			c := delegated()
			c.IssuedAt = iat
			if _, hit := s.Hits(c, "payments"); hit != want {
				t.Errorf("%s, issued %+d s from the cutoff's second: hit %v", kind, iat-second, hit)
			}
		}
	}
}

func TestADisabledTargetIsHitWheneverItWasIssued(t *testing.T) {
	disabled := cutoff(revoke.Client, "ap-bot", func(c *ledger.Cutoff) { c.Disabled = true })
	late := itself()
	late.IssuedAt += 10
	s := state(disabled)
	if _, hit := s.Hits(late, ""); !hit {
		t.Error("a token of a disabled client passes")
	}
	key := disabled.Key
	if got, hit := s.Disabled(ledger.Key{Kind: "tool", ID: "x"}, key); !hit || got != key {
		t.Errorf("Disabled: got %v, %v", got, hit)
	}
	s = s.With([]ledger.Cutoff{cutoff(revoke.Client, "ap-bot", func(c *ledger.Cutoff) { c.Seq = 2 })}, at(cut))
	if _, hit := s.Hits(late, ""); hit {
		t.Error("a token issued after the client was enabled is refused")
	}
	if _, hit := s.Hits(itself(), ""); !hit {
		t.Error("enabling brought a revoked token back")
	}
	if _, hit := s.Disabled(key); hit {
		t.Error("still disabled")
	}
}

func TestTheTenantHasOneKey(t *testing.T) {
	disabled := cutoff(revoke.Tenant, "", func(c *ledger.Cutoff) { c.Disabled = true })
	if _, hit := state(disabled).Disabled(ledger.Key{Kind: "tenant", ID: "acme"}); !hit {
		t.Error("the tenant by its slug is not disabled")
	}
	disabled.ID = "acme"
	if _, hit := state(disabled).Hits(itself(), ""); !hit {
		t.Error("a cutoff of the tenant by its slug hits nothing")
	}
}

func TestAStateThatWasNeverToldRefuses(t *testing.T) {
	for name, s := range map[string]*revoke.State{"nil": nil, "zero": {}} {
		if key, hit := s.Hits(itself(), ""); !hit || key.Kind != "unknown" {
			t.Errorf("%s: Hits: %v, %v", name, key, hit)
		}
		if _, hit := s.Disabled(); !hit {
			t.Errorf("%s: Disabled passes", name)
		}
		told := s.With(nil, at(cut))
		if _, hit := told.Hits(itself(), ""); hit {
			t.Errorf("%s: told that there are no cutoffs, and refuses", name)
		}
		if _, hit := told.Disabled(ledger.Key{Kind: "client", ID: "ap-bot"}); hit {
			t.Errorf("%s: told that there are no cutoffs, and disabled", name)
		}
	}
}

func TestWithLeavesTheOldStateAlone(t *testing.T) {
	old := state(cutoff(revoke.JTI, "other"))
	next := old.With([]ledger.Cutoff{cutoff(revoke.JTI, "self")}, ledger.Position{Cutoffs: 9, Time: cut})
	if _, hit := old.Hits(itself(), ""); hit || old.Seq != 1 || next.Seq != 9 {
		t.Errorf("hit %v, sequences %d and %d", hit, old.Seq, next.Seq)
	}
	older := next.With(nil, ledger.Position{Cutoffs: 3})
	if _, hit := older.Hits(itself(), ""); !hit || older.Seq != 9 {
		t.Errorf("an older reading took something away: hit %v, sequence %d", hit, older.Seq)
	}
}

// A store that lost a revocation cannot take it back from those who know.
func TestTheTimeOfACutoffNeverGoesBack(t *testing.T) {
	s := state(cutoff(revoke.Client, "ap-bot")).With([]ledger.Cutoff{cutoff(revoke.Client, "ap-bot",
		func(c *ledger.Cutoff) { c.Seq, c.At, c.Until = 2, cut.Add(-time.Hour), cut.Add(-time.Minute) })}, at(cut))
	if _, hit := s.Hits(itself(), ""); !hit {
		t.Error("a later change with an earlier time brought a revoked token back")
	}
}

// Many cutoffs come one by one, as a store that is polled gives them; ended ones go, all others stay.
func TestManyCutoffs(t *testing.T) {
	s := state(cutoff(revoke.Client, "ap-bot", func(c *ledger.Cutoff) { c.Disabled, c.Until = true, cut }))
	helper := ledger.Key{Kind: "client", ID: "helper"}
	s = s.With([]ledger.Cutoff{{Key: helper, At: cut, Until: cut, Disabled: true}}, at(cut))
	moment := cut
	for i := range 5000 {
		moment = cut.Add(time.Duration(i) * time.Second)
		if i == 2000 {
			s = s.With([]ledger.Cutoff{{Key: helper, Seq: 2000, At: cut, Until: cut}}, at(moment))
		}
		c := ledger.Cutoff{Key: ledger.Key{Kind: "jti", ID: "t" + strconv.Itoa(i)}, Seq: int64(i + 2), At: moment,
			Until: moment.Add(revoke.Keep)}
		s = s.With([]ledger.Cutoff{c}, ledger.Position{Cutoffs: c.Seq, Time: moment})
	}
	held := 0
	for i := range 5000 {
		c := token.Claims{Issuer: issuer, Subject: "x:y", ID: "t" + strconv.Itoa(i), IssuedAt: moment.Unix()}
		_, hit := s.Hits(c, "")
		if !hit && i >= 5000-int(revoke.Keep.Seconds()) {
			t.Fatalf("cutoff %d is lost", i)
		}
		if hit {
			held++
		}
	}
	if held > 2*int(revoke.Keep.Seconds()) {
		t.Errorf("%d cutoffs are held; those that ended are never dropped", held)
	}
	if _, hit := s.Hits(itself(), ""); !hit {
		t.Error("a disabled client came back by itself")
	}
	if all := slices.Collect(s.AllDisabled()); len(all) != 1 || all[0].ID != "ap-bot" {
		t.Errorf("disabled are %v", all)
	}
	if _, hit := s.Disabled(helper); hit {
		t.Error("a client that was enabled is disabled again")
	}
}

func TestKeepOutlivesEveryToken(t *testing.T) {
	if least := max(token.MaxLife, policy.MaxTTL) + time.Minute; revoke.Keep < least {
		t.Errorf("cutoffs are kept for %s, tokens may be taken for %s", revoke.Keep, least)
	}
}

// changes draws the changes of a tenant's cutoffs as a store makes them: numbered, times never going back.
func changes(t *rapid.T) []ledger.Cutoff {
	var all []ledger.Cutoff
	moment := cut
	latest := make(map[ledger.Key]ledger.Cutoff)
	for i := range rapid.IntRange(0, 12).Draw(t, "changes") {
		moment = moment.Add(time.Duration(rapid.IntRange(0, 2500).Draw(t, "ms")) * time.Millisecond)
		kind := rapid.SampledFrom(revoke.Kinds()).Draw(t, "kind")
		key := ledger.Key{Kind: string(kind), ID: rapid.SampledFrom([]string{"a", "b", "c:d"}).Draw(t, "value")}
		if kind == revoke.Tenant {
			key.ID = ""
		}
		c, cutBefore := latest[key]
		if cutBefore && rapid.Bool().Draw(t, "enable") {
			c.Disabled = false
		} else {
			c = ledger.Cutoff{Key: key, At: moment, Until: moment.Add(revoke.Keep), Disabled: kind.Disables()}
		}
		c.Seq = int64(i + 1)
		latest[key] = c
		all = append(all, c)
	}
	return all
}

func claims(t *rapid.T) token.Claims {
	word := rapid.SampledFrom([]string{"a", "b", "c", "d", ""})
	words := rapid.SliceOfN(word, 0, 2)
	return token.Claims{
		Issuer: issuer, Audience: word.Draw(t, "aud"), ID: word.Draw(t, "jti"), Txn: word.Draw(t, "txn"),
		ClientID: word.Draw(t, "client"),
		Subject:  rapid.SampledFrom([]string{"client:", "a:", "c:"}).Draw(t, "prefix") + word.Draw(t, "sub"),
		IssuedAt: cut.Unix() + rapid.Int64Range(-2, 20).Draw(t, "iat"),
		Lineage: &token.Lineage{JTI: words.Draw(t, "ancestors"), Clients: words.Draw(t, "clients"),
			Issuers: words.Draw(t, "issuers"), Subjects: words.Draw(t, "subjects")},
		Act: &token.Actor{Issuer: issuer, Subject: "client:" + word.Draw(t, "actor")},
	}
}

// hitBy is the definition that Hits is an index of.
func hitBy(c ledger.Cutoff, tok token.Claims, tool string) bool {
	kind := revoke.Kind(c.Kind)
	name, _, _ := strings.Cut(tok.Subject, ":")
	id, self := strings.CutPrefix(tok.Subject, "client:")
	var concerned bool
	switch kind {
	case revoke.JTI, revoke.Lineage:
		concerned = c.ID == tok.ID || slices.Contains(tok.Lineage.JTI, c.ID)
	case revoke.Run:
		concerned = c.ID == tok.Txn
	case revoke.Client:
		concerned = c.ID == tok.ClientID || slices.Contains(tok.Lineage.Clients, c.ID) || self && id == c.ID ||
			tok.Act.Subject == "client:"+c.ID
	case revoke.Tool:
		concerned = c.ID == tool || c.ID == tok.Audience
	case revoke.Tenant:
		concerned = true
	case revoke.Issuer:
		concerned = slices.Contains(tok.Lineage.Issuers, c.ID) || !self && name == c.ID
	case revoke.Subject:
		concerned = !self && tok.Subject == c.ID || slices.Contains(tok.Lineage.Subjects, c.ID)
	}
	return concerned && (!kind.Disables() || c.Disabled || tok.IssuedAt <= c.At.Unix())
}

func TestHitsIsWhatTheDefinitionSaysInWhateverOrderChangesCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := changes(t)
		latest := make(map[ledger.Key]ledger.Cutoff)
		for _, c := range all {
			latest[c.Key] = c
		}
		tok, tool := claims(t), rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "tool")
		want := false
		for _, c := range latest {
			want = want || hitBy(c, tok, tool)
		}
		var s *revoke.State
		for rest := rapid.Permutation(all).Draw(t, "order"); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			s = s.With(rest[:n], at(cut))
			rest = rest[n:]
		}
		s = s.With(nil, at(cut))
		if key, got := s.Hits(tok, tool); got != want {
			t.Fatalf("got %v by %v, want %v", got, key, want)
		}
		listed := slices.Collect(s.AllDisabled())
		for key, c := range latest {
			_, disabled := s.Disabled(key)
			if disabled != c.Disabled || slices.Contains(listed, key) != c.Disabled {
				t.Fatalf("%v: disabled %v, listed %v, want %v", key, disabled, listed, c.Disabled)
			}
		}
	})
}

// A token that a cutoff's time has hit stays hit, whatever is revoked or enabled afterwards.
func TestCutoffsOnlyGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tok := claims(t)
		var s *revoke.State
		dead := false
		for _, c := range changes(t) {
			s = s.With([]ledger.Cutoff{c}, at(cut))
			_, hit := s.Hits(tok, "a")
			if dead && !hit {
				t.Fatalf("%v brought a revoked token back", c)
			}
			c.Disabled = false
			dead = dead || hitBy(c, tok, "a")
		}
	})
}

func BenchmarkHits(b *testing.B) {
	s := state(cutoff(revoke.JTI, "other"))
	c := delegated()
	for b.Loop() {
		if _, hit := s.Hits(c, "payments"); hit {
			b.Fatal("hit")
		}
	}
}

func TestFindReturnsWhatHasNotEnded(t *testing.T) {
	client := ledger.Key{Kind: string(revoke.Client), ID: "ap-bot"}
	disabled := cutoff(revoke.Client, "ap-bot", func(c *ledger.Cutoff) { c.Disabled = true })
	tenant := cutoff(revoke.Tenant, "")
	over := at(cut.Add(revoke.Keep + time.Millisecond))
	for name, row := range map[string]struct {
		s    *revoke.State
		key  ledger.Key
		want ledger.Cutoff // zero: none
	}{
		"nothing is known":             {nil, client, ledger.Cutoff{}},
		"another target":               {state(tenant), client, ledger.Cutoff{}},
		"a cutoff":                     {state(cutoff(revoke.Client, "ap-bot")), client, cutoff(revoke.Client, "ap-bot")},
		"the tenant, by another name":  {state(tenant), ledger.Key{Kind: "tenant", ID: "acme"}, tenant},
		"a cutoff that ended":          {state(cutoff(revoke.Client, "ap-bot")).With(nil, over), client, ledger.Cutoff{}},
		"one that disables never ends": {state(disabled).With(nil, over), client, disabled},
		"a cutoff in its last moment":  {state(tenant).With(nil, at(cut.Add(revoke.Keep))), tenant.Key, tenant},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := row.s.Find(row.key)
			if got != row.want || ok != (row.want != ledger.Cutoff{}) {
				t.Errorf("%+v, %v", got, ok)
			}
		})
	}
}
