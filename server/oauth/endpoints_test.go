package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/oauth"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

func TestAnExchangeIsAnswered(t *testing.T) {
	s := newSite(t, servertest.Options{})
	a := s.post("token", s.usual())
	if a.status != 200 || a.text("token_type") != "Bearer" ||
		a.text("issued_token_type") != "urn:ietf:params:oauth:token-type:access_token" ||
		a.text("scope") != "payments:refunds.read" || a.json["expires_in"] != 120.0 ||
		strings.Count(a.text("access_token"), ".") != 2 {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if len(a.json) != 5 {
		t.Errorf("the answer holds %d members: %s", len(a.json), a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" ||
		a.header.Get("Bursar-Txn") == "" {
		t.Errorf("headers %v", a.header)
	}
}

// TestAClientAsItselfIsAnswered: nothing was exchanged, so the answer does not say of which type (RFC 6749 §5.1).
func TestAClientAsItselfIsAnswered(t *testing.T) {
	s := newSite(t, servertest.Options{})
	ask := url.Values{"grant_type": {"client_credentials"}, "audience": {"payments"}}
	a := s.post("token", ask, basic("secret-bot", s.Secret("secret-bot")))
	_, typed := a.json["issued_token_type"]
	if a.status != 200 || typed || len(a.json) != 4 || a.text("token_type") != "Bearer" ||
		a.text("scope") != "payments:refunds.read" || strings.Count(a.text("access_token"), ".") != 2 {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if a := s.post("token", ask); a.status != 401 || a.code() != "invalid_client" {
		t.Errorf("without credentials: answered %d %s", a.status, a.body)
	}
}

// TestNoOtherTokenComesOut (T-44): whatever is asked for, and however, no refresh token and no ID token comes out.
func TestNoOtherTokenComesOut(t *testing.T) {
	s := newSite(t, servertest.Options{})
	for _, changes := range [][]string{
		{"scope", "offline_access"}, {"scope", "payments:refunds.read offline_access"}, {"scope", "openid"},
		{"requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"},
		{"requested_token_type", "urn:ietf:params:oauth:token-type:id_token"},
		{"grant_type", "refresh_token"}, {"grant_type", "client_credentials"}, {"access_type", "offline"}, {"scope", ""}} {
		a := s.post("token", with(s.usual(), changes...))
		if strings.Contains(a.body, "refresh_token\":") || strings.Contains(a.body, "id_token\":") ||
			(a.status == 200) != (changes[0] == "access_type" || changes[1] == "") {
			t.Errorf("%q: answered %d %s", changes, a.status, a.body)
		}
	}
}

func TestMethods(t *testing.T) {
	s := newSite(t, servertest.Options{})
	for _, endpoint := range []string{"token", "introspect", "revoke"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			a := s.do(method, "/t/acme/"+endpoint, form, nil)
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" ||
				a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: answered %d %v", method, endpoint, a.status, a.header)
			}
		}
		a := s.do("OPTIONS", "/t/acme/"+endpoint, "", nil,
			func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
		if a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("OPTIONS %s: answered %d %s", endpoint, a.status, a.body)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("OPTIONS %s: %s", endpoint, name)
			}
		}
	}
}

// TestEveryKindHasItsAnswer walks the whole set of faults.
func TestEveryKindHasItsAnswer(t *testing.T) {
	codes := oauth.Codes()
	for _, kind := range fault.Kinds() {
		if codes[kind] == "" {
			t.Errorf("%v has no code", kind)
		}
		rec := httptest.NewRecorder()
		oauth.WriteError(rec, fault.New(kind, "some.reason", "Some sentence."))
		res := rec.Result()
		if res.StatusCode < 400 || res.StatusCode == 403 ||
			(res.StatusCode == 401) != (res.Header.Get("WWW-Authenticate") != "") ||
			(res.StatusCode == 503 || res.StatusCode == 429) != (res.Header.Get("Retry-After") != "") ||
			res.Header.Get("Cache-Control") != "no-store" ||
			strings.Contains(rec.Body.String(), "some.reason") ||
			strings.Contains(rec.Body.String(), "Some") != (kind != fault.NotFound) {
			t.Errorf("%v: answered %d %v %s", kind, res.StatusCode, res.Header, rec.Body)
		}
	}
	rec := httptest.NewRecorder()
	oauth.WriteError(rec, fault.New(fault.Kind(200), "x", "x"))
	if rec.Code != 500 {
		t.Errorf("an unknown kind is answered %d", rec.Code)
	}
}

func TestDescriptionsAreLegible(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := fault.New(rapid.SampledFrom(fault.Kinds()).Draw(r, "kind"), "r", rapid.String().Draw(r, "sentence"))
		rec := httptest.NewRecorder()
		oauth.WriteError(rec, f)
		var body struct {
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			r.Fatal(err)
		}
		for _, c := range body.Description {
			if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
				r.Fatalf("the description holds %q: %s", c, rec.Body)
			}
		}
	})
}

