package oauth_test

import (
	"maps"
	"net/url"
	"reflect"
	"testing"

	"github.com/bursar-sts/bursar/server/servertest"
)

// TestIntrospectionSaysAllOrNothing (T-57): of an active token its resource server learns who acts for whom, at which
// tenant, for which tool and by which key; of any other nobody learns anything.
func TestIntrospectionSaysAllOrNothing(t *testing.T) {
	s := newSite(t, servertest.Options{})
	api, other := basic("payments-api", s.Secret("payments-api")), basic("ledger-api", s.Secret("ledger-api"))
	compact := s.post("token", with(s.usual(), "subject_token", s.User("alice"), "actor_token", s.Workload("ap-bot"),
		"actor_token_type", jwt, "scope", "payments:refunds.read")).text("access_token")
	a := s.post("introspect", url.Values{"token": {compact}}, api)
	want := map[string]any{"active": true, "iss": servertest.BaseURL + "/t/acme", "sub": "corp:alice",
		"aud": "https://tools.example/payments", "client_id": "ap-bot", "act": map[string]any{
			"iss": servertest.BaseURL + "/t/acme", "sub": "client:ap-bot", "sub_profile": "ai_agent"}}
	for name, value := range want {
		if !reflect.DeepEqual(a.json[name], value) {
			t.Errorf("%s is %v, want %v", name, a.json[name], value)
		}
	}
	if a.json["may_act"] != nil {
		t.Errorf("answered %s", a.body)
	}

	// No client can get a token that is bound to a key yet; whoever asks about one must learn of it all the same.
	cnf := map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
	claims := maps.Clone(a.json)
	delete(claims, "active")
	delete(claims, "token_type")
	claims["cnf"] = cnf
	bound := s.Signed(claims)
	if a := s.post("introspect", url.Values{"token": {bound}}, api); !reflect.DeepEqual(a.json["cnf"], cnf) {
		t.Errorf("of a bound token: answered %s", a.body)
	}

	for name, question := range map[string]answer{
		"another tool's server": s.post("introspect", url.Values{"token": {compact}}, other),
		"a bound one, by it":    s.post("introspect", url.Values{"token": {bound}}, other),
		"a tampered one":        s.post("introspect", url.Values{"token": {compact[:len(compact)-8] + "AAAAAAAA"}}, api),
		"a workload's":          s.post("introspect", url.Values{"token": {s.Workload("ap-bot")}}, api),
	} {
		if question.status != 200 || question.body != `{"active":false}` {
			t.Errorf("%s: answered %d %s", name, question.status, question.body)
		}
	}
	if a := s.post("revoke", url.Values{"token": {compact}}, api); a.status != 200 {
		t.Fatalf("revoke: answered %d %s", a.status, a.body)
	}
	if a := s.post("introspect", url.Values{"token": {compact}}, api); a.body != `{"active":false}` {
		t.Errorf("revoked: answered %s", a.body)
	}
}
