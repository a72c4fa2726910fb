package exchange_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// paths are all ways to a token, each a fresh request. received gets the ids of tokens that some of them begin with.
func paths(w *servertest.World, received map[string]bool) map[string]func() exchange.Request {
	secret := w.Secret("secret-bot")
	once := func(sub string) string { return w.Mint(servertest.Once(), map[string]any{"sub": sub}) }
	root := func() string {
		result, err := patient(w.T, w.Process, func() exchange.Request { return self(w.Workload("ap-bot")) })
		if err != nil {
			w.T.Fatal(err)
		}
		received[claimsOf(w.T, result.Token).ID] = true
		return result.Token
	}
	assertion := func(compact string) clients.Credentials {
		return clients.Credentials{AssertionType: clients.TypeJWTBearer, Assertion: compact}
	}
	return map[string]func() exchange.Request{
		"the workload alone":  func() exchange.Request { return self(w.Workload("ap-bot")) },
		"a token for one use": func() exchange.Request { return self(once("ap-bot")) },
		"a workload by secret": func() exchange.Request {
			r := self(w.Workload("secret-bot"))
			r.Credentials = servertest.Basic("secret-bot", secret)
			return r
		},
		"a workload by assertion": func() exchange.Request {
			r := self(w.Workload("ap-bot"))
			r.Credentials = assertion(w.Workload("ap-bot"))
			return r
		},
		"for a user, by actor token":   func() exchange.Request { return onBehalf(w.User("alice"), w.Workload("ap-bot")) },
		"for a user, both for one use": func() exchange.Request { return onBehalf(once("alice"), once("ap-bot")) },
		"for a user, by private_key_jwt": func() exchange.Request {
			r := onBehalf(w.User("alice"), "")
			r.ActorTokenType, r.Credentials = "", w.Assertion(nil)
			return r
		},
		"a token of ours": func() exchange.Request { return trade(root(), w.Workload("ap-bot")) },
		"client_credentials, by secret": func() exchange.Request {
			return exchange.Request{AsItself: true, Credentials: servertest.Basic("secret-bot", secret),
				Audiences: []string{"payments"}}
		},
		"client_credentials, by private_key_jwt": func() exchange.Request {
			return exchange.Request{AsItself: true, Credentials: w.Assertion(nil), Audiences: []string{"payments"}}
		},
		"client_credentials, by a token for one use": func() exchange.Request {
			return exchange.Request{AsItself: true, Credentials: assertion(once("ap-bot")), Audiences: []string{"payments"}}
		},
	}
}

// TestEveryStoreCallOfAnExchangeFails lets each store call of each exchange fail in turn: once or from then on, before
// its effect or after it; of a process that has read nothing yet, and of one that has. There is no token without its
// record, no record of a token that stayed without one that says so, no answer but "unavailable"; and when the store is
// back, so is the service.
func TestEveryStoreCallOfAnExchangeFails(t *testing.T) {
	for store, url := range map[string]func() string{
		"embedded": func() string { return "" }, "redis": func() string { return storagetest.StartRedis(t).URL() },
	} {
		t.Run(store, func(t *testing.T) {
			w := servertest.New(t, servertest.Options{StoreURL: url(), Deadline: 60 * time.Millisecond})
			w.Create(delegating())
			received := map[string]bool{}
			for name, request := range paths(w, received) {
				if !storagetest.Full() && name != "for a user, both for one use" && name != "a token of ours" {
					continue
				}
				for _, warm := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s, warm %t", name, warm), func(t *testing.T) {
						breakEach(t, w, request, received, warm)
					})
				}
			}
		})
	}
}

