package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// threesome is three processes on one Redis. Operators talk to the first.
type threesome struct {
	*world
	servers []*harness.Server
	api     []harness.Caller // the resource server of payments, at each
}

func newThreesome(t *testing.T, edits ...string) *threesome {
	t.Helper()
	w := newWorld(t, harness.Start(t, "redis"))
	if len(edits) > 0 {
		w.Apply(t, strings.NewReplacer(edits...).Replace(w.file(t, "acme.yaml")))
	}
	x := &threesome{world: w, servers: []*harness.Server{w.Server, w.Twin(t), w.Twin(t)}}
	api := w.as(t, "payments-api")
	for _, s := range x.servers {
		api.Server = s
		x.api = append(x.api, api)
	}
	return x
}

// tradeIn returns the request of an agent that trades in a token of ours for one that is like it.
func tradeIn(own, workload string) url.Values {
	form := harness.For(own, workload, payments, readRefunds)
	form.Set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
	return form
}

// A cutoff that one of three processes made is heeded by the others on the very next request, whatever they have
// verified, fetched or decided a moment ago; where it disables, so is its lifting.
func TestACutoffOfEachKindIsHeededByAllProcesses(t *testing.T) {
	t.Parallel()
	rounds := 1
	if harness.Full() {
		rounds = 10
	}
	x := newThreesome(t)
	for round := range rounds {
		for _, kind := range []operator.CutoffKind{operator.CutoffToken, operator.CutoffLineage, operator.CutoffRun,
			operator.CutoffClient, operator.CutoffTool, operator.CutoffTenant, operator.CutoffIssuer, operator.CutoffSubject} {
			t.Run(fmt.Sprintf("%s, round %d", kind, round), func(t *testing.T) { x.cutOff(t, kind) })
		}
	}
}

func (x *threesome) cutOff(t *testing.T, kind operator.CutoffKind) {
	bot, alice := x.workload(t), x.corp.Mint(t, harness.Mint{})
	fresh := harness.For(alice, bot, payments, readRefunds)
	var roots, children []string
	for _, s := range x.servers {
		at := s.At("acme")
		root := at.MustExchange(t, fresh)
		roots = append(roots, root)
		children = append(children, at.MustExchange(t, tradeIn(root, bot)))
	}
	others := x.servers[1:]
	for i, root := range roots {
		target := operator.Target{Kind: kind}
		switch kind {
		case operator.CutoffToken, operator.CutoffLineage:
			target.Value = harness.ID(root)
		case operator.CutoffRun:
			target.Value, _ = harness.Claims(t, root)["txn"].(string)
		case operator.CutoffClient:
			target.Value = "ap-bot"
		case operator.CutoffTool:
			target.Value = "payments"
		case operator.CutoffIssuer:
			target.Value = "corp"
		case operator.CutoffSubject:
			target.Value = "corp:alice"
		}
		if _, err := x.Operator.Revoke(t.Context(), "acme", target); err != nil {
			t.Fatal(err)
		}
		code, reason := "invalid_request", "revoked."+string(kind)
		if kind == operator.CutoffTool {
			code = "invalid_target"
		}
		for n, s := range others {
			if kind.Disables() {
				refused(t, s.At("acme"), fresh, http.StatusBadRequest, code, reason)
			}
			if a := s.At("acme").Exchange(t, tradeIn(root, bot)); a.Status != http.StatusBadRequest || a.Token() != "" {
				t.Errorf("a token that is cut off is traded in: status %d %s", a.Status, a.Body)
			}
			for _, token := range []string{root, children[i]} {
				if kind == operator.CutoffTenant {
					if a := x.api[n+1].Introspect(t, token); a.JSON["active"] == true {
						t.Errorf("a token of a tenant that is switched off is active: %s", a.Body)
					}
				} else if x.api[n+1].Active(t, token) {
					t.Error("a token that is cut off, or its child, is active")
				}
			}
		}
		if _, err := x.Operator.Enable(t.Context(), "acme", target); (err == nil) != kind.Disables() {
			t.Errorf("enable: %v", err)
		}
		for n, s := range others {
			if token := s.At("acme").MustExchange(t, fresh); !x.api[n+1].Active(t, token) {
				t.Error("a token of after the cutoff is not active")
			}
			if x.api[n+1].Active(t, root) || x.api[n+1].Active(t, children[i]) {
				t.Error("what was cut off is active again")
			}
		}
		if kind.Disables() {
			return // all of them were hit
		}
	}
}

