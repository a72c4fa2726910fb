package decide_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/decide"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/shim"
)

func TestTheKeyIsHandedForACallThatMayBeMade(t *testing.T) {
	w := newWorld(t)
	answer, body := w.ask("GET", "/v1/refunds/7?fields=a")
	h := answer.Header
	if answer.StatusCode != http.StatusOK || h.Get("X-Bursar-Inject-X-Api-Key") != key || h.Get("X-Api-Key") != "" ||
		body != "" || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, %v, %q", answer.StatusCode, h, body)
	}
	records := w.Records("acme")
	last := records[len(records)-1]
	if last.Body.DecisionID != h.Get("X-Bursar-Decision") || last.Txn != h.Get("X-Bursar-Txn") || last.Txn == "" {
		t.Errorf("the record is %+v, the answer %v", last, h)
	}
	if got := w.uses(); !slices.Equal(got, []string{"allowed intent decision "}) {
		t.Errorf("recorded: %q", got)
	}
	if strings.Contains(last.Text, key) {
		t.Error("the key is on record")
	}
	if s := w.Stats(); s != (decide.Stats{Allowed: 1}) {
		t.Errorf("counted as %+v", s)
	}
}

func TestTheNamesUnderWhichAProxyFindsTheKey(t *testing.T) {
	for _, row := range []struct{ inject, name, value string }{
		{header, "X-Api-Key", key},
		{`{in: header, name: authorization, format: "Token {value}", secret: payments-key}`, "Authorization", "Token " + key},
		{`{in: bearer, secret: payments-key}`, "Authorization", "Bearer " + key},
	} {
		w := newWorld(t, "${inject}", row.inject)
		answer, _ := w.ask("GET", "/v1/refunds/7")
		if got := answer.Header.Get(decide.InjectHeader + row.name); got != row.value || answer.Header.Get(row.name) != "" {
			t.Errorf("%s: %v", row.inject, answer.Header)
		}
		token := "Authorization: Bearer " + w.token
		for _, lines := range [][]string{
			{"GET /v1/decide-own HTTP/1.1", tool, token, caddyM, "X-Forwarded-Uri: /v1/refunds/7"},
			{"GET /v1/decide/v1/refunds/7 HTTP/1.1", tool, token},
		} {
			h := send(t, w.Handler, lines...).Header
			if h.Get(row.name) != row.value || h.Get(decide.InjectHeader+row.name) != "" {
				t.Errorf("%s, asked by %s: %v", row.inject, lines[0], h)
			}
		}
	}
}

func TestWhatAProxyCannotBeHanded(t *testing.T) {
	refused := func(name string, w *world, method, uri string) {
		t.Helper()
		answer, body := w.ask(method, uri)
		if code := answer.Header.Get(shim.ErrorHeader); answer.StatusCode != 403 || code != "decision_mode_not_allowed" {
			t.Errorf("%s: %d %s %s", name, answer.StatusCode, code, body)
		}
		for place, text := range map[string]string{"body": body, "header": strings.Join(values(answer.Header), "\n")} {
			if strings.Contains(text, key) {
				t.Errorf("%s: the key is in the %s", name, place)
			}
		}
		if got := w.uses(); !slices.Equal(got, []string{"denied  decision decide.not_allowed"}) {
			t.Errorf("%s: recorded %q", name, got)
		}
	}
	refused("a tool that does not say so", newWorld(t, "      allow_decision_mode: true\n", ""), "GET", "/v1/refunds/7")
	secret := newWorld(t)
	secret.PutGuarded("acme", "payments-key", "https://legacy-payments.internal:8443", key)
	if _, err := secret.Directory.Fresh(t.Context(), "acme"); err != nil { // which hears of it
		t.Fatal(err)
	}
	refused("a secret that is not for this", secret, "GET", "/v1/refunds/7")
	narrow := newWorld(t)
	narrow.token = narrow.AccessTokenWith("payments", scope, "authorization_details", []any{map[string]any{
		"type": "urn:bursar:call:v1", "json": map[string]any{"/amount": []any{5}}}})
	refused("a token that says what the body must be", narrow, "POST", "/v1/refunds")
}

