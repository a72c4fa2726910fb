package exchange_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// TestWhoMayAskAboutAToken (T-56) asks with the credentials of everybody about one token.
func TestWhoMayAskAboutAToken(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secrets := map[string]string{}
	for _, client := range []string{"payments-api", "ledger-api", "secret-bot"} {
		secrets[client] = w.Secret(client)
	}
	request := self(w.Workload("secret-bot"))
	request.Credentials = servertest.Basic("secret-bot", secrets["secret-bot"])
	for _, row := range []struct {
		name        string
		credentials func() clients.Credentials
		active      bool
		revokes     fault.Kind // Internal: it does
	}{
		{"a resource server of the tool",
			func() clients.Credentials { return servertest.Basic("payments-api", secrets["payments-api"]) },
			true, fault.Internal},
		{"a resource server that proves itself as a workload", func() clients.Credentials {
			return clients.Credentials{AssertionType: clients.TypeJWTBearer,
				Assertion: w.Mint(servertest.Once(), map[string]any{"sub": "mesh-api"})}
		}, true, fault.Internal},
		{"the resource server of another tool",
			func() clients.Credentials { return servertest.Basic("ledger-api", secrets["ledger-api"]) },
			false, fault.InvalidGrant},
		{"the agent that it was issued to",
			func() clients.Credentials { return servertest.Basic("secret-bot", secrets["secret-bot"]) },
			false, fault.Internal},
		{"another agent", func() clients.Credentials { return w.Assertion(nil) }, false, fault.InvalidGrant},
	} {
		t.Run(row.name, func(t *testing.T) {
			result := issue(t, w, request)
			before := len(w.Records("acme"))
			claims, err := w.Exchanger.Introspect(t.Context(), "acme",
				exchange.Question{Credentials: row.credentials(), Token: result.Token})
			if err != nil || (claims != nil) != row.active {
				t.Fatalf("introspection answered %v, %v", claims, err)
			}
			log := records(w, before)
			switch {
			case row.active && (len(log) != 0 || claims.ID != claimsOf(t, result.Token).ID):
				t.Errorf("an active introspection answered %+v and left %+v", claims, log)
			case !row.active &&
				(len(log) != 1 || log[0].Name != audit.TokenIntrospect || log[0].Body.Reason != "introspect.not_addressed"):
				t.Errorf("recorded as %+v", log)
			}
			before = len(w.Records("acme"))
			err = w.Exchanger.Revoke(t.Context(), "acme", exchange.Question{Credentials: row.credentials(), Token: result.Token})
			claims, askErr := owner(w, secrets["payments-api"], result.Token)
			if askErr != nil {
				t.Fatal(askErr)
			}
			log = records(w, before)[:1]
			if row.revokes == fault.Internal {
				if err != nil || claims != nil || log[0].Body.Outcome != audit.Allowed ||
					log[0].Body.Cutoff.Value != log[0].Body.Token.JTI {
					t.Errorf("revocation answered %v, active after it %v, recorded as %+v", err, claims, log)
				}
				return
			}
			if fault.As(err).Kind != row.revokes || claims == nil || log[0].Body.Outcome != audit.Denied ||
				log[0].Body.Reason != "revoke.not_owner" {
				t.Errorf("revocation answered %v, active after it %v, recorded as %+v", err, claims != nil, log)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		result := issue(t, w, request)
		for name, c := range map[string]clients.Credentials{"none": {}, "wrong": servertest.Basic("payments-api", "x")} {
			q := exchange.Question{Credentials: c, Token: result.Token}
			claims, err := w.Exchanger.Introspect(t.Context(), "acme", q)
			if claims != nil || fault.As(err).Kind != fault.InvalidClient {
				t.Errorf("%s: introspection answered %v, %v", name, claims, err)
			}
			if err := w.Exchanger.Revoke(t.Context(), "acme", q); fault.As(err).Kind != fault.InvalidClient {
				t.Errorf("%s: revocation answered %v", name, err)
			}
		}
		if claims, err := owner(w, secrets["payments-api"], result.Token); claims == nil || err != nil {
			t.Errorf("the token is not active any more: %v", err)
		}
		if _, err := owner(w, secrets["payments-api"], ""); fault.As(err).Kind != fault.InvalidRequest {
			t.Errorf("no token: %v", err)
		}
	})
}

// An assertion of an issuer whose tokens may be used once authenticates one question.
func TestAnAssertionForOneUseAsksOnce(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	compact := issue(t, w, self(w.Workload("ap-bot"))).Token
	q := exchange.Question{Token: compact, Credentials: clients.Credentials{AssertionType: clients.TypeJWTBearer,
		Assertion: w.Mint(servertest.Once(), map[string]any{"sub": "mesh-api"})}}
	var mu sync.Mutex
	active := 0
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			claims, err := w.Exchanger.Introspect(t.Context(), "acme", q)
			mu.Lock()
			defer mu.Unlock()
			if claims != nil {
				active++
			} else if f := fault.As(err); f.Kind != fault.InvalidClient || f.Reason != clients.ReasonAssertionReplayed {
				t.Errorf("answered %v", err)
			}
		})
	}
	all.Wait()
	if active != 1 {
		t.Errorf("answered %d times", active)
	}
}