// T-17: of any number of tries in three processes exactly one trades a token for one use. The same jti of another
// issuer, or in another tenant, is another token.
func TestATokenForOneUseInThreeProcesses(t *testing.T) {
	t.Parallel()
	tries := 120
	if harness.Full() {
		tries = 500
	}
	strict := "    use: [workload, subject]\n"
	x := newThreesome(t, strict, strict+"    replay: once\n")
	x.vars["globex"], x.vars["shared"] = x.Issuer("globex"), "https://shared.example"
	last := "    network: {allow_private: true}\nclients:\n"
	x.Apply(t, strings.Replace(x.file(t, "globex.yaml"), last, "    replay: once\n"+last, 1))
	once := func(sub, id string) string {
		return x.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": sub, "jti": id,
			"aud": []string{x.Issuer("acme"), x.Issuer("globex")}}})
	}
	assertion := harness.Form(x.workload(t), payments, readRefunds)
	assertion.Set("client_assertion_type", harness.JWTBearer)
	assertion.Set("client_assertion", once("ap-bot", "as assertion"))
	for name, form := range map[string]url.Values{
		"alone":        harness.Form(once("ap-bot", "alone"), payments, readRefunds),
		"as subject":   harness.For(once("alice", "as subject"), x.workload(t), payments, readRefunds),
		"as assertion": assertion,
	} {
		t.Run(name, func(t *testing.T) {
			before := int64(len(x.Events(t, "acme", 0)))
			var served, refused, failed atomic.Int64
			all(tries, func(i int) {
				a, err := x.servers[i%3].At("acme").Send(t.Context(), "token", form)
				switch {
				case err != nil:
					t.Error(err)
				case a.Status == http.StatusOK:
					served.Add(1)
				case a.Status == http.StatusServiceUnavailable: // overrun; what it may have used, the log must correct
					failed.Add(1)
				case a.Status == http.StatusBadRequest || a.Status == http.StatusUnauthorized && name == "as assertion":
					refused.Add(1)
				default:
					t.Errorf("status %d %s", a.Status, a.Body)
				}
			})
			issued, withheld := 0, 0
			for _, e := range x.Events(t, "acme", before) {
				switch {
				case e.Name != "token.exchange":
				case e.Outcome == "allowed":
					issued++
				case e.Reason == "not_released":
					withheld++
				}
			}
			n, lost, late := int(served.Load()), int(refused.Load()), int(failed.Load())
			if issued != 1 || n != issued-withheld || n+lost+late != tries {
				t.Errorf("%d were served, %d refused, %d failed; %d recorded, %d withheld", n, lost, late, issued, withheld)
			}
		})
	}
	t.Run("the same jti elsewhere", func(t *testing.T) {
		workload := x.cluster.Mint(t, harness.Mint{Claims: map[string]any{"jti": "alone"}})
		x.servers[1].At("acme").MustExchange(t, harness.Form(workload, payments, readRefunds))
		x.servers[2].At("globex").MustExchange(t, harness.Form(once("ap-bot", "alone"), globexPayments, readRefunds))
	})
	// The cluster's tokens may come again, which the log notes: every time but the first, whichever process had it.
	t.Run("audit", func(t *testing.T) {
		before := int64(len(x.Events(t, "acme", 0)))
		form := harness.Form(x.workload(t), payments, readRefunds)
		all(60, func(i int) {
			if a, err := x.servers[i%3].At("acme").Send(t.Context(), "token", form); err != nil || a.Status != http.StatusOK {
				t.Errorf("%+v %v", a, err)
			}
		})
		for i, e := range harness.Exchanges(x.Events(t, "acme", before)) {
			if e.Subject.Reused != (i > 0) {
				t.Errorf("exchange %d has reused %t", i+1, e.Subject.Reused)
			}
		}
	})
}

// T-53: exchanges in three processes race with a revocation. What began after it was committed gets nothing, and what
// was released before it is dead wherever one asks; a chain whose root is revoked is not extended.
func TestRacesOfRevocationInThreeProcesses(t *testing.T) {
	t.Parallel()
	rounds, each := 4, 50
	if harness.Full() {
		rounds, each = 100, 100
	}
	x := newThreesome(t)
	released, denied := 0, 0
	for round := range rounds {
		alice := x.corp.Mint(t, harness.Mint{Claims: map[string]any{"sub": fmt.Sprint("user", round)}})
		form, target := harness.For(alice, x.workload(t), payments, readRefunds),
			operator.Target{Kind: operator.CutoffSubject, Value: fmt.Sprint("corp:user", round)}
		if round%2 == 1 {
			root := x.acme().MustExchange(t, form)
			form, target = tradeIn(root, x.workload(t)), operator.Target{Kind: operator.CutoffLineage, Value: harness.ID(root)}
		}
		tokens, refusals := x.race(t, form, target, each)
		released, denied = released+len(tokens), denied+refusals
		all(len(tokens), func(i int) {
			a, err := x.api[i%3].Send(t.Context(), "introspect", url.Values{"token": {tokens[i]}})
			if err != nil || a.Status != http.StatusOK || a.JSON["active"] != false {
				t.Errorf("a token that was released before the revocation: %+v %v", a, err)
			}
		})
	}
	if released == 0 || denied == 0 {
		t.Errorf("%d tokens were released and %d refused: nothing raced", released, denied)
	}
}

// race sends so many exchanges, and amid them revokes. It returns the tokens and the number of refusals.
func (x *threesome) race(t *testing.T, form url.Values, target operator.Target, each int) (
	tokens []string, refusals int,
) {
	t.Helper()
	var mu sync.Mutex
	var committed atomic.Bool
	half, begun := make(chan struct{}), atomic.Int64{}
	var running sync.WaitGroup
	running.Go(func() {
		<-half
		if _, err := x.Operator.Revoke(t.Context(), "acme", target); err != nil {
			t.Error(err)
		}
		committed.Store(true)
	})
	running.Go(func() {
		all(8, func(worker int) {
			for i := worker; i < each; i += 8 {
				if begun.Add(1) == int64(each/2) {
					close(half)
				}
				late := committed.Load()
				a, err := x.servers[i%3].At("acme").Send(t.Context(), "token", form)
				mu.Lock()
				switch {
				case err != nil || a.Status != http.StatusOK && a.Status != http.StatusBadRequest:
					t.Errorf("%+v %v", a, err)
				case a.Status == http.StatusBadRequest:
					refusals++
				case late:
					t.Error("a token was issued after the revocation had been answered")
				default:
					tokens = append(tokens, a.Token())
				}
				mu.Unlock()
			}
		})
	})
	running.Wait()
	for _, s := range x.servers {
		if a := s.At("acme").Exchange(t, form); a.Status != http.StatusBadRequest || a.Token() != "" {
			t.Errorf("after the revocation: status %d %s", a.Status, a.Body)
		}
	}
	return tokens, refusals
}