func values(h http.Header) (all []string) {
	for _, v := range h {
		all = append(all, v...)
	}
	return all
}

func TestARefusalOfACallHandsNothingOver(t *testing.T) {
	for _, row := range []struct {
		name, method, uri string
		status            int
		code              string
		more              []string
	}{
		{"a path that is not canonical", "GET", "/v1/%2e%2e/v1/refunds/7", 403, "ambiguous_path", nil},
		{"dots", "GET", "/v1/refunds/../refunds/7", 403, "ambiguous_path", nil},
		{"no rule", "GET", "/v1/other", 403, "path_not_allowed", nil},
		{"another method", "DELETE", "/v1/refunds/7", 403, "method_not_allowed", nil},
		{"a method in lower case", "get", "/v1/refunds/7", 403, "method_not_allowed", nil},
		{"TRACE", "TRACE", "/v1/refunds/7", 403, "method_not_allowed", nil},
		{"a query that is not listed", "GET", "/v1/refunds/7?_method=DELETE", 403, "query_not_allowed", nil},
		{"a query twice", "GET", "/v1/refunds/7?fields=a&fields=b", 403, "ambiguous_query", nil},
		{"a query in two ways", "GET", "/v1/refunds/7?fields=a;b", 403, "ambiguous_query", nil},
		{"an override", "GET", "/v1/refunds/7", 403, "malformed_request", []string{"X-HTTP-Method-Override: POST"}},
	} {
		w := newWorld(t)
		answer, body := w.ask(row.method, row.uri, row.more...)
		if answer.StatusCode != row.status || answer.Header.Get(shim.ErrorHeader) != row.code {
			t.Errorf("%s: %d %v %s", row.name, answer.StatusCode, answer.Header, body)
		}
		for name := range answer.Header {
			if strings.HasPrefix(name, "X-Bursar-") {
				t.Errorf("%s: there is %s", row.name, name)
			}
		}
	}
}

func TestARevokedTokenOpensNothing(t *testing.T) {
	w := newWorld(t)
	if answer, body := w.ask("GET", "/v1/refunds/7"); answer.StatusCode != http.StatusOK {
		t.Fatalf("before: %d %s", answer.StatusCode, body)
	}
	w.Cut("acme", string(revoke.Client), "ap-bot", false)
	answer, body := w.ask("GET", "/v1/refunds/7")
	if answer.StatusCode != http.StatusUnauthorized || len(values(answer.Header)) == 0 ||
		!strings.Contains(answer.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("after: %d %v %s", answer.StatusCode, answer.Header, body)
	}
	if slices.Contains(values(answer.Header), key) {
		t.Error("the key was handed over")
	}
}

func TestAnotherToolsTokenOpensNothing(t *testing.T) {
	w := newWorld(t)
	for _, other := range []string{w.AccessToken("other", scope), "abc", ""} {
		w.token = other
		if answer, _ := w.ask("GET", "/v1/refunds/7"); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %d", other, answer.StatusCode)
		}
	}
}

// deaf is a log that cannot be written to.
type deaf struct{ *audit.Log }

func (deaf) Append(context.Context, audit.Origin, audit.Event, ...ledger.Claim) (ledger.Position, error) {
	return ledger.Position{}, errors.New("the log is full")
}

func TestWithoutARecordNothingIsHandedOver(t *testing.T) {
	w := newWorld(t)
	w.Handler = decide.New(servertest.ShimURL, w.Shim(deaf{w.Log}), quiet)
	answer, _ := w.ask("GET", "/v1/refunds/7")
	if answer.StatusCode != http.StatusForbidden || slices.Contains(values(answer.Header), key) {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
}
