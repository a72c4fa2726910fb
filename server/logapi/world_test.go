package logapi_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/logapi"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// world is the surface over a real store and real logs, within the whole server and behind real HTTP.
type world struct {
	*servertest.World
	t     *testing.T
	trees *trees
	api   *logapi.API
	admin *operator.Client // of the platform
	desk  *admin.Service
	url   string
}

func newWorld(t *testing.T, o servertest.Options, change ...func(*logapi.Config)) *world {
	t.Helper()
	w := &world{World: servertest.New(t, o), t: t}
	w.Create(servertest.Acme())
	w.Create(servertest.Globex())
	w.trees = &trees{store: w.Store, first: map[ledger.Tenant]int64{}, hold: map[ledger.Tenant]int64{}}
	quiet, token := slog.New(slog.DiscardHandler), admin.NewToken("")
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
	w.url = s.URL
	w.admin = &operator.Client{BaseURL: s.URL, Token: token}
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

// record appends n events to a tenant's log.
func (w *world) record(slug string, n int, change ...func(i int, e *audit.Event)) {
	w.t.Helper()
	o := audit.Origin{Tenant: w.ID(slug), Issuer: w.Directory.IssuerURL(slug)}
	var all sync.WaitGroup
	for i := range n {
		e := audit.Event{Name: audit.TokenExchange, Body: audit.Body{Outcome: audit.Allowed, Tool: "payments"}}
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
	all, err := w.trees.entries(context.Background(), w.ID(slug))
	if err != nil {
		w.t.Fatal(err)
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

// trees makes the trees of real logs as a caller of golang.org/x/mod/sumdb would.
type trees struct {
	store *storagetest.Faulty
	mu    sync.Mutex
	first map[ledger.Tenant]int64 // what is pruned
	hold  map[ledger.Tenant]int64 // how much the head covers at most; 0 is all
}

var private = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// prune drops everything before an index.
func (s *trees) prune(t ledger.Tenant, first int64) { s.mu.Lock(); s.first[t] = first; s.mu.Unlock() }

// cover lets heads cover no more than size entries.
func (s *trees) cover(t ledger.Tenant, size int64) { s.mu.Lock(); s.hold[t] = size; s.mu.Unlock() }

func (s *trees) entries(ctx context.Context, t ledger.Tenant) ([][]byte, error) {
	stored, err := s.store.Events(ctx, t, 0, 1_000_000)
	all := make([][]byte, len(stored))
	for i, e := range stored {
		all[i] = e.Data
	}
	return all, err
}

// hashes returns the stored hashes of a tree.
func (s *trees) hashes(ctx context.Context, t ledger.Tenant) (tlog.HashReader, int64, error) {
	all, err := s.entries(ctx, t)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	if hold := s.hold[t]; hold > 0 {
		all = all[:min(hold, int64(len(all)))]
	}
	s.mu.Unlock()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		got := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			got[i] = stored[index]
		}
		return got, nil
	})
	for i, e := range all {
		more, err := tlog.StoredHashes(int64(i), e, reader)
		if err != nil {
			return nil, 0, err
		}
		stored = append(stored, more...)
	}
	return reader, int64(len(all)), nil
}

func (s *trees) Head(ctx context.Context, o audit.Origin) (ledger.Head, error) {
	reader, size, err := s.hashes(ctx, o.Tenant)
	if err != nil || size == 0 {
		return ledger.Head{}, err
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return ledger.Head{}, err
	}
	c := auditor.Checkpoint{Origin: auditor.Origin(o.Issuer, 1), Size: size, Root: root}
	signed, err := note.Sign(&note.Note{Text: c.Text()}, auditor.NewNoteSigner(auditor.KeyName(o.Issuer), private))
	s.mu.Lock()
	defer s.mu.Unlock()
	return ledger.Head{Epoch: 1, Size: size, Root: root, Note: signed, First: s.first[o.Tenant]}, err
}

// within reports why a tile cannot be had; end is the entry behind its last.
func (s *trees) within(t ledger.Tenant, end, size int64, level int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case end > size:
		return fault.New(fault.NotFound, "tree.short", "The tree does not have that yet.")
	case level == 0 && end <= s.first[t]:
		return fault.New(fault.Gone, "tree.pruned", "That was pruned.")
	}
	return nil
}

func (s *trees) Tile(ctx context.Context, t ledger.Tenant, level int, index int64, width int) ([]byte, error) {
	reader, size, err := s.hashes(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := s.within(t, (index*256+int64(width))<<(8*level), size, level); err != nil {
		return nil, err
	}
	return tlog.ReadTileData(tlog.Tile{H: 8, L: level, N: index, W: width}, reader)
}

func (s *trees) Entries(ctx context.Context, t ledger.Tenant, index int64, width int) ([][]byte, error) {
	_, size, err := s.hashes(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := s.within(t, index*256+int64(width), size, 0); err != nil {
		return nil, err
	}
	all, err := s.entries(ctx, t)
	return all[index*256:][:width], err
}

func (s *trees) Inclusion(ctx context.Context, o audit.Origin, index int64) (tlog.RecordProof, ledger.Head, error) {
	head, err := s.Head(ctx, o)
	if err != nil {
		return nil, head, err
	}
	if err := s.within(o.Tenant, index+1, head.Size, 0); err != nil {
		return nil, head, err
	}
	reader, _, err := s.hashes(ctx, o.Tenant)
	if err != nil {
		return nil, head, err
	}
	proof, err := tlog.ProveRecord(head.Size, index, reader)
	return proof, head, err
}

func (s *trees) Consistency(ctx context.Context, o audit.Origin, from, to int64) (tlog.TreeProof, error) {
	reader, _, err := s.hashes(ctx, o.Tenant)
	if err != nil {
		return nil, err
	}
	return tlog.ProveTree(to, from, reader)
}

func (s *trees) Keys(_ context.Context, o audit.Origin) ([]byte, error) {
	text, err := auditor.KeysText(auditor.KeyName(o.Issuer),
		[]auditor.EventKey{auditor.NewEventKey("k", private.Public().(ed25519.PublicKey))})
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: text}, auditor.NewNoteSigner(auditor.KeyName(o.Issuer), private))
}

func (s *trees) VerifierKey(_ context.Context, o audit.Origin) ([]string, error) {
	key, err := auditor.NewNoteSigner(auditor.KeyName(o.Issuer), private).VerifierKey()
	return []string{key}, err
}
