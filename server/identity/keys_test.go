package identity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
)

func TestBadSignaturesDoNotFetch(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	for i := range 1000 {
		compact := w.mint(claims("n", i))
		w.refuse(payload(func(s string) string { return strings.Replace(s, "alice", "alicd", 1) })(w, compact),
			"token.signature")
	}
	w.wantFetches(1)
}

// TestUnknownKeysFetchOnceAWhile (T-59).
func TestUnknownKeysFetchOnceAWhile(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	unknown := func() {
		for i := range 50 {
			w.refuse(w.mint(header("kid", fmt.Sprint("unknown-", i))), "token.key_unknown")
		}
	}
	unknown()
	w.wantFetches(1) // with nothing cached, the first fetch is the forced one
	w.clock.advance(31 * time.Second)
	unknown()
	w.wantFetches(2)
	w.clock.advance(29 * time.Second)
	unknown()
	w.wantFetches(2)
	w.accept(w.mint(demoissuer.Request{}))
	w.wantFetches(2)
}

func TestUnknownKeysAtOnceShareOneFetch(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.accept(w.mint(demoissuer.Request{}))
	w.clock.advance(time.Minute)
	w.issuer.Rotate()
	compact := w.mint(demoissuer.Request{})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := w.verify(compact); err != nil {
				t.Errorf("a token signed with a new key: %v", err)
			}
		})
	}
	all.Wait()
	w.wantFetches(2)
}

func TestFirstUsesAtOnceShareOneFetch(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	var all sync.WaitGroup
	for i := range 50 {
		compact := w.mint(claims("n", i))
		all.Go(func() {
			if _, err := w.verify(compact); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.wantFetches(1)
}

// TestHeadersNeverCauseRequests (T-13).
func TestHeadersNeverCauseRequests(t *testing.T) {
	var asked atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer trap.Close()
	w := newWorld(t, identity.OIDC)
	jwk := json.RawMessage(w.inline())
	for _, name := range []string{"jku", "x5u"} {
		w.refuse(w.mint(header("kid", "mine", name, trap.URL)), "token.key_unknown")
		w.accept(w.mint(header(name, trap.URL)))
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(jwk, &set); err != nil {
		t.Fatal(err)
	}
	w.issuer.Rotate()
	w.issuer.Drop()
	w.refuse(w.mint(header("kid", "mine", "jwk", set.Keys[0])), "token.key_unknown")
	if asked.Load() > 0 {
		t.Error("a URL of the header was fetched")
	}
}

func TestRemovedKeyIsRefusedWithinMaxAge(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	compact := w.mint(demoissuer.Request{})
	w.accept(compact)
	w.issuer.Rotate()
	w.issuer.Drop()
	w.clock.advance(5 * time.Minute)
	w.refuse(compact, "token.key_unknown")
	w.accept(w.mint(demoissuer.Request{}))
}

func TestRemovedKeyEndsRememberedTokens(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.restart(identity.Config{MaxAge: 20 * time.Second, RefetchFloor: time.Second})
	compact := w.mint(demoissuer.Request{})
	w.accept(compact)
	w.issuer.Rotate()
	w.issuer.Drop()
	w.clock.advance(20 * time.Second) // a remembered token would be good for 60
	w.refuse(compact, "token.key_unknown")
}

func TestRotationIsSeenAtOnce(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	old := w.mint(demoissuer.Request{})
	w.accept(old)
	w.clock.advance(time.Second)
	w.issuer.Rotate()
	w.accept(w.mint(demoissuer.Request{}))
	w.accept(old)
	w.wantFetches(2)
}

func TestKeysServeOnWhileTheIssuerIsDown(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.accept(w.mint(demoissuer.Request{}))
	w.server.Close()
	w.clock.advance(59 * time.Minute)
	w.accept(w.mint(demoissuer.Request{}))
	w.clock.advance(time.Minute)
	w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
}

// TestBrokenIssuers (T-58, T-59): whatever an issuer answers, it is given up soon and tells the presenter nothing.
func TestBrokenIssuers(t *testing.T) {
	for mode, name := range map[string]string{
		"500": "an internal error", "slow": "a byte a second", "huge": "100 MB", "html": "a sign-in page",
		"gzipbomb": "100 MB in a small body",
		"redirect:http://169.254.169.254/latest/meta-data": "a redirect to the metadata service",
		"redirect:http://localhost:1/jwks":                 "a redirect to another origin",
		"redirect:/jwks":                                   "redirects without end",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, identity.OIDC)
			w.restart(identity.Config{FetchTimeout: 100 * time.Millisecond})
			m, err := demoissuer.ParseMode(mode)
			if err != nil {
				t.Fatal(err)
			}
			w.issuer.SetMode(m)
			_, err = w.verify(w.mint(demoissuer.Request{}))
			wantReason(t, err, "issuer.unreachable")
			if n, _ := w.issuer.Stats(); n > 3 {
				t.Errorf("%d requests for one fetch", n)
			}
			if public := fault.As(err).Public; strings.Contains(public, "169.254") ||
				strings.Contains(public, w.server.URL) {
				t.Errorf("the presenter reads %q", public)
			}
			w.issuer.SetMode(demoissuer.Mode{Name: demoissuer.ModeOK})
			w.clock.advance(time.Minute)
			w.accept(w.mint(demoissuer.Request{}))
		})
	}
}

// TestRedirectsStayAtTheirOrigin (T-58).
func TestRedirectsStayAtTheirOrigin(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	elsewhere := httptest.NewServer(w.issuer)
	defer elsewhere.Close()
	var target string
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			w.issuer.ServeHTTP(rw, r)
			return
		}
		http.Redirect(rw, r, target, http.StatusFound)
	}))
	defer server.Close()
	w.entry.JWKSURI = server.URL + "/moved"
	for _, target = range []string{elsewhere.URL + "/jwks", "//" + elsewhere.Listener.Addr().String() + "/jwks"} {
		w.restart(identity.Config{})
		w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	}
	w.wantFetches(0)
	target = "/jwks"
	w.restart(identity.Config{})
	w.accept(w.mint(demoissuer.Request{}))
}

