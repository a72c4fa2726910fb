package identity_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/bursar-sts/bursar/server/identity"
)

func acceptAct(i *identity.Issuer) {
	i.AcceptAct, i.Use = true, []identity.Use{identity.Subject}
}

// TestMayActNamesTheOnlyActor (T-25): iss is the token's own where may_act gives none.
func TestMayActNamesTheOnlyActor(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	own := w.accept(w.mint(claims("x", 1))).IssuerURL
	for _, r := range []struct {
		mayAct m
		want   identity.Party
	}{
		{m{"sub": "bot"}, identity.Party{Issuer: own, Subject: "bot"}},
		{m{"sub": "bot", "iss": "https://x.example"}, identity.Party{Issuer: "https://x.example", Subject: "bot"}},
	} {
		if p := w.accept(w.mint(claims("may_act", r.mayAct))); p.MayAct == nil || *p.MayAct != r.want {
			t.Errorf("may_act %v is read as %v", r.mayAct, p.MayAct)
		}
	}
}

// TestActorsAreReadWhereTheyAreAccepted (T-27): who they are is kept, and nothing else.
func TestActorsAreReadWhereTheyAreAccepted(t *testing.T) {
	w := newWorld(t, identity.OIDC, acceptAct)
	own := w.accept(w.mint(claims("x", 1))).IssuerURL
	p := w.accept(w.mint(claims("act", m{"sub": "b", "exp": 1, "aud": "x", "role": "admin",
		"act": m{"sub": "a", "iss": "https://x.example"}})))
	want := []identity.Party{{Issuer: own, Subject: "b"}, {Issuer: "https://x.example", Subject: "a"}}
	if !slices.Equal(p.Actors, want) {
		t.Errorf("the actors are %v, want %v", p.Actors, want)
	}
	deep := m{"sub": "4"}
	for _, name := range []string{"3", "2", "1"} {
		deep = m{"sub": name, "act": deep}
	}
	if p := w.accept(w.mint(claims("act", deep))); len(p.Actors) != 4 {
		t.Errorf("four actors are read as %v", p.Actors)
	}
	for _, bad := range []any{m{}, "bot", []any{m{"sub": "a"}}, nil, true, m{"sub": ""}, m{"sub": 1},
		m{"sub": "a", "iss": 1},
		m{"sub": "a", "iss": ""}, m{"sub": "a", "act": "b"}, m{"sub": "a", "act": m{}}, m{"sub": "a", "act": nil},
		m{"sub": "0", "act": deep}, m{"iss": "https://x.example"}} {
		text, _ := json.Marshal(bad)
		w.refuse(w.mint(claims("act", json.RawMessage(text))), "token.act_form")
	}
}
