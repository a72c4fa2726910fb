package exchange_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// T-17: in however many processes a token is presented, one of them trades it.
func TestATokenForOneUseIsTradedOnce(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		other := w.Start()
		for name, r := range map[string]exchange.Request{
			"alone":        self(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})),
			"as a subject": onBehalf(w.Mint(servertest.Once(), map[string]any{"sub": "alice"}), w.Workload("ap-bot")),
			"as an actor":  onBehalf(w.User("alice"), w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})),
			"as assertion": {SubjectToken: w.Workload("ap-bot"), SubjectTokenType: jwt, Audiences: []string{"payments"},
				Credentials: clients.Credentials{
					AssertionType: clients.TypeJWTBearer, Assertion: w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})}},
		} {
			var mu sync.Mutex
			won, lost := 0, map[string]int{}
			var all sync.WaitGroup
			for i := range 50 {
				x := []*exchange.Exchanger{w.Exchanger, other.Exchanger}[i%2]
				all.Go(func() {
					_, err := run(t.Context(), x, "acme", r)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else {
						lost[fault.As(err).Kind.String()+" "+fault.As(err).Reason]++
					}
				})
			}
			all.Wait()
			want := "invalid_request subject.replayed"
			if name == "as assertion" {
				want = "invalid_client client.assertion.replayed"
			}
			if won != 1 || lost[want] != 49 {
				t.Errorf("%s: %d won, the others lost by %v", name, won, lost)
			}
		}
		// One token in two places of one request is used once.
		both := self(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"}))
		both.Credentials = clients.Credentials{AssertionType: clients.TypeJWTBearer, Assertion: both.SubjectToken}
		issue(t, w, both)
		// Each issuer chooses its jti by itself.
		w.Apply(servertest.Acme("use: [subject], audiences", "use: [subject], replay: once, audiences"), false)
		same := map[string]any{"sub": "ap-bot", "jti": "1"}
		issue(t, w, onBehalf(w.Mint(servertest.Corp(), map[string]any{"sub": "alice", "jti": "1"}),
			w.Mint(servertest.Once(), same)))
		if f := refused(t, w, self(w.Mint(servertest.Once(), same))); f.Reason != "subject.replayed" {
			t.Errorf("another token with the same jti: %v", f)
		}
		// A refused request spends nothing.
		again := self(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"}))
		refused(t, w, withScope(again, "payments:refunds.delete"))
		issue(t, w, again)
	})
}

// Each issuer and each tenant has jti of its own (T-17).
func TestTheSameIDElsewhereIsAnotherToken(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		only := []string{"algorithms: [ES256],", "algorithms: [ES256], replay: once,"}
		w.Create(servertest.Acme(only...))
		w.Create(strings.ReplaceAll(servertest.Globex(), only[0], only[1]))
		both := w.Mint(servertest.Cluster(), map[string]any{"sub": "system:serviceaccount:prod:ap-bot", "jti": "1",
			"aud": []string{servertest.BaseURL + "/t/acme", servertest.BaseURL + "/t/globex"}})
		r := self(both)
		r.Scope = "payments:refunds.read"
		for _, slug := range []string{"acme", "globex"} {
			if _, err := run(t.Context(), w.Exchanger, slug, r); err != nil {
				t.Errorf("the first use at %s: %v", slug, err)
			}
			if _, err := run(t.Context(), w.Exchanger, slug, r); err == nil || fault.As(err).Reason != "subject.replayed" {
				t.Errorf("the second use at %s: %v", slug, err)
			}
		}
		issue(t, w, self(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot", "jti": "1"})))
	})
}

// A token that may come again is noted when it does: of all its exchanges, in whatever process, all but the first in
// the log. Neither another spelling of its signature nor the lack of a jti hides it.
func TestTheLogTellsATokenThatComesAgain(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		processes := []*exchange.Exchanger{w.Exchanger, w.Start().Exchanger, w.Start().Exchanger}
		mesh := w.Mint(servertest.Mesh(), map[string]any{"sub": "spiffe://mesh.example/ns/prod/sa/ap-bot", "jti": nil})
		user := w.User("alice")
		requests := []exchange.Request{onBehalf(user, mesh), onBehalf(respelled(t, user), mesh)}
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				if _, err := run(t.Context(), processes[i%3], "acme", requests[i%2]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i, r := range w.Records("acme") {
			if r.Body.Subject.Reused != (i > 0) || r.Body.ActorToken.Reused != (i > 0) {
				t.Errorf("exchange %d is recorded with subject %+v, actor %+v", i+1, r.Body.Subject, r.Body.ActorToken)
			}
		}
		w.Clock.Advance(2 * time.Minute) // no process remembers having verified it
		before := len(w.Records("acme"))
		w.Exchanger = w.Start().Exchanger
		refused(t, w, withScope(requests[0], "payments:refunds.delete")) // a refusal is no exchange
		fresh := onBehalf(w.User("bob"), mesh)
		refused(t, w, withScope(fresh, "payments:refunds.delete"))
		issue(t, w, fresh)
		if log := records(w, before); log[2].Body.Subject.Reused || !log[2].Body.ActorToken.Reused {
			t.Errorf("recorded as %+v", log[2].Body)
		}
	})
}

