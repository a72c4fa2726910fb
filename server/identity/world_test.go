package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/demoissuer"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
)

const audience = "https://sts.example/t/acme"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a real issuer behind a real listener, and a tenant that trusts it.
type world struct {
	*testing.T
	clock   *clock
	issuer  *demoissuer.Issuer
	server  *httptest.Server
	entry   identity.Issuer
	sources *identity.Sources
	pool    *identity.Pool
	met     map[*atomic.Bool]int // how often accept was given a principal
}

func newWorld(t *testing.T, kind identity.Kind, changes ...func(*identity.Issuer)) *world {
	t.Helper()
	w := &world{T: t, clock: &clock{now: time.Now().Truncate(time.Second)}}
	w.server = httptest.NewUnstartedServer(nil)
	url := "http://" + w.server.Listener.Addr().String()
	var err error
	w.issuer, err = demoissuer.New(demoissuer.Config{Kind: demoissuer.Kind(kind), URL: url, Audience: audience,
		Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.server.Config.Handler = w.issuer
	w.server.Start()
	w.entry = identity.Issuer{
		Name: "theirs", Issuer: url, Kind: kind, Audiences: []string{audience},
		Network: identity.Network{AllowPrivate: true},
	}
	switch kind {
	case identity.SPIFFE:
		w.entry.Issuer, w.entry.TrustDomain, w.entry.JWKSURI = "", "demo.example", w.issuer.JWKSURI()
	case identity.GitHub:
		w.entry.Condition = "whose"
	}
	for _, change := range changes {
		change(&w.entry)
	}
	w.restart(identity.Config{})
	t.Cleanup(func() { w.sources.Close(); w.server.Close() })
	return w
}

// restart begins anew with empty caches.
func (w *world) restart(c identity.Config) {
	if w.sources != nil {
		w.sources.Close()
	}
	c.Now = w.clock.Now
	w.sources = identity.NewSources(c)
	w.pool = w.trust("acme", w.entry)
}

// conditions has every condition of the tests; its text says what it does.
type condition string

func (c condition) Allow(_ context.Context, claims map[string]any) bool {
	switch c {
	case "whose":
		return claims["repository_owner"] == "acme"
	case "never":
		return false
	}
	return c == "always"
}

func (w *world) trust(tenant ledger.Tenant, entries ...identity.Issuer) *identity.Pool {
	conditions := map[string]identity.Condition{}
	for _, e := range entries {
		if mistakes := e.Check(); len(mistakes) > 0 {
			w.Fatalf("entry %s: %q", e.Name, mistakes)
		}
		if e.Condition != "" {
			conditions[e.Name] = condition(e.Condition)
		}
	}
	return w.sources.Pool(tenant, loopback, entries, conditions)
}

func (w *world) mint(r demoissuer.Request) string {
	w.Helper()
	compact, err := w.issuer.Mint(r)
	if err != nil {
		w.Fatal(err)
	}
	return compact
}

func (w *world) verify(compact string) (*identity.Principal, error) {
	return w.pool.Verify(context.Background(), compact, identity.TypeJWT)
}

// accept verifies a token that must be good.
func (w *world) accept(compact string) *identity.Principal {
	w.Helper()
	p, err := w.verify(compact)
	if err != nil {
		w.Fatalf("refused: %v", err)
	}
	if w.met == nil {
		w.met = map[*atomic.Bool]int{}
	}
	w.met[p.Traded]++
	return p
}

// again reports whether p, which accept returned, is what an earlier verification found.
func (w *world) again(p *identity.Principal) bool { return w.met[p.Traded] > 1 }

// refuse verifies a token that must be refused for the reason.
func (w *world) refuse(compact, reason string) {
	w.Helper()
	_, err := w.verify(compact)
	wantReason(w.T, err, reason)
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok:
		t.Errorf("error %v, want reason %s", err, reason)
	case e.Reason != reason:
		t.Errorf("reason %s (%v), want %s", e.Reason, err, reason)
	case e.Kind == fault.InvalidRequest && (!strings.HasPrefix(reason, "token.") || e.Public == ""):
		t.Errorf("refusal without a reason or a sentence: %#v", e)
	case e.Kind != fault.InvalidRequest && (e.Kind != fault.Unavailable || reason != "issuer.unreachable"):
		t.Errorf("kind %v for reason %s", e.Kind, reason)
	}
}

func (w *world) wantFetches(want int) {
	w.Helper()
	if got, _ := w.issuer.Stats(); got != want {
		w.Errorf("%d fetches of keys, want %d", got, want)
	}
}

// inline replaces the entry's key source by the issuer's keys of this moment.
func (w *world) inline() json.RawMessage {
	w.Helper()
	jwks, err := w.issuer.JWKS()
	if err != nil {
		w.Fatal(err)
	}
	return jwks
}
