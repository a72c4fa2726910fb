package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

func TestIntrospectionIsForTheAddressedResourceServer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		token := w.token(t)
		a := w.as(t, "payments-api").Introspect(t, token)
		if a.Status != http.StatusOK || a.JSON["active"] != true || a.JSON["client_id"] != "ap-bot" ||
			a.JSON["aud"] != payments || a.JSON["scope"] != readRefunds || a.JSON["iss"] != w.Issuer("acme") {
			t.Errorf("status %d %s", a.Status, a.Body)
		}
		other := w.as(t, "mail-api")
		for name, foreign := range map[string]string{"somebody else's": token, "garbage": "x", "of no issuer": w.workload(t),
			"respelled": token + "=", "tampered": mutations["flip a bit of the signature"](token)} {
			if a := other.Introspect(t, foreign); a.Status != http.StatusOK || strings.TrimSpace(a.Body) != `{"active":false}` {
				t.Errorf("%s: status %d %s", name, a.Status, a.Body)
			}
		}
		if a := w.acme().Introspect(t, token); a.Status != http.StatusBadRequest || a.Text("error") != "invalid_client" {
			t.Errorf("without credentials: status %d %s", a.Status, a.Body)
		}
		other.Secret += "x"
		if a := other.Introspect(t, token); a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("with a wrong secret: status %d %s", a.Status, a.Body)
		}
	})
}

// RFC 7009 §2.1: a token is revoked by the client it was issued to, here also by the resource server it is for.
func TestAClientRevokesWhatIsItsOwn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, mailAPI := w.as(t, "payments-api"), w.as(t, "mail-api")
		by := func(workload, token string, more url.Values) *harness.Answer {
			form := url.Values{"token": {token}, "client_assertion_type": {harness.JWTBearer}, "client_assertion": {workload}}
			for name, values := range more {
				form[name] = values
			}
			a, err := w.acme().Send(t.Context(), "revoke", form)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		bot, spare := w.workload(t), w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}})
		token := w.token(t)
		for name, a := range map[string]*harness.Answer{
			"another agent": by(spare, token, nil), "another resource server": mailAPI.Revoke(t, token)} {
			if a.Status != http.StatusBadRequest || a.Text("error") != "invalid_grant" {
				t.Errorf("%s: status %d %s", name, a.Status, a.Body)
			}
		}
		if a := w.acme().Revoke(t, token); a.Status != http.StatusUnauthorized {
			t.Errorf("without credentials: status %d %s", a.Status, a.Body)
		}
		if !api.Active(t, token) {
			t.Fatal("somebody else revoked the token")
		}
		for range 2 { // revoking again is no error
			if a := by(bot, token, url.Values{"token_type_hint": {"refresh_token"}}); a.Status != http.StatusOK || a.Body != "" {
				t.Errorf("its own agent: status %d %s", a.Status, a.Body)
			}
			if api.Active(t, token) {
				t.Error("the token is active")
			}
		}
		token = w.token(t)
		if a := api.Revoke(t, token); a.Status != http.StatusOK || api.Active(t, token) {
			t.Errorf("its resource server: status %d %s", a.Status, a.Body)
		}
		if a := by(bot, "garbage", nil); a.Status != http.StatusOK {
			t.Errorf("garbage: status %d %s", a.Status, a.Body)
		}
		if a := by(bot, "", nil); a.Status != http.StatusBadRequest || a.Text("error") != "invalid_request" {
			t.Errorf("no token: status %d %s", a.Status, a.Body)
		}
		if !api.Active(t, w.token(t)) {
			t.Error("a new token is not active")
		}
	})
}

func TestARevokedTokenIsInactiveByItsIdAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, token, other := w.as(t, "payments-api"), w.token(t), w.token(t)
		w.run(t, "revoke", "acme", "--jti", harness.ID(token))
		if api.Active(t, token) || !api.Active(t, other) {
			t.Error("not that token, or not that alone, was revoked")
		}
		w.Kill()
		w.Restart(t)
		if api.Active(t, token) || !api.Active(t, other) {
			t.Error("the revocation did not survive a crash")
		}
	})
}