func breakEach(t *testing.T, w *servertest.World, request func() exchange.Request, received map[string]bool,
	warm bool) {
	var calls []storagetest.Op
	for err := fault.ErrUnavailable; err != nil; calls = w.Store.Calls() { // again if the disk was busy
		p, r := begin(t, w, request, warm), request()
		w.Store.Mend()
		if _, err = run(t.Context(), p.Exchanger, "acme", r); err != nil && fault.As(err).Kind != fault.Unavailable {
			t.Fatal(err)
		}
	}
	if !slices.Contains(calls, storagetest.Commit) || slices.Contains(calls, storagetest.Rows) == warm {
		t.Fatalf("the calls are %v", calls)
	}
	for n := 1; n <= len(calls); n++ {
		for _, mode := range []storagetest.Mode{storagetest.NotApplied, storagetest.Applied} {
			for _, count := range []int{1, math.MaxInt32} {
				c := breakage{w: w, p: begin(t, w, request, warm), request: request, received: received}
				c.run(t, fmt.Sprintf("call %d of %v in mode %d, %d times", n, calls, mode, count),
					func() { w.Store.Break(n, count, mode) })
			}
		}
	}
}

// begin starts a process; a warm one has answered a request already.
func begin(t *testing.T, w *servertest.World, request func() exchange.Request, warm bool) *servertest.Process {
	t.Helper()
	p := w.Start()
	if warm {
		if _, err := patient(t, p, request); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// breakage is a process that loses its store.
type breakage struct {
	w        *servertest.World
	p        *servertest.Process
	request  func() exchange.Request
	received map[string]bool // the ids of the tokens that somebody received
}

func (c breakage) run(t *testing.T, name string, breaks func()) {
	t.Helper()
	r := c.request()
	before := len(c.w.Records("acme"))
	breaks()
	result, err := run(t.Context(), c.p.Exchanger, "acme", r)
	c.w.Store.Mend()
	if (result == nil) == (err == nil) || err != nil && fault.As(err).Kind != fault.Unavailable {
		t.Fatalf("%s: answered %v", name, err)
	}
	later, broken := patient(t, c.p, c.request)
	if broken != nil {
		t.Fatalf("%s: does not serve when the store is back: %v", name, broken)
	}
	again, lost := patient(t, c.p, func() exchange.Request { return r })
	if err := c.p.Log.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	log := records(c.w, before)
	left, withheld := sorted(log)
	for _, r := range []*exchange.Result{result, later, again} {
		if r == nil {
			continue
		}
		id := claimsOf(t, r.Token).ID
		if c.received[id] = true; !left[id] {
			t.Errorf("%s: a token that left has no record: %q", name, outcomes(log))
		}
	}
	for id := range left {
		if !c.received[id] {
			t.Errorf("%s: a token is recorded as issued, and nobody received it: %q", name, outcomes(log))
		}
	}
	// What can be used once is used exactly if a record says so, of a token that left or of one that did not.
	f := fault.As(lost)
	replayed := lost != nil && (f.Reason == "subject.replayed" || f.Reason == clients.ReasonAssertionReplayed)
	if lost != nil && !replayed || replayed && result == nil && withheld == 0 {
		t.Errorf("%s: the retry of what was answered by %v is refused by %v: %q", name, err, lost, outcomes(log))
	}
}

// patient asks until the process serves: by itself, whenever the store is back and the disk is less busy.
func patient(t testing.TB, p *servertest.Process, next func() exchange.Request) (result *exchange.Result, err error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		result, err = run(t.Context(), p.Exchanger, "acme", next())
		if err == nil || fault.As(err).Kind != fault.Unavailable || time.Now().After(deadline) {
			return result, err
		}
	}
}

// sorted returns the ids of the tokens that a log says were issued and left, and how many it says did not leave.
func sorted(log []servertest.Record) (left map[string]bool, withheld int) {
	left = map[string]bool{}
	for _, r := range log {
		switch {
		case r.Body.Outcome == audit.Allowed:
			left[r.Body.Token.JTI] = true
		case r.Body.Reason == audit.NotReleased:
			delete(left, r.Body.Token.JTI)
			withheld++
		}
	}
	return left, withheld
}