// TestInactiveTokens (T-57): every way in which a token can be worth nothing looks the same.
func TestInactiveTokens(t *testing.T) {
	for _, row := range []struct {
		name   string
		spoil  func(w *servertest.World, compact string) string // returns the token to ask about
		reason string                                           // of the record, "" for none
	}{
		{"garbage", func(*servertest.World, string) string { return "garbage" }, ""},
		{"a token of an issuer that is trusted",
			func(w *servertest.World, _ string) string { return w.Workload("ap-bot") }, ""},
		{"padding", func(_ *servertest.World, c string) string { return c + "=" }, ""},
		{"a newline", func(_ *servertest.World, c string) string { return c + "\n" }, ""},
		{"a scheme before it", func(_ *servertest.World, c string) string { return "Bearer " + c }, ""},
		{"other unused bits", func(_ *servertest.World, c string) string { return respell(c) }, ""},
		{"no signature", func(_ *servertest.World, c string) string { return c[:strings.LastIndexByte(c, '.')+1] }, ""},
		{"expired", func(w *servertest.World, c string) string { w.Clock.Advance(3 * time.Minute); return c }, ""},
		{"its tool is switched off", func(w *servertest.World, c string) string {
			w.Apply(servertest.Acme("refunds.delete]}", "refunds.delete], disabled: true}"), false)
			return c
		}, "target.unknown"},
		{"its tool is at another resource", func(w *servertest.World, c string) string {
			w.Apply(servertest.Acme("https://tools.example/payments", "https://new.example/payments"), false)
			return c
		}, "introspect.not_addressed"},
		{"its client is deleted", func(w *servertest.World, c string) string {
			w.Apply(servertest.Acme("      - {issuer: cluster, subject: \"system:serviceaccount:prod:ap-bot\"}\n", "",
				"  - id: ap-bot\n", "  - id: new-bot\n", "[ap-bot, ", "[new-bot, ", "[ap-bot]", "[new-bot]"), true)
			return c
		}, "revoked.client"},
		{"its issuer is deleted", func(w *servertest.World, c string) string {
			w.Apply(servertest.Acme("name: cluster", "name: cluster2", "issuer: cluster", "issuer: cluster2"), true)
			return c
		}, "revoked.issuer"},
		{"its client is revoked", func(w *servertest.World, c string) string {
			w.Cut("acme", "client", "ap-bot", false)
			return c
		}, "revoked.client"},
		{"its run is revoked", func(w *servertest.World, c string) string {
			w.Cut("acme", "run", claimsOf(w.T, c).Txn, false)
			return c
		}, "revoked.run"},
		{"its lineage is revoked", func(w *servertest.World, c string) string {
			w.Cut("acme", "lineage", claimsOf(w.T, c).ID, false)
			return c
		}, "revoked.lineage"},
		{"its tool is revoked", func(w *servertest.World, c string) string {
			w.Cut("acme", "tool", "payments", false)
			return c
		}, "revoked.tool"},
		{"its issuer is revoked", func(w *servertest.World, c string) string {
			w.Cut("acme", "issuer", "cluster", false)
			return c
		}, "revoked.issuer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, servertest.Options{})
			secret := w.Secret("payments-api")
			compact := issue(t, w, self(w.Workload("ap-bot"))).Token
			if claims, err := owner(w, secret, compact); claims == nil || err != nil {
				t.Fatalf("the token was not active: %v", err)
			}
			asked := row.spoil(w, compact)
			before := len(w.Records("acme"))
			if claims, err := owner(w, secret, asked); claims != nil || err != nil {
				t.Errorf("answered %v, %v", claims, err)
			}
			log := records(w, before)
			if row.reason == "" && len(log) != 0 || row.reason != "" && (len(log) != 1 || log[0].Body.Reason != row.reason) {
				t.Errorf("recorded as %+v, want %q", log, row.reason)
			}
			q := exchange.Question{Credentials: servertest.Basic("payments-api", secret), Token: asked}
			if err := w.Exchanger.Revoke(t.Context(), "acme", q); err != nil && fault.As(err).Kind != fault.InvalidGrant {
				t.Errorf("revoking it answered %v", err)
			}
		})
	}
}

