package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// outcomes are the outcomes and reasons of the log, in order.
func outcomes(log []servertest.Record) []string {
	var all []string
	for _, r := range log {
		if r.Name == audit.TokenExchange {
			all = append(all, string(r.Body.Outcome)+" "+r.Body.Reason)
		}
	}
	return all
}

// TestWhatIsRevokedBeforeTheRecordIsNeverReleased commits a revocation between the decision and its record.
func TestWhatIsRevokedBeforeTheRecordIsNeverReleased(t *testing.T) {
	for _, row := range []struct{ kind, id string }{
		{"client", "ap-bot"}, {"tool", "payments"}, {"tenant", ""}, {"issuer", "cluster"}, {"issuer", "corp"},
		{"subject", "corp:alice"},
	} {
		for _, disable := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %s disabled=%v", row.kind, row.id, disable), func(t *testing.T) {
				w, m := meddled(t, servertest.Options{})
				m.before = first(func() { w.Cut("acme", row.kind, row.id, disable) })
				f := refused(t, w, onBehalf(w.User("alice"), w.Workload("ap-bot")))
				if f.Reason != "revoked."+row.kind || f.DecisionID == "" {
					t.Errorf("refused as %s", f.Reason)
				}
				log := w.Records("acme")
				if got, want := outcomes(log), []string{"allowed ", "error revoked." + row.kind}; !slices.Equal(got, want) {
					t.Fatalf("recorded %q, want %q", got, want)
				}
				if log[0].Txn != log[1].Txn || log[0].Body.Token != log[1].Body.Token || log[0].Body.Token.JTI == "" {
					t.Errorf("the second record does not name the token of the first: %+v", log)
				}
			})
		}
	}
}

func TestARevocationOfSomethingElseDoesNotStopAToken(t *testing.T) {
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		for _, key := range []ledger.Key{
			{Kind: "client", ID: "other-bot"}, {Kind: "tool", ID: "ledger"}, {Kind: "subject", ID: "corp:bob"},
			{Kind: "jti", ID: "x"}, {Kind: "run", ID: "x"},
		} {
			m := &meddler{Log: w.Log}
			m.before = first(func() { w.Cut("acme", key.Kind, key.ID, true) })
			x := exchange.New(exchange.Config{Directory: w.Directory, Log: m, Claims: w.Store,
				Limits: w.Limits})
			before := len(w.Records("acme"))
			if _, err := run(t.Context(), x, "acme", onBehalf(w.User("alice"), w.Workload("ap-bot"))); err != nil {
				t.Errorf("a cutoff of %v: %v", key, err)
			}
			if got := outcomes(records(w, before)); !slices.Equal(got, []string{"allowed "}) {
				t.Errorf("a cutoff of %v: recorded %q", key, got)
			}
		}
	})
}

// TestWhatAChangeWouldRefuseIsNeverReleased commits a change of configuration between the decision and its record.
func TestWhatAChangeWouldRefuseIsNeverReleased(t *testing.T) {
	user := func(w *servertest.World) exchange.Request { return onBehalf(w.User("alice"), w.Workload("ap-bot")) }
	alone := func(w *servertest.World) exchange.Request { return self(w.Workload("ap-bot")) }
	for _, row := range []struct {
		name    string
		request func(*servertest.World) exchange.Request
		changes []string
		reason  string
	}{
		{"the policy loses the subject",
			user, []string{`{issuer: corp, subject_glob: "*"}`, `{issuer: corp, subject: bob}`}, "policy.on_behalf_of"},
		{"the policy gets a condition",
			alone, []string{"    ttl: 2m\n", "    ttl: 2m\n    condition: \"false\"\n"}, "policy.condition"},
		{"the tool is switched off",
			alone, []string{"refunds.delete]}", "refunds.delete], disabled: true}"}, "target.unknown"},
		{"the identity is another client's", alone, []string{"prod:ap-bot", "prod:old-bot"}, "subject.unbound"},
		{"the identity moves to a client that may do the same",
			alone, []string{"prod:ap-bot", "prod:old-bot", "prod:other-bot", "prod:ap-bot",
				"clients: [ap-bot, secret-bot, post-bot, key-bot]",
				"clients: [ap-bot, other-bot, secret-bot, post-bot, key-bot]"}, "client.contradiction"},
		{"the issuer wants another audience",
			alone, []string{"algorithms: [ES256],\n     audiences: [\"https://sts.example/t/acme\"]",
				"algorithms: [ES256],\n     audiences: [\"https://other.example\"]"}, "subject.audience"},
		{"the issuer is not for subjects any more",
			user, []string{"{name: corp, issuer: \"" + servertest.Corp().URL + "\", use: [subject]",
				"{name: corp, issuer: \"" + servertest.Corp().URL + "\", use: [workload]",
				`{issuer: corp, subject_glob: "*"}, `, ""}, "subject.use"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, m := meddled(t, servertest.Options{})
			r := row.request(w)
			m.before = first(func() { w.Apply(servertest.Acme(row.changes...), false) })
			if f := refused(t, w, r); f.Reason != row.reason {
				t.Errorf("refused as %v", f)
			}
			log := w.Records("acme")
			if got, want := outcomes(log), []string{"allowed ", "error " + row.reason}; !slices.Equal(got, want) {
				t.Fatalf("recorded %q, want %q", got, want)
			}
			if log[1].Body.ClientID != log[0].Body.ClientID || log[1].Body.Token != log[0].Body.Token {
				t.Errorf("the second record is of %s, the first of %s", log[1].Body.ClientID, log[0].Body.ClientID)
			}
		})
	}
}