func TestQuestions(t *testing.T) {
	s := newSite(t, servertest.Options{})
	secret, post, foreign := s.Secret("payments-api"), s.Secret("post-bot"), s.Secret("ledger-api")
	compact := s.post("token", s.usual()).text("access_token")
	token := url.Values{"token": {compact}}
	inactive := func(name string, a answer) {
		t.Helper()
		if a.status != 200 || a.body != `{"active":false}` || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: answered %d %s %v", name, a.status, a.body, a.header)
		}
	}

	refusal(t, s.post("introspect", token), 400, "invalid_client") // presents nothing at all
	refusal(t, s.post("introspect", token, basic("payments-api", "x")), 401, "invalid_client")
	refusal(t, s.post("introspect", token, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+compact) }),
		401, "invalid_client")
	refusal(t, s.post("introspect", with(token, "access_token", compact)), 400, "invalid_client")
	refusal(t, s.post("introspect", nil, basic("payments-api", secret)), 400, "invalid_request")
	refusal(t, s.post("revoke", nil, basic("payments-api", secret)), 400, "invalid_request")
	refusal(t, s.post("revoke", token), 401, "invalid_client")
	refusal(t, s.post("revoke", token, basic("ledger-api", foreign)), 400, "invalid_grant")

	a := s.post("introspect", token, basic("payments-api", secret))
	want := map[string]any{"active": true, "token_type": "Bearer", "iss": "https://sts.example/t/acme",
		"sub": "client:ap-bot", "client_id": "ap-bot",
		"aud": "https://tools.example/payments", "scope": "payments:refunds.read"}
	for name, value := range want {
		if a.json[name] != value {
			t.Errorf("%s is %v, want %v", name, a.json[name], value)
		}
	}
	for _, name := range []string{"iat", "exp", "jti", "txn"} {
		if a.json[name] == nil {
			t.Errorf("%s is not there", name)
		}
	}
	inactive("the resource server of another tool", s.post("introspect", token, basic("ledger-api", foreign)))
	inactive("garbage", s.post("introspect", url.Values{"token": {"garbage"}}, basic("payments-api", secret)))
	a = s.post("revoke", url.Values{"token": {"garbage"}}, basic("payments-api", secret))
	if a.status != 200 || a.body != "" {
		t.Errorf("revoking garbage: answered %d %s", a.status, a.body)
	}
	// A wrong hint is only a hint, and the form is as good as the header for those who are registered so.
	a = s.post("revoke", with(token, "token_type_hint", "refresh_token"), basic("payments-api", secret))
	if a.status != 200 || a.body != "" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	inactive("revoked", s.post("introspect", token, basic("payments-api", secret)))
	if a := s.post("introspect", with(token, "client_id", "post-bot", "client_secret", post)); a.status != 200 {
		t.Errorf("by client_secret_post: answered %d %s", a.status, a.body)
	}
}