func TestFailedFetchesPause(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.issuer.SetMode(demoissuer.Mode{Name: demoissuer.Mode500})
	for range 20 {
		w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	}
	w.wantFetches(1)
	for range 300 { // five minutes
		w.clock.advance(time.Second)
		w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	}
	if n, _ := w.issuer.Stats(); n < 5 || n > 20 {
		t.Errorf("%d fetches in five minutes of failure", n)
	}
	w.issuer.SetMode(demoissuer.Mode{Name: demoissuer.ModeOK})
	w.clock.advance(30 * time.Second)
	w.accept(w.mint(demoissuer.Request{}))
}

func TestNearlyOldKeysAreRefreshedInTheBackground(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	asked, answer := make(chan bool, 1), make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- true
		<-answer
		w.issuer.ServeHTTP(rw, r)
	}))
	defer server.Close()
	w.entry.JWKSURI = server.URL + "/jwks"
	w.restart(identity.Config{FetchTimeout: time.Minute})
	go func() { answer <- true }()
	w.accept(w.mint(demoissuer.Request{}))
	<-asked
	w.clock.advance(4*time.Minute + time.Second)
	w.accept(w.mint(demoissuer.Request{})) // while the issuer does not answer
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Fatal("no refresh was begun")
	}
	w.accept(w.mint(demoissuer.Request{}))
	answer <- true
}

func TestCloseEndsFetches(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.accept(w.mint(demoissuer.Request{}))
	w.issuer.SetMode(demoissuer.Mode{Name: demoissuer.ModeSlow})
	w.clock.advance(4*time.Minute + time.Second)
	w.accept(w.mint(demoissuer.Request{}))
	w.sources.Close()
	w.accept(w.mint(demoissuer.Request{}))
	w.clock.advance(time.Hour)
	w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
}