// TestWhatAChangeWouldGiveOtherwiseIsMintedAnew: the token of the old decision is void, the new one tells the truth.
func TestWhatAChangeWouldGiveOtherwiseIsMintedAnew(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes []string
		want    []string
		life    time.Duration
		scope   string
	}{
		{"a shorter lifetime", []string{"ttl: 2m", "ttl: 1m"}, []string{"allowed ", "error not_released", "allowed "},
			time.Minute, "payments:refunds.read"},
		{"a longer lifetime is not worth a new token",
			[]string{"ttl: 2m", "ttl: 3m"}, []string{"allowed "}, 2 * time.Minute, "payments:refunds.read"},
		{"other defaults", []string{"default_actions: [refunds.read]", "default_actions: [refunds.create]"},
			[]string{"allowed ", "error not_released", "allowed "}, 2 * time.Minute, "payments:refunds.create"},
		{"bare scopes", []string{"refunds.delete]}", "refunds.delete], scope_format: bare}"},
			[]string{"allowed ", "error not_released", "allowed "}, 2 * time.Minute, "refunds.read"},
		{"another algorithm", []string{"refunds.delete]}", "refunds.delete], signing_alg: EdDSA}"},
			[]string{"allowed ", "error not_released", "allowed "}, 2 * time.Minute, "payments:refunds.read"},
		{"something else",
			[]string{"max_ttl: 1m", "max_ttl: 2m"}, []string{"allowed "}, 2 * time.Minute, "payments:refunds.read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, m := meddled(t, servertest.Options{})
			m.before = first(func() { w.Apply(servertest.Acme(row.changes...), false) })
			result := issue(t, w, self(w.Workload("ap-bot")))
			if result.ExpiresIn != row.life || result.Scope != row.scope {
				t.Errorf("issued %v of %q", result.ExpiresIn, result.Scope)
			}
			log := w.Records("acme")
			if got := outcomes(log); !slices.Equal(got, row.want) {
				t.Errorf("recorded %q, want %q", got, row.want)
			}
			if c := claimsOf(t, result.Token); log[len(log)-1].Body.Token.JTI != c.ID {
				t.Error("the last record is not of the token that was released")
			}
		})
	}
}

// A key that was revoked before the record signs nothing that is released.
func TestATokenOfARevokedKeyIsMintedAnew(t *testing.T) {
	w, m := meddled(t, servertest.Options{})
	var revoked string
	m.before = first(func() {
		v, err := w.Directory.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range v.Ring.Info(w.Clock.Now()) {
			if k.State == "active" {
				revoked = k.KeyID
			}
		}
		put, gone, err := v.Ring.Revoke(revoked, w.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.Commit("acme", ledger.Change{Expect: v.Revision, Put: put, Delete: gone})
	})
	result := issue(t, w, self(w.Workload("ap-bot")))
	v, err := w.Directory.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Ring.Verify(result.Token, w.Clock.Now()); err != nil || revoked == "" {
		t.Errorf("the released token cannot be verified: %v", err)
	}
}

// Credentials that were taken away before the record are as good as none; those that stay are not spent twice by
// judging the request again.
func TestCredentialsAreJudgedAgain(t *testing.T) {
	w, m := meddled(t, servertest.Options{})
	old := w.Secret("secret-bot")
	m.before = first(func() { w.Secret("secret-bot"); w.Secret("secret-bot") }) // two newer ones push the old one out
	r := self(w.Workload("secret-bot"))
	r.Credentials = servertest.Basic("secret-bot", old)
	if f := refused(t, w, r); f.Kind != fault.InvalidClient || f.Reason != clients.ReasonSecret {
		t.Errorf("refused as %v", f)
	}
	m.before = first(func() { w.Apply(servertest.Acme("ttl: 2m", "ttl: 1m"), false) })
	r = self(w.Workload("key-bot"))
	r.Credentials = w.Assertion(nil)
	if result := issue(t, w, r); result.ExpiresIn != time.Minute {
		t.Errorf("issued for %v", result.ExpiresIn)
	}
	if f := refused(t, w, r); f.Reason != clients.ReasonAssertionReplayed {
		t.Errorf("the assertion was accepted again: %v", f)
	}
	m.before = first(func() { w.Apply(servertest.Acme("ttl: 2m", "ttl: 30s"), false) })
	result := issue(t, w, self(w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})))
	if result.ExpiresIn != 30*time.Second {
		t.Errorf("issued for %v", result.ExpiresIn)
	}
}

