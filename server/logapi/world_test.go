package logapi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/logapi"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// world is the surface over a real store and real logs, within the whole server and behind real HTTP.
type world struct {
	*servertest.World
	t      *testing.T
	trees  *trees
	api    *logapi.API
	admin  *operator.Client // of the platform
	desk   *admin.Service
	url    string
	server *httptest.Server
}

func newWorld(t *testing.T, o servertest.Options, change ...func(*logapi.Config)) *world {
	t.Helper()
	w := &world{World: servertest.New(t, o), t: t}
	w.Create(servertest.Acme())
	w.Create(servertest.Globex())
	quiet, token := slog.New(slog.DiscardHandler), admin.NewToken("")
	w.trees = &trees{held: map[ledger.Tenant]ledger.Head{}, Trees: tree.New(tree.Config{Store: w.Store,
		Master: w.Master, Anchors: tree.NoAnchors{}, Logger: quiet})}
	t.Cleanup(func() { _ = w.trees.Close(context.Background()) })
	w.desk = admin.New(admin.Config{Directory: w.Directory, Store: w.Store, Log: w.Log, Judge: w.Exchanger,
		PlatformTokenHash: admin.HashToken(token), Limits: w.Limits})
	cfg := logapi.Config{Desk: w.desk, Directory: w.Directory, Trees: w.trees, Keys: w.trees,
		Events: w.Log, Positions: w.Store, Logger: quiet}
	for _, f := range change {
		f(&cfg)
	}
	w.api = logapi.New(cfg)
	handler := server.New(server.Config{BaseURL: servertest.BaseURL, Directory: w.Directory, Exchanger: w.Exchanger,
		Logs: w.api, Metrics: prometheus.NewRegistry(), Logger: quiet,
		Ready: func(context.Context) error { return nil }})
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		w.api.Stop()
		s.Close()
	})
	w.url, w.server = s.URL, s
	w.admin = &operator.Client{BaseURL: s.URL, Token: token}
	w.record("acme", 1) // after this the process adds no event of its own that it writes
	w.record("globex", 1)
	for _, path := range []string{"/log/", "/t/acme/log/", "/t/globex/log/"} {
		w.want(200, path+"checkpoint") // what is recorded of the first reading is there before the test begins
	}
	return w
}

// eachStore runs a test in a world of its own on each store.
func eachStore(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { run(t, newWorld(t, servertest.Options{})) })
	t.Run("redis", func(t *testing.T) {
		run(t, newWorld(t, servertest.Options{StoreURL: storagetest.StartRedis(t).URL()}))
	})
}

// operator makes an operator of a tenant and returns the token.
func (w *world) operator(slug string, role admin.Role) string {
	w.t.Helper()
	op, err := w.desk.Authenticate(w.t.Context(), admin.Credentials{Tenant: slug, Token: w.admin.Token})
	if err != nil {
		w.t.Fatal(err)
	}
	token, _, err := w.desk.CreateOperator(w.t.Context(), op, role, admin.MaxTTL)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// issued is the event of a token that was issued.
func issued() audit.Event {
	now := time.Now()
	return audit.Event{Name: audit.TokenExchange, Txn: ledger.NewID(now), Agent: "client:other", Body: audit.Body{
		Outcome: audit.Allowed, DecisionID: ledger.NewID(now), ClientID: "other", Method: "workload",
		Actor: audit.Actor{Chain: []string{"client:other"}}, Tool: "payments", Actions: []string{"refunds.read"},
		Resource: "https://tools.acme.example/payments", Policy: audit.Policy{Revision: "r"},
		Limits: audit.Limits{Policy: 60, Tool: 60},
		Token: audit.Token{JTI: ledger.NewID(now), Hash: strings.Repeat("h", 43), Expiry: now.Unix() + 60,
			Type: "at+jwt"},
	}}
}

// record appends n events to a tenant's log.
func (w *world) record(slug string, n int, change ...func(i int, e *audit.Event)) {
	w.t.Helper()
	o := audit.Origin{Tenant: w.ID(slug), Issuer: w.Directory.IssuerURL(slug)}
	var all sync.WaitGroup
	for i := range n {
		e := issued()
		for _, f := range change {
			f(i, &e)
		}
		all.Go(func() {
			if _, err := w.Log.Append(context.Background(), o, e); err != nil {
				w.t.Error(err)
			}
		})
		if len(change) > 0 || i%100 == 99 { // in order, if they differ
			all.Wait()
		}
	}
	all.Wait()
}

// entries returns what a log holds.
func (w *world) entries(slug string) [][]byte {
	w.t.Helper()
	stored, err := w.Store.Events(context.Background(), w.ID(slug), 0, 1_000_000)
	if err != nil {
		w.t.Fatal(err)
	}
	var all [][]byte
	for _, e := range stored {
		all = append(all, e.Data)
	}
	return all
}

// get asks for a path as it stands, as the platform's admin unless a header says otherwise.
func (w *world) get(path string, header ...string) (*http.Response, string) {
	w.t.Helper()
	return w.send(http.MethodGet, path, header...)
}

func (w *world) send(method, path string, header ...string) (*http.Response, string) {
	w.t.Helper()
	resp := w.open(w.t.Context(), method, path, header...)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// open sends a request and returns the answer as soon as it begins. A header whose value is "" is not sent.
func (w *world) open(ctx context.Context, method, path string, header ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.admin.Token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// trees are those of the server, which can be held back: heads then do not cover what is recorded later.
type trees struct {
	*tree.Trees
	mu   sync.Mutex
	held map[ledger.Tenant]ledger.Head
}

// hold keeps a log at the head that it has now.
func (w *world) hold(slug string) {
	w.t.Helper()
	o := audit.Origin{Tenant: w.ID(slug), Issuer: w.Directory.IssuerURL(slug)}
	h, err := w.trees.Trees.Head(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.trees.mu.Lock()
	defer w.trees.mu.Unlock()
	w.trees.held[o.Tenant] = h
}

// release lets the log go on.
func (w *world) release(slug string) {
	w.trees.mu.Lock()
	defer w.trees.mu.Unlock()
	delete(w.trees.held, w.ID(slug))
}

func (s *trees) Head(ctx context.Context, o audit.Origin) (ledger.Head, error) {
	s.mu.Lock()
	h, held := s.held[o.Tenant]
	s.mu.Unlock()
	if held {
		return h, nil
	}
	return s.Trees.Head(ctx, o)
}

// prune drops the entries of a log before an index.
func (w *world) prune(slug string, before int64) {
	w.t.Helper()
	w.want(200, "/t/"+slug+"/log/checkpoint") // nothing is dropped that no head covers
	if err := w.Store.Prune(w.t.Context(), w.ID(slug), before); err != nil {
		w.t.Fatal(err)
	}
}
