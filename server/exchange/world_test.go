package exchange_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
)

const (
	jwt      = string(identity.TypeJWT)
	issuer   = servertest.BaseURL + "/t/acme"
	payments = "https://tools.example/payments"
)

// newWorld returns a world with the tenant acme.
func newWorld(t *testing.T, o servertest.Options) *servertest.World {
	t.Helper()
	w := servertest.New(t, o)
	w.Create(servertest.Acme())
	return w
}

// self is the request of a workload as itself, for the defaults at payments.
func self(subject string) exchange.Request {
	return exchange.Request{SubjectToken: subject, SubjectTokenType: jwt, Audiences: []string{"payments"}}
}

// onBehalf is the request of a workload that acts for a user.
func onBehalf(user, actor string) exchange.Request {
	return exchange.Request{SubjectToken: user, SubjectTokenType: jwt, ActorToken: actor, ActorTokenType: jwt,
		Audiences: []string{"payments"}, Scope: "payments:refunds.read"}
}

func run(ctx context.Context, x *exchange.Exchanger, slug string, r exchange.Request) (*exchange.Result, error) {
	a, err := x.Begin(ctx, slug, r)
	if err != nil {
		return nil, err
	}
	if err := a.Decide(ctx); err != nil {
		return nil, err
	}
	return a.Issue(ctx)
}

func issue(t testing.TB, w *servertest.World, r exchange.Request) *exchange.Result {
	t.Helper()
	result, err := run(t.Context(), w.Exchanger, "acme", r)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return result
}

func refused(t testing.TB, w *servertest.World, r exchange.Request) *fault.Error {
	t.Helper()
	result, err := run(t.Context(), w.Exchanger, "acme", r)
	if result != nil || err == nil {
		t.Fatalf("nothing was refused; error %v", err)
	}
	return fault.As(err)
}

func claimsOf(t testing.TB, compact string) token.Claims {
	t.Helper()
	_, payload, err := token.Canonical(compact)
	if err != nil {
		t.Fatal(err)
	}
	c, err := token.Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// records returns what a tenant's log has beyond the first n entries.
func records(w *servertest.World, n int) []servertest.Record { return w.Records("acme")[n:] }

// owner asks as the resource server of payments.
func owner(w *servertest.World, secret, compact string) (*token.Claims, error) {
	return w.Exchanger.Introspect(w.T.Context(), "acme", exchange.Question{
		Credentials: servertest.Basic("payments-api", secret), Token: compact})
}

// leaks returns the first of the secret texts that a log holds.
func leaks(log []servertest.Record, secrets ...string) string {
	for _, r := range log {
		for _, s := range secrets {
			for part := range strings.SplitSeq(s, ".") {
				if len(part) > 20 && strings.Contains(r.Text, part) {
					return part
				}
			}
		}
	}
	return ""
}

// meddler is a log that lets a test act between a decision and its record.
type meddler struct {
	*audit.Log
	before func(audit.Event)                           // called before an event is appended
	after  func(audit.Event, *ledger.Position, *error) // may change the answer
}

func (m *meddler) Append(ctx context.Context, o audit.Origin, e audit.Event, claims ...ledger.Claim) (
	ledger.Position, error,
) {
	if m.before != nil {
		m.before(e)
	}
	p, err := m.Log.Append(ctx, o, e, claims...)
	if m.after != nil {
		m.after(e, &p, &err)
	}
	return p, err
}

// meddled returns a world whose exchanger writes through a meddler.
func meddled(t *testing.T, o servertest.Options) (*servertest.World, *meddler) {
	t.Helper()
	m := new(meddler)
	o.WrapLog = func(l *audit.Log) servertest.LogWrap { m.Log = l; return m }
	return newWorld(t, o), m
}

// first calls f at the first event that reports an issued token.
func first(f func()) func(audit.Event) {
	done := false
	return func(e audit.Event) {
		if !done && e.Body.Outcome == audit.Allowed {
			done = true
			f()
		}
	}
}

func members(t testing.TB, compact string) map[string]any {
	t.Helper()
	_, payload, err := token.Canonical(compact)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(payload, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func enable(w *servertest.World, kind, id string) {
	w.Commit("acme", ledger.Change{Enable: []ledger.Key{{Kind: kind, ID: id}}})
}