// A decision on what this process knows is made again on what the store has, also where it refuses.
func TestARefusalRestsOnTheNewestConfiguration(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	other := w.Start()
	r := self(w.Workload("ap-bot"))
	r.Scope = "payments:refunds.delete"
	if _, err := run(t.Context(), other.Exchanger, "acme", r); fault.As(err).Reason != "policy.action" {
		t.Fatalf("refused as %v", err)
	}
	_, err := run(t.Context(), other.Exchanger, "acme", self(w.Workload("new-bot")))
	if fault.As(err).Reason != "subject.unbound" {
		t.Fatalf("refused as %v", err)
	}
	w.Apply(servertest.Acme("actions: [refunds.read, refunds.create]\n",
		"actions: [refunds.read, refunds.create, refunds.delete]\n",
		"prod:other-bot", "prod:new-bot",
		"clients: [ap-bot, secret-bot, post-bot, key-bot]", "clients: [ap-bot, other-bot]"), false)
	if _, err := run(t.Context(), other.Exchanger, "acme", r); err != nil {
		t.Errorf("another process refuses what is allowed by now: %v", err)
	}
	if _, err := run(t.Context(), other.Exchanger, "acme", self(w.Workload("new-bot"))); err != nil {
		t.Errorf("another process does not know a client that was changed: %v", err)
	}
}

// What keeps changing is not issued.
func TestATenantThatNeverHoldsStillGetsNoToken(t *testing.T) {
	w, m := meddled(t, servertest.Options{})
	turn := 0
	m.before = func(e audit.Event) {
		if e.Body.Outcome == audit.Allowed {
			turn++
			w.Apply(servertest.Acme("ttl: 2m", fmt.Sprintf("ttl: %ds", 100-10*turn)), false)
		}
	}
	if f := refused(t, w, self(w.Workload("ap-bot"))); f.Kind != fault.Unavailable || turn > 10 {
		t.Errorf("refused as %v after %d turns", f, turn)
	}
	log := outcomes(w.Records("acme"))
	for i := 0; i < len(log); i += 2 {
		if log[i] != "allowed " || log[i+1] != "error not_released" {
			t.Fatalf("recorded %q", log)
		}
	}
}

// A store whose clock is behind would date a later revocation before the token. Once that is known it is heeded.
func TestNoTokenIsDatedAheadOfTheStore(t *testing.T) {
	w, m := meddled(t, servertest.Options{StoreSkew: -time.Hour})
	result := issue(t, w, self(w.Workload("ap-bot")))
	if at := claimsOf(t, result.Token).IssuedAt; at > w.Clock.Now().Add(-time.Hour).Unix() {
		t.Errorf("dated %v, ahead of a store that is an hour behind", time.Unix(at, 0))
	}
	back := false // the answer of a store that was set back
	m.after = func(e audit.Event, p *ledger.Position, err *error) {
		if !back {
			back = true
			p.Time = p.Time.Add(-10 * time.Second)
		}
	}
	before := len(w.Records("acme"))
	result = issue(t, w, self(w.Workload("ap-bot")))
	if at := claimsOf(t, result.Token).IssuedAt; at > w.Clock.Now().Add(-time.Hour-9*time.Second).Unix() {
		t.Errorf("dated %v although the store is behind that", time.Unix(at, 0))
	}
	want := []string{"allowed ", "error not_released", "allowed "}
	if got := outcomes(records(w, before)); !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// If the record is not confirmed nothing is released; if it was made all the same, another record says so.
func TestNoRecordNoToken(t *testing.T) {
	for _, row := range []struct {
		name string
		mode storagetest.Mode
		want []string
	}{
		{"the store did not take it", storagetest.NotApplied, []string{"allowed ", "error not_released"}},
		{"the store took it and the answer was lost", storagetest.Applied, []string{"allowed ", "error not_released"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, servertest.Options{Deadline: 300 * time.Millisecond})
			issue(t, w, self(w.Workload("ap-bot")))
			before := len(w.Records("acme"))
			w.Store.Set(storagetest.Commit, row.mode)
			for range 2 {
				if f := refused(t, w, self(w.Workload("ap-bot"))); f.Kind != fault.Unavailable {
					t.Errorf("answered %v", f)
				}
			}
			w.Store.Set(storagetest.Commit, storagetest.Works)
			if err := w.Log.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := outcomes(records(w, before)); !slices.Equal(got, row.want) {
				t.Errorf("recorded %q, want %q", got, row.want)
			}
		})
	}
}