func TestADisabledClientGetsNothingUntilItIsEnabled(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, token := w.as(t, "payments-api"), w.token(t)
		spare := harness.Form(w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}}), payments, readRefunds)
		form := harness.Form(w.workload(t), payments, readRefunds)
		person := harness.For(w.corp.Mint(t, harness.Mint{}), w.workload(t), payments, readRefunds)
		w.run(t, "revoke", "acme", "--client", "ap-bot")
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.client")
		refused(t, w.acme(), person, 400, "invalid_request", "revoked.client")
		if api.Active(t, token) {
			t.Error("its token is active")
		}
		w.acme().MustExchange(t, spare)
		w.Apply(t, w.file(t, "acme.yaml")) // apply enables nothing
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.client")
		w.run(t, "enable", "acme", "--client", "ap-bot")
		if fresh := w.acme().MustExchange(t, form); !api.Active(t, fresh) || api.Active(t, token) {
			t.Error("the new token is not active, or the old one is")
		}
	})
}

// Whatever was issued before a revocation returned is dead when it returns, and nothing is issued after it.
func TestNoTokenSurvivesARevocationUnderLoad(t *testing.T) {
	rounds := 2
	if harness.Full() {
		rounds = 20
	}
	eachWorld(t, func(t *testing.T, w *world) {
		api, form := w.as(t, "payments-api"), harness.Form(w.workload(t), payments, readRefunds)
		for range rounds {
			l := &load{mayDeny: true}
			l.start(t, w, 8)
			l.await(t, "tokens", &l.tokens, 100)
			w.run(t, "revoke", "acme", "--client", "ap-bot")
			if a := w.acme().Exchange(t, form); a.Status != http.StatusBadRequest {
				t.Errorf("after the revocation: status %d %s", a.Status, a.Body)
			}
			l.await(t, "denials", &l.denials, 20)
			l.stop()
			for _, token := range l.received {
				if api.Active(t, token) {
					t.Fatal("a token survived")
				}
			}
			w.run(t, "enable", "acme", "--client", "ap-bot")
			if !api.Active(t, w.acme().MustExchange(t, form)) {
				t.Fatal("a token of after the enabling is not active")
			}
		}
	})
}

func TestTheKillSwitchOfATenant(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		api, token := w.as(t, "payments-api"), w.token(t)
		form := harness.Form(w.workload(t), payments, readRefunds)
		elsewhere := harness.Form(w.cluster.Mint(t, harness.Mint{Claims: map[string]any{
			"sub": "system:serviceaccount:globex:gx-bot", "aud": []string{w.Issuer("globex")}}}), globexPayments, readRefunds)
		w.run(t, "revoke", "acme", "--all")
		refused(t, w.acme(), form, 400, "invalid_request", "revoked.tenant")
		if a := api.Introspect(t, token); a.JSON["active"] == true {
			t.Errorf("introspection: %s", a.Body)
		}
		w.At("globex").MustExchange(t, elsewhere)
		w.run(t, "enable", "acme", "--all")
		if fresh := w.acme().MustExchange(t, form); !api.Active(t, fresh) || api.Active(t, token) {
			t.Error("the new token is not active, or the old one is")
		}
	})
}

// What a tenant file no longer has is gone on the next request, whatever was verified or fetched a moment ago.
func TestWhatIsTakenOutIsGoneAtOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		api, bot, alice := w.as(t, "payments-api"), w.workload(t), w.corp.Mint(t, harness.Mint{})
		own, person := harness.Form(bot, payments, readRefunds), harness.For(alice, bot, payments, readRefunds)
		file := w.file(t, "acme.yaml")
		prune := func(edits ...string) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "acme.yaml")
			if err := os.WriteFile(path, []byte(strings.NewReplacer(edits...).Replace(file)), 0o600); err != nil {
				t.Fatal(err)
			}
			w.run(t, "apply", "--prune", "-f", path)
		}
		token := w.acme().MustExchange(t, own)
		w.acme().MustExchange(t, person)
		prune(`on_behalf_of: [{issuer: corp, subject_glob: "*"}]`, `on_behalf_of: [{issuer: corp, subject: bob}]`)
		refused(t, w.acme(), person, 400, "invalid_request", "policy.on_behalf_of")
		prune("    condition: 'claims[\"kubernetes.io\"][\"namespace\"] == \"prod\"'", "    condition: 'false'")
		refused(t, w.acme(), own, 400, "invalid_request", "subject.condition")
		prune(`      - {issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}`+"\n", "")
		refused(t, w.acme(), own, 400, "invalid_request", "subject.unbound")
		prune("    max_ttl: 5m\n", "    max_ttl: 5m\n    disabled: true\n")
		refused(t, w.acme(), own, 400, "invalid_target", "target.unknown")
		if api.Active(t, token) {
			t.Error("a token for a tool that is switched off is active")
		}
		prune("clients: [ap-bot, spare-bot]", "clients: [spare-bot]")
		refused(t, w.acme(), own, 400, "invalid_target", "policy.no_rule")
		prune()
		w.acme().MustExchange(t, own)
		w.acme().MustExchange(t, person)
	})
}

