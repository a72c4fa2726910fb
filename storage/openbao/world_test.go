package openbao_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/openbao"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// secretText is what must be seen nowhere.
const secretText = "sk-live-0123456789abcdef"

var fields = map[string]string{"value": secretText}

// world is an OpenBao with a KV engine, and clients of it.
type world struct {
	*baotest.Bao
	t     testing.TB
	mount string
	logs  *safeBuffer
	mu    sync.Mutex
	ahead time.Duration
}

func newWorld(t testing.TB, b *baotest.Bao) *world {
	return &world{Bao: b, t: t, mount: b.Mount(t, "kv-v2"), logs: new(safeBuffer)}
}

// fake is a world whose OpenBao can be tampered with.
func fake(t testing.TB) *world {
	s := baotest.Start(t)
	return newWorld(t, &baotest.Bao{URL: s.URL, Token: s.Root, Fake: s})
}

func each(t *testing.T, run func(t *testing.T, w *world)) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) { run(t, newWorld(t, b)) })
}

// now is the clock of clients and server.
func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

// advance moves it.
func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	w.ahead += d
	w.mu.Unlock()
	if w.Fake != nil {
		w.Fake.Advance(d)
	}
}

// client returns a client that has a token; it may be changed before it is made.
func (w *world) client(token string, change ...func(*openbao.Config)) *openbao.Client {
	w.t.Helper()
	cfg := openbao.Config{Address: w.URL, Logger: slog.New(slog.NewTextHandler(w.logs, nil)), Now: w.now,
		Login: openbao.Login{Method: openbao.Token, Credential: func() (string, error) { return token, nil }}}
	for _, c := range change {
		c(&cfg)
	}
	c, err := openbao.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close(w.t.Context()) })
	return c
}

func (w *world) layout() openbao.Layout {
	return openbao.Layout{Mount: w.mount, Path: "bursar/{tenant}"}
}

// tenants have an internal id each.
var tenants = map[string]ledger.Tenant{"acme": ledger.NewTenant(), "globex": ledger.NewTenant()}

// backend returns that of a tenant.
func (w *world) backend(c *openbao.Client, slug string, staleness time.Duration) *openbao.Backend {
	w.t.Helper()
	return c.Backends(w.layout(), staleness).Of(slug, tenants[slug])
}

// acme returns the backend of acme, as somebody who may do everything, that remembers nothing.
func (w *world) acme() *openbao.Backend { return w.backend(w.client(w.Token), "acme", 0) }

// put puts the secret text.
func (w *world) put(b *openbao.Backend) string {
	w.t.Helper()
	ref, err := b.Put(w.t.Context(), tenants["acme"], "payments-key", fields)
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

// get fails the test unless the secret text is there.
func (w *world) get(b *openbao.Backend, ref string) {
	w.t.Helper()
	got, err := b.Get(w.t.Context(), tenants["acme"], ref)
	if err != nil || len(got) != 1 || got["value"] != secretText {
		w.t.Fatalf("it gives %d fields, %v", len(got), err)
	}
}

// refused fails the test unless an error has a reason, is one of unavailability, and tells nothing.
func (w *world) refused(err error, reason string) {
	w.t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Reason != reason || f.Kind != fault.Unavailable || !errors.Is(err, fault.ErrUnavailable) {
		w.t.Fatalf("the error is %v, want %s", err, reason)
	}
	w.quiet(fmt.Sprintf("%v %+v %#v %s", err, err, f, f.Public))
}

// quiet fails the test if a text has what must not be seen.
func (w *world) quiet(text string) {
	w.t.Helper()
	text += w.logs.String()
	if strings.Contains(text, secretText) || strings.Contains(text, w.Token) {
		w.t.Errorf("it tells a secret: %s", text)
	}
}

// asked returns what the fake was asked since, but for the login.
func (w *world) asked(from int) (all []baotest.Request) {
	for _, r := range w.Fake.Requests()[from:] {
		if !strings.HasPrefix(r.URI, "/v1/auth/") {
			all = append(all, r)
		}
	}
	return all
}

// answering has the fake answer everything but what belongs to tokens with f.
func (w *world) answering(f func(http.ResponseWriter, *http.Request)) {
	w.Fake.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/auth/token/") {
			return false
		}
		f(rw, r)
		return true
	})
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// until waits for something, for a bounded time.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to that: %s", what)
		}
	}
}