// TestTrapsOfFosite: what fosite v0.49 does by itself, and must not happen here.
func TestTrapsOfFosite(t *testing.T) {
	s := newSite(t, servertest.Options{Deadline: 300 * time.Millisecond})
	secret, bot := s.Secret("payments-api"), s.Secret("secret-bot")
	compact := s.post("token", s.usual()).text("access_token")
	question := url.Values{"token": {compact}}
	own := func() url.Values { return with(s.usual(), "subject_token", s.Workload("secret-bot")) }
	t.Run("wrong credentials never pass as none", func(t *testing.T) {
		refusal(t, s.post("token", s.usual(), basic("ap-bot", "x")), 401, "invalid_client")
		refusal(t, s.post("token", with(s.usual(), "client_id", "ap-bot", "client_secret", "x")), 401, "invalid_client")
		refusal(t, s.post("token", with(s.usual(), "client_assertion", "x")), 401, "invalid_client")
		refusal(t, s.post("token", s.usual(), func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }), 401,
			"invalid_client")
	})
	t.Run("no token is given to an empty client", func(t *testing.T) {
		refusal(t, s.post("token", url.Values{"grant_type": {grant}}), 401, "invalid_client")
		refusal(t, s.post("token", url.Values{"grant_type": {grant}}, basic("", "")), 401, "invalid_client")
	})
	t.Run("an unknown grant is called so, after the client is known", func(t *testing.T) {
		for _, name := range []string{"password", "authorization_code", "refresh_token", "client_credentials foo", "foo",
			strings.ToUpper(grant), grant + " foo",
			"foo " + grant, " " + grant, grant + "\u00a0"} {
			refusal(t, s.post("token", with(own(), "grant_type", name), basic("secret-bot", bot)), 400, "unsupported_grant_type")
			refusal(t, s.post("token", with(own(), "grant_type", name), basic("secret-bot", "x")), 401, "invalid_client")
		}
	})
	t.Run("two methods of authentication are one too many", func(t *testing.T) {
		refusal(t, s.post("token", with(own(), "client_id", "secret-bot", "client_secret", bot), basic("secret-bot", bot)),
			400, "invalid_request")
		refusal(t, s.post("token",
			with(own(), "client_assertion_type", clients.TypeJWTBearer, "client_assertion", s.Workload("ap-bot")),
			basic("secret-bot", bot)), 401, "invalid_client")
	})
	t.Run("one client assertion is good for one of 20 concurrent posts", func(t *testing.T) {
		c := s.Assertion(nil)
		values := with(s.usual(), "subject_token", s.Workload("key-bot"),
			"client_assertion_type", c.AssertionType, "client_assertion", c.Assertion)
		statuses := make(chan int, 20)
		for range 20 {
			go func() { statuses <- s.post("token", values).status }()
		}
		var all []int
		for range 20 {
			all = append(all, <-statuses)
		}
		slices.Sort(all)
		if all[0] != 200 || all[1] != 401 || all[19] != 401 {
			t.Errorf("answered %v", all)
		}
	})
	t.Run("an assertion for another server does not spend its jti", func(t *testing.T) {
		for _, row := range []struct {
			changes map[string]any
			status  int
		}{
			{map[string]any{"jti": "j", "aud": "https://other.example"}, 401},
			{map[string]any{"jti": "j", "aud": []string{servertest.BaseURL + "/t/acme", "x"}}, 401},
			{map[string]any{"jti": "j", "exp": s.Clock.Now().Add(10 * 365 * 24 * time.Hour).Unix()}, 401},
			{map[string]any{"jti": "j"}, 200},
			{map[string]any{"jti": "j"}, 401},
		} {
			c := s.Assertion(row.changes)
			a := s.post("token", with(s.usual(), "subject_token", s.Workload("key-bot"),
				"client_assertion_type", c.AssertionType, "client_assertion", c.Assertion))
			if a.status != row.status {
				t.Errorf("%v: answered %d %s, want %d", row.changes, a.status, a.body, row.status)
			}
		}
	})
	t.Run("nothing of the request is echoed", func(t *testing.T) {
		for _, name := range []string{
			"audience", "resource", "scope", "subject_token", "subject_token_type", "requested_token_type",
			"client_id", "grant_type",
		} {
			a := s.post("token", with(own(), name, "mark<me>"), basic("secret-bot", bot))
			if a.status == 200 || strings.Contains(a.body, "mark") {
				t.Errorf("%s: answered %d %s", name, a.status, a.body)
			}
		}
	})
	t.Run("a refused client gets registered codes only", func(t *testing.T) {
		refusal(t, s.post("token", s.usual(), basic("payments-api", secret)), 400, "unauthorized_client")
	})
	// The last, because the store goes.
	t.Run("a store that is down is 503, not success or a dead token", func(t *testing.T) {
		s.Store.Set(storagetest.Commit, storagetest.NotApplied)
		refusal(t, s.post("revoke", question, basic("payments-api", secret)), 503, "temporarily_unavailable")
		refusal(t, s.post("token", s.usual()), 503, "temporarily_unavailable")
		s.Store.Set(storagetest.Position, storagetest.NotApplied)
		refusal(t, s.post("introspect", question, basic("payments-api", secret)), 503, "temporarily_unavailable")
		refusal(t, s.post("revoke", question, basic("payments-api", secret)), 503, "temporarily_unavailable")
		refusal(t, s.post("token", with(s.usual(), "scope", "x")), 503, "temporarily_unavailable")
	})
}

func TestUnknownTenantsAreNotFoundWithoutWords(t *testing.T) {
	s := newSite(t, servertest.Options{})
	nothing := s.do("GET", "/nothing/here", "", nil)
	for _, endpoint := range []string{"token", "introspect", "revoke"} {
		for _, send := range []func() answer{
			func() answer { return s.do("POST", "/t/nobody/"+endpoint, form, strings.NewReader(s.usual().Encode())) },
			func() answer { return s.do("POST", "/t/nobody/"+endpoint, "", nil) },
			func() answer {
				return s.do("POST", "/t/nobody/"+endpoint, form, strings.NewReader("grant_type=x"), basic("a", "b"))
			},
			func() answer { return s.do("GET", "/t/nobody/"+endpoint, "", nil) },
		} {
			if a := send(); a.status != 404 || a.body != nothing.body {
				t.Errorf("%s: answered %d %s, want %s", endpoint, a.status, a.body, nothing.body)
			}
		}
	}
}

// Forms that mean a restriction are refused; what a policy refuses has an id to look it up by.
func TestRefusalsOfMeaning(t *testing.T) {
	s := newSite(t, servertest.Options{})
	refusal(t, s.post("token", with(s.usual(), "authorization_details", "[]")), 400, "invalid_request")
	refusal(t, s.post("token", s.usual(), func(r *http.Request) { r.Header.Set("DPoP", "x") }), 400, "invalid_request")
	denied := s.post("token", with(s.usual(), "scope", "payments:refunds.delete"))
	refusal(t, denied, 400, "invalid_scope")
	other := s.post("token", with(s.usual(), "audience", "mail", "scope", "mail:send"))
	refusal(t, other, 400, "invalid_target")
	if denied.text("decision_id") == "" || denied.text("error_description") != other.text("error_description") {
		t.Errorf("answered %s and %s", denied.body, other.body)
	}
}
