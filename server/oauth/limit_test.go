package oauth_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/server/oauth"
	"github.com/bursar-sts/bursar/server/servertest"
)

// limited fails the test unless the answer is a refusal for asking too often, and returns how long it says to wait.
func limited(t *testing.T, a answer) int {
	t.Helper()
	refusal(t, a, http.StatusTooManyRequests, "temporarily_unavailable")
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || after < 1 || a.text("error_description") == "" || a.text("decision_id") != "" {
		t.Errorf("Retry-After %q, %s", a.header.Get("Retry-After"), a.body)
	}
	return after
}

func hourly(count int) limit.Rate { return limit.Rate{Count: count, Per: time.Hour} }

// TestTooManyRequestsOfAnAddress are refused at every endpoint, whatever they hold: nothing of them is read.
func TestTooManyRequestsOfAnAddress(t *testing.T) {
	for _, endpoint := range []string{"token", "introspect", "revoke"} {
		s := newSite(t, servertest.Options{Limits: limit.Rules{Address: hourly(3)}})
		for range 3 {
			if a := s.post(endpoint, nil); a.status == http.StatusTooManyRequests {
				t.Errorf("%s: answered %d %s", endpoint, a.status, a.body)
			}
		}
		if after := limited(t, s.post(endpoint, s.usual())); after != 1200 {
			t.Errorf("wait %d seconds", after)
		}
		limited(t, s.do(http.MethodPost, "/t/acme/"+endpoint, form, strings.NewReader(strings.Repeat("a", 2*oauth.MaxBody))))
		refusal404(t, s.do(http.MethodPost, "/t/nobody/"+endpoint, form, strings.NewReader("")))
	}
}

func refusal404(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusNotFound || a.header.Get("Retry-After") != "" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

func TestTooManyRequestsForATenant(t *testing.T) {
	s := newSite(t, servertest.Options{Limits: limit.Rules{Tenant: hourly(2)}})
	s.Create(strings.ReplaceAll(servertest.Acme(), "acme", "globex"))
	for range 2 {
		if a := s.post("token", s.usual()); a.status != http.StatusOK {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
	}
	limited(t, s.post("token", s.usual()))
	if a := s.do(http.MethodPost, "/t/globex/token", form, strings.NewReader("")); a.status != http.StatusBadRequest {
		t.Errorf("another tenant: %d %s", a.status, a.body)
	}
}

// TestTooManyRequestsOfAClient counts only what the client has proven to be its own, and records none of what it
// refuses: only their number.
func TestTooManyRequestsOfAClient(t *testing.T) {
	s := newSite(t, servertest.Options{Limits: limit.Rules{Client: hourly(5)}})
	for range 50 { // a stranger who names the client
		a := s.post("token", with(s.usual(), "client_id", "ap-bot", "subject_token", "x"))
		if a.status != http.StatusBadRequest {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
	}
	for i := range 5 {
		scope := []string{"payments:refunds.read", "payments:refunds.unknown"}[i%2] // refused ones count too
		if a := s.post("token", with(s.usual(), "scope", scope)); a.status == http.StatusTooManyRequests {
			t.Fatalf("request %d: %d %s", i, a.status, a.body)
		}
	}
	before := len(s.Records("acme"))
	for range 50 {
		limited(t, s.post("token", s.usual()))
	}
	asker := basic("payments-api", s.Secret("payments-api"))
	for i := range 8 { // a resource server that asks about tokens, at either endpoint
		a := s.post([]string{"introspect", "revoke"}[i%2], url.Values{"token": {"x"}}, asker)
		if i < 5 && a.status != http.StatusOK {
			t.Errorf("question %d: %d %s", i, a.status, a.body)
		} else if i >= 5 {
			limited(t, a)
		}
	}
	if err := s.Log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, count := s.Records("acme")[before:], int64(0)
	for _, r := range all {
		if r.Body.Reason == limit.ReasonClient {
			count += r.Body.Count
		}
	}
	if count != 53 || len(all) > 10 {
		t.Errorf("%d refusals are counted in %d records", count, len(all))
	}
}

// TestWrongSecretsAreLimited: twenty of them, at any endpoint, for a client that exists as for one that does not; and
// the answers tell nothing of which it is.
func TestWrongSecretsAreLimited(t *testing.T) {
	right, wrong := "", ""
	var bodies [2][]string
	for i, id := range []string{"payments-api", "nobody"} {
		s := newSite(t, servertest.Options{Limits: limit.Rules{SecretFailures: limit.Rate{Count: 10, Per: time.Hour}}})
		right = s.Secret("payments-api")
		for n := range 20 {
			wrong, _ = clients.NewSecret(time.Now())
			endpoint := []string{"introspect", "token", "revoke"}[n%3]
			a := s.post(endpoint, with(s.usual(), "token", "x"), basic(id, wrong))
			if n < 10 {
				refusal(t, a, http.StatusUnauthorized, "invalid_client")
			} else if after := limited(t, a); after != 360 {
				t.Errorf("wait %d seconds", after)
			}
			bodies[i] = append(bodies[i], a.body)
		}
		limited(t, s.post("introspect", with(url.Values{}, "token", "x"), basic(id, right)))
		// An agent at the same address that has no secret to show.
		if a := s.post("token", s.usual()); a.status != http.StatusOK {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	}
	for n := range bodies[0] {
		if bodies[0][n] != bodies[1][n] {
			t.Errorf("answer %d: %s for a client, %s for nobody", n, bodies[0][n], bodies[1][n])
		}
	}
}