// TestRefusalsByPolicyLookAlike (T-61): a caller learns that the policy refuses, and not why. The answers differ in
// nothing but the code and the decision's id, by which an operator finds the cause in the log, once, with the token
// that was presented.
func TestRefusalsByPolicyLookAlike(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		bot, alice := w.workload(t), w.corp.Mint(t, harness.Mint{})
		spare := w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "spare-bot"}})
		w.run(t, "revoke", "acme", "--subject", "corp:mallory")
		mallory := w.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": "mallory"}})
		w.acme().MustExchange(t, harness.Form(bot, payments, readRefunds)) // the first after a change may leave two records
		words := map[string]string{}
		for reason, form := range map[string]url.Values{
			"policy.no_rule":      harness.Form(spare, ledger, "ledger:entries.read"),
			"policy.action":       harness.Form(bot, payments, "payments:refunds.approve"),
			"policy.on_behalf_of": harness.For(alice, bot, ledger, "ledger:entries.read"),
			"policy.no_default":   harness.Form(bot, ledger, ""),
			"revoked.subject":     harness.For(mallory, bot, payments, readRefunds),
		} {
			before := int64(len(w.Events(t, "acme", 0)))
			a := w.acme().Exchange(t, form)
			words[impersonal(a)] = reason
			subject := harness.Claims(t, form.Get("subject_token"))
			log := w.Events(t, "acme", before)
			if len(log) != 1 || log[0].DecisionID != a.Text("decision_id") || log[0].Reason != reason ||
				log[0].Outcome != "denied" || log[0].Subject.Issuer != subject["iss"] || log[0].Subject.JTI != subject["jti"] {
				t.Errorf("%s: recorded as %+v", reason, log)
			}
		}
		if len(words) != 1 {
			t.Errorf("the refusals differ: %v", words)
		}
	})
}

// TestAWorkloadTokenMayComeAgain (T-20): a platform hands out the same token until it expires. Using it again is no
// attack, and is noted, unless the issuer's entry says that it does not matter.
func TestAWorkloadTokenMayComeAgain(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, replay := range []string{"audit", "off"} {
			file := strings.Replace(w.file(t, "acme.yaml"), "    trust_domain: mesh.example\n",
				"    trust_domain: mesh.example\n    replay: "+replay+"\n", 1)
			w.Apply(t, file)
			w.token(t) // the first after a change may leave two records
			form := harness.Form(w.mesh.Mint(t, harness.Mint{}), payments, readRefunds)
			w.acme().MustExchange(t, form)
			w.acme().MustExchange(t, form)
			log := harness.Exchanges(w.Events(t, "acme", 0))
			first, second := log[len(log)-2], log[len(log)-1]
			if noted := replay == "audit"; first.Subject.Reused || second.Subject.Reused != noted {
				t.Errorf("%s: reused: %t, then %t", replay, first.Subject.Reused, second.Subject.Reused)
			}
		}
	})
}

// A client assertion may be used once, by however many at once.
func TestAClientAssertionIsUsedOnce(t *testing.T) {
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, s *harness.Server) {
		x := newAcceptance(t, s)
		assertion, subject := x.bake(t, recipe{From: "client"}), x.bake(t, recipe{})
		form := harness.Form(subject, payments, readRefunds)
		form.Set("client_assertion", assertion)
		form.Set("client_assertion_type", harness.JWTBearer)
		var served, refused atomic.Int64
		all(50, func(int) {
			switch a, err := s.At("acme").Send(context.WithoutCancel(t.Context()), "token", form); {
			case err != nil:
				t.Error(err)
			case a.Status == http.StatusOK:
				served.Add(1)
			case a.Status == http.StatusUnauthorized && a.Text("error") == "invalid_client":
				refused.Add(1)
			default:
				t.Errorf("status %d %s", a.Status, a.Body)
			}
		})
		if served.Load() != 1 || refused.Load() != 49 {
			t.Errorf("%d were served, %d refused", served.Load(), refused.Load())
		}
	})
}