// respelled returns the same token with the other value of its ECDSA signature.
func respelled(t *testing.T, compact string) string {
	t.Helper()
	at := strings.LastIndexByte(compact, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(compact[at:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return compact[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

func TestAnIssuerWhoseTokensAreNotCounted(t *testing.T) {
	w := servertest.New(t, servertest.Options{})
	w.Create(servertest.Acme("use: [subject], audiences", "use: [subject], replay: off, audiences"))
	user := w.User("alice")
	for range 2 {
		issue(t, w, onBehalf(user, w.Workload("ap-bot")))
	}
	for _, r := range w.Records("acme") {
		if r.Body.Subject.Reused {
			t.Errorf("recorded as %+v", r.Body.Subject)
		}
	}
}

// When the tokens of an issuer may be used once from now on, what was audited counts, also in a process that learns of
// the change only by its record; what was not, does not.
func TestAnIssuerThatBecomesStrict(t *testing.T) {
	for _, row := range []struct {
		before string
		want   []string
	}{
		{"audit", []string{"allowed ", "error not_released", "denied subject.replayed"}},
		{"off", []string{"allowed ", "error not_released", "allowed "}},
	} {
		w := servertest.New(t, servertest.Options{})
		w.Create(servertest.Acme("algorithms: [ES256],", "algorithms: [ES256], replay: "+row.before+","))
		workload := w.Workload("ap-bot")
		issue(t, w, self(workload))
		w.Apply(servertest.Acme("algorithms: [ES256],", "algorithms: [ES256], replay: once,"), false)
		before := len(w.Records("acme"))
		if _, err := run(t.Context(), w.Exchanger, "acme", self(workload)); (err == nil) != (row.before == "off") {
			t.Errorf("%s, then once: %v", row.before, err)
		}
		if got := outcomes(records(w, before)); !slices.Equal(got, row.want) {
			t.Errorf("%s, then once: recorded %q, want %q", row.before, got, row.want)
		}
		if f := refused(t, w, self(workload)); f.Reason != "subject.replayed" {
			t.Errorf("%s, then once: refused as %v", row.before, f)
		}
	}
}

// A private_key_jwt assertion is used up by the first record of its request, whatever that says, and by nothing else
// (B22, B23).
func TestAnAssertionIsUsedUpByARecord(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	other := w.Start()
	request := func(c clients.Credentials) exchange.Request {
		return with(self(w.Workload("key-bot")), func(r *exchange.Request) { r.Credentials = c })
	}
	replayed := func(name string, r exchange.Request) {
		t.Helper()
		before := len(w.Records("acme"))
		for _, x := range []*exchange.Exchanger{w.Exchanger, other.Exchanger} {
			for _, r := range []exchange.Request{r, withScope(r, "payments:refunds.delete")} {
				_, err := run(t.Context(), x, "acme", r)
				if f := fault.As(err); f.Kind != fault.InvalidClient || f.Reason != clients.ReasonAssertionReplayed ||
					f.DecisionID != "" {
					t.Errorf("%s: answered %v", name, err)
				}
			}
		}
		for _, r := range records(w, before) {
			if r.Name != audit.DenyFlood { // a replay is nobody's doing, and is only counted
				t.Errorf("%s: recorded as %+v", name, r)
			}
		}
	}
	once := request(w.Assertion(nil))
	issue(t, w, once)
	replayed("issued", once)

	denied := request(w.Assertion(nil))
	refused(t, w, withScope(denied, "payments:refunds.delete"))
	replayed("denied", denied)

	elsewhere := request(w.Assertion(map[string]any{"jti": "1", "aud": "https://other.example"}))
	if f := refused(t, w, elsewhere); f.Reason != clients.ReasonAssertionAudience {
		t.Errorf("answered %v", f)
	}
	issue(t, w, request(w.Assertion(map[string]any{"jti": "1"})))

	waiting := request(w.Assertion(nil))
	w.Store.Set(storagetest.Position, storagetest.NotApplied)
	if f := refused(t, w, withScope(waiting, "payments:refunds.delete")); f.Kind != fault.Unavailable {
		t.Errorf("answered %v", f) // what may rest on an old view is refused only once the newest says so too
	}
	w.Store.Set(storagetest.Position, storagetest.Works)
	if _, err := run(t.Context(), other.Exchanger, "acme", waiting); err != nil {
		t.Errorf("an assertion of a request that nobody recorded is used up: %v", err)
	}
}