func TestFetchesAreModest(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	var written atomic.Int64
	status, document := http.StatusOK, w.inline()
	mux := http.NewServeMux()
	mux.HandleFunc("/endless", func(rw http.ResponseWriter, _ *http.Request) {
		for written.Load() < 100<<20 {
			n, err := rw.Write(make([]byte, 64<<10))
			if err != nil {
				return
			}
			written.Add(int64(n))
		}
	})
	mux.HandleFunc("/document", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("request %v", r.Header)
		}
		rw.WriteHeader(status)
		_, _ = rw.Write(document)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	w.entry.JWKSURI = server.URL + "/endless"
	w.restart(identity.Config{FetchTimeout: time.Minute})
	w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	if n := written.Load(); n > 50<<20 {
		t.Errorf("%d bytes were sent", n)
	}
	w.entry.JWKSURI = server.URL + "/document"
	w.restart(identity.Config{})
	w.accept(w.mint(demoissuer.Request{}))
	for _, status = range []int{http.StatusInternalServerError, http.StatusAccepted, http.StatusNotFound} {
		w.restart(identity.Config{})
		w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	}
}

// TestACallerThatGivesUpLeavesTheFetchToOthers also shows that no caller waits longer than it wants.
func TestACallerThatGivesUpLeavesTheFetchToOthers(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.pool.Verify(ctx, w.mint(demoissuer.Request{}), identity.TypeJWT)
	if err != nil { // the fetch may win
		wantReason(t, err, "issuer.unreachable")
	}
	w.accept(w.mint(demoissuer.Request{}))
	w.wantFetches(1)
}

func TestKeysSurviveAReload(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	w.accept(w.mint(demoissuer.Request{}))
	w.entry.Audiences = append(w.entry.Audiences, "https://sts.example/other")
	w.pool = w.trust("acme", w.entry)
	w.accept(w.mint(demoissuer.Request{}))
	w.wantFetches(1)
	compact := w.mint(demoissuer.Request{})
	w.accept(compact)
	other := w.trust("other", w.entry) // and nothing is shared between tenants
	if p, err := other.Verify(t.Context(), compact, identity.TypeJWT); err != nil || w.met[p.Traded] > 0 {
		t.Errorf("principal %+v, error %v", p, err)
	}
	w.wantFetches(2)
}

func TestPrivateAddressesNeedBothSides(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	compact := w.mint(demoissuer.Request{})
	closed := w.entry
	closed.Network.AllowPrivate = false
	for name, pool := range map[string]*identity.Pool{
		"the entry does not ask":                w.sources.Pool("acme", loopback, []identity.Issuer{closed}, nil),
		"the platform does not allow":           w.sources.Pool("acme", nil, []identity.Issuer{w.entry}, nil),
		"another range is allowed":              w.sources.Pool("acme", loopback[1:], []identity.Issuer{w.entry}, nil),
		"the keys of the open entry are cached": w.sources.Pool("acme", nil, []identity.Issuer{closed}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pool.Verify(t.Context(), compact, identity.TypeJWT)
			wantReason(t, err, "issuer.unreachable")
		})
	}
	w.wantFetches(0)
	w.accept(compact)
}