// respell returns another text that loose decoders take for the same bytes.
func respell(compact string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, compact[len(compact)-1])
	return compact[:len(compact)-1] + string(alphabet[last^1])
}

// flip returns the token with its ECDSA signature in the other half of the curve's order, which verifies, too.
func flip(compact string) string {
	dot := strings.LastIndexByte(compact, '.')
	sig, err := base64.RawURLEncoding.DecodeString(compact[dot+1:])
	if err != nil {
		panic(err)
	}
	order := []byte("\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff" +
		"\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51")
	borrow := 0
	for i := 31; i >= 0; i-- {
		d := int(order[i]) - int(sig[32+i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		sig[32+i] = byte(d)
	}
	return compact[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
}

func TestARevokedTokenStaysRevokedInOtherSpellings(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret := w.Secret("payments-api")
	compact := issue(t, w, self(w.Workload("ap-bot"))).Token
	q := exchange.Question{Credentials: servertest.Basic("payments-api", secret), Token: compact}
	for range 2 { // the second time it is revoked already
		if err := w.Exchanger.Revoke(t.Context(), "acme", q); err != nil {
			t.Fatal(err)
		}
	}
	for _, spelling := range []string{compact, flip(compact), respell(compact), compact + "=", " " + compact} {
		if claims, err := owner(w, secret, spelling); claims != nil || err != nil {
			t.Errorf("answered %v, %v", claims, err)
		}
	}
	revocations := 0
	for _, r := range w.Records("acme") {
		if r.Name == audit.TokenRevoke {
			revocations++
		}
	}
	if revocations != 1 {
		t.Errorf("%d revocations were recorded", revocations)
	}
}

// TestWhatIsDisabledGetsNothing: T-09, every target that can be disabled, on every path that issues; T-07, whatever
// keys and verifications are remembered.
func TestWhatIsDisabledGetsNothing(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	secret, root := w.Secret("secret-bot"), ""
	paths := map[string]func() exchange.Request{
		"alone": func() exchange.Request { return self(w.Workload("ap-bot")) },
		"actor": func() exchange.Request { return onBehalf(w.User("alice"), w.Workload("ap-bot")) },
		"assertion": func() exchange.Request {
			r := self(w.Workload("ap-bot"))
			r.Credentials = clients.Credentials{AssertionType: clients.TypeJWTBearer, Assertion: w.Workload("ap-bot")}
			return r
		},
		"secret": func() exchange.Request {
			r := onBehalf(w.User("alice"), "")
			r.ActorTokenType, r.Credentials = "", servertest.Basic("secret-bot", secret)
			return r
		},
		"key": func() exchange.Request {
			r := onBehalf(w.User("alice"), "")
			r.ActorTokenType, r.Credentials = "", w.Assertion(nil)
			return r
		},
		"own": func() exchange.Request { return trade(root, w.Workload("ap-bot")) },
		"itself": func() exchange.Request {
			return exchange.Request{AsItself: true, Credentials: servertest.Basic("secret-bot", secret),
				Audiences: []string{"payments"}}
		},
	}
	for _, row := range []struct{ kind, id, spares string }{
		{"tenant", "", ""}, {"client", "ap-bot", "secret key itself"},
		{"client", "secret-bot", "alone actor assertion key own"},
		{"client", "key-bot", "alone actor assertion secret own itself"},
		{"tool", "payments", ""},
		{"issuer", "cluster", "secret key itself"}, {"issuer", "corp", "alone assertion itself"},
		{"subject", "corp:alice", "alone assertion itself"},
		{"subject", "cluster:system:serviceaccount:prod:ap-bot", "secret key itself"},
		{"subject", "corp:ALICE", "alone actor assertion secret key own itself"},
	} {
		root = issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
		w.Cut("acme", row.kind, row.id, true)
		w.Clock.Advance(2 * time.Second)
		if _, err := w.Directory.Fresh(t.Context(), "acme"); err != nil { // so that this process knows before it mints
			t.Fatal(err)
		}
		for name, request := range paths {
			_, err := run(t.Context(), w.Exchanger, "acme", request())
			if spared := strings.Contains(row.spares, name); spared != (err == nil) {
				t.Errorf("%s %s is disabled, by %s: %v", row.kind, row.id, name, err)
			}
		}
		enable(w, row.kind, row.id)
		w.Clock.Advance(2 * time.Second)
		root = issue(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot"))).Token
		for name, request := range paths {
			if _, err := run(t.Context(), w.Exchanger, "acme", request()); err != nil {
				t.Errorf("%s %s is enabled again, by %s: %v", row.kind, row.id, name, err)
			}
		}
	}
	for _, r := range w.Records("acme") {
		if r.Body.Outcome == audit.Failed {
			t.Errorf("a token was minted first, and then kept back: %s", r.Text)
		}
	}
}

func TestAnUnansweredStoreIsNoAnswer(t *testing.T) {
	w := newWorld(t, servertest.Options{Deadline: 300 * time.Millisecond})
	secret := w.Secret("payments-api")
	compact := issue(t, w, self(w.Workload("ap-bot"))).Token
	q := exchange.Question{Credentials: servertest.Basic("payments-api", secret), Token: compact}
	w.Store.Set(storagetest.Position, storagetest.NotApplied)
	if claims, err := owner(w, secret, compact); claims != nil || fault.As(err).Kind != fault.Unavailable {
		t.Errorf("introspection answered %v, %v", claims, err)
	}
	w.Store.Set(storagetest.Position, storagetest.Works)
	w.Store.Set(storagetest.Commit, storagetest.NotApplied)
	if err := w.Exchanger.Revoke(t.Context(), "acme", q); fault.As(err).Kind != fault.Unavailable {
		t.Errorf("revocation answered %v", err)
	}
	w.Store.Set(storagetest.Commit, storagetest.Works)
	for _, op := range []storagetest.Op{storagetest.Claim} {
		w.Store.Set(op, storagetest.NotApplied)
		r := self(w.Workload("key-bot"))
		r.Credentials = w.Assertion(nil)
		if f := refused(t, w, r); f.Kind != fault.Unavailable {
			t.Errorf("%s: answered %v", op, f)
		}
	}
	if fmt.Sprint(q) == "" || strings.Contains(fmt.Sprint(q), secret) {
		t.Error("a question prints its secret")
	}
}

// A token that was verified a moment ago is not verified again, but everything else is asked each time.
func TestATokenThatIsKnownIsJudgedAnew(t *testing.T) {
	for name, end := range map[string]func(w *servertest.World, compact string){
		"its key is revoked": func(w *servertest.World, _ string) {
			v, err := w.Directory.Fresh(w.T.Context(), "acme")
			if err != nil {
				w.T.Fatal(err)
			}
			signer, err := v.Ring.Signer(keys.ES256, w.Clock.Now())
			if err != nil {
				w.T.Fatal(err)
			}
			put, gone, err := v.Ring.Revoke(signer.KeyID, w.Clock.Now())
			if err != nil {
				w.T.Fatal(err)
			}
			w.Commit("acme", ledger.Change{Expect: v.Revision, Put: put, Delete: gone})
		},
		"it is revoked": func(w *servertest.World, compact string) {
			w.Cut("acme", string(revoke.JTI), claimsOf(w.T, compact).ID, false)
		},
		"its client is revoked": func(w *servertest.World, compact string) {
			w.Cut("acme", string(revoke.Client), claimsOf(w.T, compact).ClientID, false)
		},
		"it expires": func(w *servertest.World, compact string) {
			c := claimsOf(w.T, compact)
			w.Clock.Advance(time.Duration(c.Expiry-c.IssuedAt) * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, servertest.Options{})
			secret := w.Secret("payments-api")
			compact := issue(t, w, self(w.Workload("ap-bot"))).Token
			for range 2 {
				if claims, err := owner(w, secret, compact); claims == nil || err != nil {
					t.Fatalf("inactive before: %v", err)
				}
			}
			if claims, err := w.Exchanger.Introspect(t.Context(), "acme", exchange.Question{
				Credentials: servertest.Basic("ledger-api", w.Secret("ledger-api")), Token: compact}); claims != nil || err != nil {
				t.Errorf("active for a stranger: %v", err)
			}
			end(w, compact)
			if claims, err := owner(w, secret, compact); claims != nil || err != nil {
				t.Errorf("still active: %v, %v", claims, err)
			}
			if claims, err := owner(w, secret, compact+"A"); claims != nil || err != nil {
				t.Errorf("another text is active: %v, %v", claims, err)
			}
		})
	}
}