func TestWithoutTheStoreNothingIsDecided(t *testing.T) {
	w := newWorld(t, servertest.Options{Deadline: 300 * time.Millisecond})
	issue(t, w, self(w.Workload("ap-bot")))
	for _, op := range []storagetest.Op{
		storagetest.Commit, storagetest.Claim, storagetest.Position, storagetest.Rows, storagetest.Cutoffs,
	} {
		w.Store.Set(op, storagetest.NotApplied)
	}
	once := w.Mint(servertest.Once(), map[string]any{"sub": "ap-bot"})
	for name, r := range map[string]exchange.Request{"allowed": self(w.Workload("ap-bot")), "used once": self(once),
		"refused": withScope(self(w.Workload("ap-bot")), "payments:refunds.delete"), "unbound": self(w.Workload("nobody"))} {
		if f := refused(t, w, r); f.Kind != fault.Unavailable {
			t.Errorf("%s: answered %v", name, f)
		}
	}
	q := exchange.Question{Credentials: servertest.Basic("payments-api", "x"), Token: "x"}
	if _, err := w.Exchanger.Introspect(t.Context(), "acme", q); fault.As(err).Kind != fault.Unavailable {
		t.Errorf("introspection answered %v", err)
	}
	if err := w.Exchanger.Revoke(t.Context(), "acme", q); fault.As(err).Kind != fault.Unavailable {
		t.Errorf("revocation answered %v", err)
	}
}

// The newest view could not be read after the record: the token stays, and the log says that it did.
func TestATokenThatCannotBeConfirmedIsNotReleased(t *testing.T) {
	w, m := meddled(t, servertest.Options{})
	m.before = first(func() {
		w.Cut("acme", "client", "other-bot", true)
		w.Store.Set(storagetest.Position, storagetest.NotApplied)
		w.Store.Set(storagetest.Cutoffs, storagetest.NotApplied)
	})
	if f := refused(t, w, self(w.Workload("ap-bot"))); f.Kind != fault.Unavailable {
		t.Errorf("answered %v", f)
	}
	if got := outcomes(w.Records("acme")); len(got) != 2 || got[0] != "allowed " || got[1] == got[0] {
		t.Errorf("recorded %q", got)
	}
}

// A caller that leaves after the record leaves a record of that.
func TestACallerThatLeavesGetsNoToken(t *testing.T) {
	w, m := meddled(t, servertest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	m.before = first(func() { w.Cut("acme", "client", "other-bot", true) })
	m.after = func(e audit.Event, _ *ledger.Position, _ *error) { cancel() }
	result, err := run(ctx, w.Exchanger, "acme", self(w.Workload("ap-bot")))
	if result != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("answered %v", err)
	}
	if got, want := outcomes(w.Records("acme")), []string{"allowed ", "error not_released"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// TestRacesOfRevocation lets exchanges in two processes and a revocation run at once: what began after the revocation
// was committed gets nothing, and what was released before is dead.
func TestRacesOfRevocation(t *testing.T) {
	rounds := 10
	if storagetest.Full() {
		rounds = 100
	}
	const each = 50
	servertest.EachStore(t, func(t *testing.T, w *servertest.World) {
		w.Create(servertest.Acme())
		secret, actor := w.Secret("payments-api"), w.Workload("ap-bot")
		processes := []*exchange.Exchanger{w.Exchanger, w.Start().Exchanger}
		var released, refused int
		for round := range rounds {
			name := fmt.Sprintf("user%d", round)
			request := onBehalf(w.User(name), actor)
			var mu sync.Mutex
			var tokens []string
			committed := make(chan struct{})
			var all sync.WaitGroup
			for i := range each {
				all.Go(func() {
					time.Sleep(rand.N(4 * time.Millisecond)) // before, during and after
					late := false
					select {
					case <-committed:
						late = true
					default:
					}
					result, err := run(t.Context(), processes[i%2], "acme", request)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err != nil && fault.As(err).Reason == "revoked.subject":
						refused++
					case err != nil:
						t.Errorf("refused as %v", err)
					case late:
						t.Error("a token was issued after the revocation was committed")
					default:
						tokens = append(tokens, result.Token)
					}
				})
			}
			time.Sleep(rand.N(4 * time.Millisecond))
			w.Cut("acme", "subject", "corp:"+name, true)
			close(committed)
			all.Wait()
			for _, compact := range tokens {
				if claims, err := owner(w, secret, compact); claims != nil || err != nil {
					t.Fatalf("a token that was released before is active: %v", err)
				}
			}
			released += len(tokens)
		}
		if released == 0 || refused == 0 {
			t.Errorf("%d tokens were released and %d refused: nothing raced", released, refused)
		}
	})
}