func TestOwnListenersAreNeverFetchedFrom(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	own := netip.MustParseAddrPort(w.server.Listener.Addr().String())
	w.restart(identity.Config{Deny: func() []netip.AddrPort { return []netip.AddrPort{own} }})
	w.refuse(w.mint(demoissuer.Request{}), "issuer.unreachable")
	w.wantFetches(0)
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	for name, metadata := range map[string]string{
		"of another issuer":            `{"issuer":"https://evil.example","jwks_uri":"JWKS"}`,
		"of an issuer with a slash":    `{"issuer":"ISSUER/","jwks_uri":"JWKS"}`,
		"without keys":                 `{"issuer":"ISSUER"}`,
		"with keys at the cloud":       `{"issuer":"ISSUER","jwks_uri":"http://169.254.169.254/keys"}`,
		"with keys at a file":          `{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}`,
		"with keys at a private host":  `{"issuer":"ISSUER","jwks_uri":"https://10.0.0.1/keys"}`,
		"that is ambiguous":            `{"issuer":"ISSUER","jwks_uri":"JWKS","jwks_uri":"JWKS"}`,
		"that is a list":               `["ISSUER"]`,
		"with a plain http public URL": `{"issuer":"ISSUER","jwks_uri":"http://keys.example/"}`,
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			server := httptest.NewServer(mux)
			defer server.Close()
			mux.HandleFunc("/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(rw, strings.NewReplacer("ISSUER", server.URL, "JWKS", w.issuer.JWKSURI()).Replace(metadata))
			})
			pool := w.trust("acme", changed(w.entry, func(i *identity.Issuer) { i.Issuer = server.URL }))
			_, err := pool.Verify(t.Context(), w.mint(claims("iss", server.URL)), identity.TypeJWT)
			wantReason(t, err, "issuer.unreachable")
		})
	}
	w.wantFetches(0)
}

func TestHTTPS(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	server := httptest.NewTLSServer(w.issuer)
	defer server.Close()
	w.entry.JWKSURI = server.URL + "/jwks"
	compact := w.mint(demoissuer.Request{})
	w.restart(identity.Config{})
	w.refuse(compact, "issuer.unreachable") // nobody vouches for the certificate
	w.restart(identity.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	w.accept(compact)
}

func TestClientKeys(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	keys := w.sources.ClientKeys("acme", loopback, w.issuer.JWKSURI(), true)
	assertion := w.mint(claims("iss", "bot", "sub", "bot"))
	text, err := keys.VerifySignature(t.Context(), assertion)
	if err != nil || !strings.Contains(string(text), `"iss":"bot"`) {
		t.Errorf("payload %s, error %v", text, err)
	}
	if again := w.sources.ClientKeys("acme", loopback, w.issuer.JWKSURI(), true); again != keys {
		t.Error("keys are fetched anew for each use")
	}
	for reason, compact := range map[string]string{
		"token.not_canonical": assertion + "=",
		"token.algorithm":     w.mint(demoissuer.Request{Alg: "HS256"}),
		"token.key_unknown":   w.mint(header("kid", "other")),
		"token.critical":      w.mint(header("crit", []string{"exp"})),
		"token.signature": payload(func(s string) string { return strings.Replace(s, "alice", "alicd", 1) })(w,
			w.mint(demoissuer.Request{})),
	} {
		_, err := keys.VerifySignature(t.Context(), compact)
		wantReason(t, err, reason)
	}
	closed := w.sources.ClientKeys("acme", loopback, w.issuer.JWKSURI(), false)
	_, err = closed.VerifySignature(t.Context(), assertion)
	wantReason(t, err, "issuer.unreachable")
}

func TestKeysThatNobodyUsesAreForgotten(t *testing.T) {
	w := newWorld(t, identity.OIDC)
	ask := func(n int) *identity.Keys {
		return w.sources.ClientKeys("acme", nil, fmt.Sprintf("https://keys.example/%d", n), false)
	}
	idle := ask(0)
	for n := range 63 {
		ask(n)
	}
	w.accept(w.mint(demoissuer.Request{}))
	if ask(0) != idle {
		t.Error("keys are forgotten while there are few")
	}
	w.clock.advance(61 * time.Minute)
	w.accept(w.mint(demoissuer.Request{})) // these are used
	w.wantFetches(2)
	for n := range 5 {
		ask(100 + n)
	}
	if ask(0) == idle {
		t.Error("keys that nobody used for an hour are kept")
	}
	w.pool = w.trust("acme", w.entry)
	w.accept(w.mint(demoissuer.Request{}))
	w.wantFetches(2)
}
