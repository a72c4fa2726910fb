package deliver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/deliver"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

var ctx = context.Background()

// onBoth runs a test on each of the two backends.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	for name, url := range map[string]func(*testing.T) string{
		"bolt":  func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "bursar.db") },
		"redis": func(t *testing.T) string { return storagetest.Redis(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := storage.Open(ctx, storage.Config{URL: url(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			test(t, newWorld(t, s))
		})
	}
}

// world is a store with some logs, all of whose events are covered unless a test says otherwise.
type world struct {
	t     *testing.T
	store storage.Store

	mu      sync.Mutex
	logs    []deliver.Log
	writers map[ledger.Tenant]int64
	uncover map[ledger.Tenant]int64 // how many events at the end are not covered
	epochs  map[ledger.Tenant]int64
	first   map[ledger.Tenant]int64
	running []*deliver.Deliverer
}

func newWorld(t *testing.T, s storage.Store) *world {
	return &world{t: t, store: s, writers: map[ledger.Tenant]int64{}, uncover: map[ledger.Tenant]int64{},
		epochs: map[ledger.Tenant]int64{}, first: map[ledger.Tenant]int64{}}
}

// log adds a tenant; one without a slug is the platform.
func (w *world) log(slug string) deliver.Log {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := deliver.Log{Tenant: ledger.NewTenant(), Slug: slug}
	w.logs = append(w.logs, l)
	return l
}

// append records events with these names, and tells those who deliver.
func (w *world) append(l deliver.Log, names ...string) {
	w.t.Helper()
	for chunk := range slices.Chunk(names, ledger.MaxEntries) {
		w.write(l, chunk...)
	}
	w.tell(l)
}

func (w *world) write(l deliver.Log, names ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	c := ledger.Commit{Writer: "w", First: w.writers[l.Tenant] + 1}
	for _, name := range names {
		n := c.First + int64(len(c.Entries))
		claims := fmt.Sprintf(`{"jti":"%s-%d","toe":1790000000,"iat":1790000001,`+
			`"events":{"urn:bursar:event:%s:v1":{"outcome":"allowed","a":"<&>"}}}`, l.Slug, n, name)
		c.Entries = append(c.Entries, []byte(signed(claims)))
	}
	if _, err := w.store.Commit(ctx, l.Tenant, c); err != nil {
		w.t.Fatal(err)
	}
	w.writers[l.Tenant] += int64(len(names))
}

// signed has the form of a SET. What delivers looks at no signature.
func signed(claims string) string {
	return "eyJhbGciOiJFZERTQSJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func (w *world) tell(l deliver.Log) {
	w.t.Helper()
	c, err := w.Covered(ctx, l)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range w.all() {
		d.Advanced(l.Tenant, c)
	}
}

func (w *world) all() []*deliver.Deliverer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.running)
}

func (w *world) Logs(context.Context) ([]deliver.Log, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logs), nil
}

func (w *world) Covered(ctx context.Context, l deliver.Log) (deliver.Covered, error) {
	p, err := w.store.Position(ctx, l.Tenant)
	w.mu.Lock()
	defer w.mu.Unlock()
	return deliver.Covered{Epoch: max(w.epochs[l.Tenant], 1), First: w.first[l.Tenant],
		Size: p.Index - w.uncover[l.Tenant]}, err
}

func (w *world) Origin(l deliver.Log, epoch int64) string {
	if epoch > 1 {
		return origin(l) + fmt.Sprintf("/e%d", epoch)
	}
	return origin(l)
}

func origin(l deliver.Log) string {
	if l.Slug == "" {
		return "sts.example/log"
	}
	return "sts.example/t/" + l.Slug + "/log"
}

func (w *world) Read(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]deliver.Record, error) {
	entries, err := w.store.Events(ctx, t, from, limit)
	var records []deliver.Record
	for _, e := range entries {
		set := string(e.Data)
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(set, ".")[1])
		if err != nil {
			return nil, err
		}
		records = append(records, deliver.Record{Index: e.Index, SET: set, Claims: claims})
	}
	return records, err
}

// config is that of a Deliverer that does not make a test wait.
func (w *world) config(targets ...deliver.Target) deliver.Config {
	return deliver.Config{Store: w.store, Source: w, Heads: w, Targets: targets,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Lease: 2 * time.Second, Retry: 5 * time.Millisecond,
		MaxRetry: 20 * time.Millisecond, Sweep: 50 * time.Millisecond}
}

func (w *world) start(cfg deliver.Config) *deliver.Deliverer {
	d := deliver.New(cfg)
	w.mu.Lock()
	w.running = append(w.running, d)
	w.mu.Unlock()
	w.t.Cleanup(func() { w.stop(d) })
	return d
}

// stop closes a Deliverer; a second time does nothing.
func (w *world) stop(d *deliver.Deliverer) {
	w.t.Helper()
	w.mu.Lock()
	i := slices.Index(w.running, d)
	if i >= 0 {
		w.running = slices.Delete(w.running, i, i+1)
	}
	w.mu.Unlock()
	if i < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// stands waits until a sink has everything up to an index of a log.
func (w *world) stands(sink string, l deliver.Log, index int64) {
	w.t.Helper()
	var s ledger.Sink
	w.eventually(func() (err error) {
		if s, err = w.store.Sink(ctx, l.Tenant, sink); err == nil && s.Next.Index != index {
			err = fmt.Errorf("%s stands at %d of %q, not at %d", sink, s.Next.Index, l.Slug, index)
		}
		return err
	})
}

func (w *world) eventually(try func() error) {
	w.t.Helper()
	eventually(w.t, try)
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// receiver is a sink that keeps what it is given, and does what a test says.
type receiver struct {
	mu     sync.Mutex
	given  map[string][]int64 // by origin
	before func(b deliver.Batch) (int, error)
}

func (r *receiver) Give(_ context.Context, b deliver.Batch) (given int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	given = len(b.Events)
	if r.before != nil {
		given, err = r.before(b)
	}
	for _, e := range b.Events[:given] {
		if r.given == nil {
			r.given = map[string][]int64{}
		}
		r.given[b.Origin] = append(r.given[b.Origin], e.Index)
	}
	return given, err
}

func (r *receiver) Close() error { return nil }

func (r *receiver) has(origin string) []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.given[origin])
}

// upTo returns the numbers below n.
func upTo(n int64) (all []int64) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// names returns so many times the same name.
func names(n int) []string { return slices.Repeat([]string{"token.exchange"}, n) }

// parsed is a line of a sink of lines.
type parsed struct {
	Origin string          `json:"origin"`
	Index  int64           `json:"index"`
	SET    string          `json:"set"`
	Claims json.RawMessage `json:"claims"`
}
