package exchange_test

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// askers is how many exchanges are under way at once, as in e2e/bench.
const askers = 32

// BenchmarkRecord tells what the signed log costs an exchange, over one that records nothing: its events made, signed
// and put under signed heads, in memory; and all of that durable on each store. Nothing but this benchmark can do
// without the log. The subject token is re-used, and there is no HTTP around it. Run it with -cpu 1.
func BenchmarkRecord(b *testing.B) {
	worlds := map[string]*servertest.World{}
	world := func(url string) *servertest.World {
		if worlds[url] == nil {
			worlds[url] = servertest.New(b, servertest.Options{StoreURL: url})
			worlds[url].Create(servertest.Acme())
		}
		return worlds[url]
	}
	embedded := func() *servertest.World { return world("") }
	b.Run("nothing", func(b *testing.B) {
		w := embedded()
		exchanges(b, w, unrecorded{at: position(b, w)}, nil)
	})
	b.Run("memory", func(b *testing.B) {
		w := embedded()
		l, trees := signing(b, w, &inMemory{at: position(b, w), tiles: map[ledger.TileID][]byte{}})
		exchanges(b, w, l, trees)
	})
	b.Run("embedded", func(b *testing.B) {
		w := embedded()
		l, trees := signing(b, w, w.Store)
		exchanges(b, w, l, trees)
	})
	b.Run("redis", func(b *testing.B) {
		w := world(storagetest.Redis(b))
		l, trees := signing(b, w, w.Store)
		exchanges(b, w, l, trees)
	})
}

// exchanges measures b.N exchanges, up to the head that covers the last one.
func exchanges(b *testing.B, w *servertest.World, l exchange.Log, trees *tree.Trees) {
	x := exchange.New(exchange.Config{Directory: w.Directory, Log: l, Claims: w.Store, Limits: w.Limits})
	request := self(w.Workload("ap-bot"))
	once := func(ctx context.Context) {
		if _, err := run(ctx, x, "acme", request); err != nil {
			b.Error(err)
		}
	}
	once(b.Context())                                 // the log begins, and what is remembered is
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the server sets it while its heap is small
	runtime.GC()
	servertest.ReportCPU(b, func() {
		var taken atomic.Int64
		var running sync.WaitGroup
		for range min(askers, b.N) {
			running.Go(func() {
				for taken.Add(1) <= int64(b.N) {
					once(b.Context())
				}
			})
		}
		running.Wait()
		if trees == nil {
			return
		}
		if _, err := trees.Head(b.Context(), audit.Origin{Tenant: w.ID("acme"), Issuer: issuer}); err != nil {
			b.Error(err)
		}
	})
}

// signing is a log as the server has it, on a store.
func signing(b *testing.B, w *servertest.World, s interface {
	audit.Store
	tree.Store
}) (*audit.Log, *tree.Trees) {
	quiet := slog.New(slog.DiscardHandler)
	trees := tree.New(tree.Config{Store: s, Master: w.Master, Anchors: tree.NoAnchors{}, Logger: quiet})
	l := audit.New(audit.Config{Store: s, Master: w.Master, Node: "r1", Deadline: time.Minute, Logger: quiet,
		Appended: trees.Appended, Gate: trees.Gate, Lost: trees.Doubt})
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			b.Error(err)
		}
		if err := trees.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	return l, trees
}

func position(b *testing.B, w *servertest.World) ledger.Position {
	p, err := w.Store.Position(b.Context(), w.ID("acme"))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// unrecorded forgets what it is told.
type unrecorded struct {
	exchange.Log // of which only Append is called
	at           ledger.Position
}

func (l unrecorded) Append(context.Context, audit.Origin, audit.Event, ...ledger.Claim) (ledger.Position, error) {
	p := l.at
	p.Time = time.Now()
	return p, nil
}

func (unrecorded) Refuse(audit.Origin, string, netip.Addr) {}

// inMemory is a store that keeps one log in memory.
type inMemory struct {
	mu      sync.Mutex
	at      ledger.Position // of the tenant but for its log
	rows    []ledger.Row
	entries []ledger.Entry
	head    ledger.Head
	tiles   map[ledger.TileID][]byte
}

func (s *inMemory) now() ledger.Position {
	p := s.at
	p.Index, p.Time = int64(len(s.entries)), time.Now()
	return p
}

func (s *inMemory) Commit(_ context.Context, _ ledger.Tenant, c ledger.Commit) (ledger.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.now()
	for _, entry := range c.Entries {
		s.entries = append(s.entries, ledger.Entry{Index: int64(len(s.entries)), Data: entry})
	}
	s.rows = append(s.rows, c.Change.Put...)
	return p, nil
}

func (s *inMemory) Rows(context.Context, ledger.Tenant, ...string) ([]ledger.Row, ledger.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows, s.now(), nil
}

func (s *inMemory) Events(_ context.Context, _ ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.entries[min(int(from), len(s.entries)):]
	return rest[:min(limit, len(rest))], nil
}

func (s *inMemory) Head(context.Context, ledger.Tenant) (ledger.Head, ledger.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.now(), nil
}

func (s *inMemory) Advance(_ context.Context, _ ledger.Tenant, step ledger.Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = step.To
	for _, tile := range step.Tiles {
		s.tiles[tile.TileID] = tile.Hashes
	}
	return nil
}

func (s *inMemory) Tiles(_ context.Context, _ ledger.Tenant, ids []ledger.TileID) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([][]byte, len(ids))
	for i, id := range ids {
		all[i] = s.tiles[id]
	}
	return all, nil
}
