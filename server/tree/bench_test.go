package tree_test

import (
	"bufio"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// writers are how many append at once.
const writers = 64

// onStores runs a benchmark on each store, Redis with either way to sync its append-only file.
func onStores(b *testing.B, run func(b *testing.B, w *world)) {
	b.Run("embedded", func(b *testing.B) { run(b, newWorld(b, "bolt:"+filepath.Join(b.TempDir(), "bursar.db"))) })
	for _, fsync := range []string{"everysec", "always"} {
		b.Run("redis-"+fsync, func(b *testing.B) {
			run(b, newWorld(b, storagetest.StartRedis(b, "--appendfsync", fsync).URL()))
		})
	}
}

// timed is a process as a server runs it, that notes when heads come.
type timed struct {
	*process
	mu    sync.Mutex
	heads []moment
}

// moment is when something was true of so many entries.
type moment struct {
	size int64
	at   time.Time
}

func (w *world) timed() *timed {
	p, quiet := &timed{process: &process{w: w}}, slog.New(slog.DiscardHandler)
	p.trees = tree.New(tree.Config{Store: w.store, Master: w.master, Anchors: tree.NoAnchors{}, Logger: quiet,
		Moved: func(_ audit.Origin, h ledger.Head) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.heads = append(p.heads, moment{h.Size, time.Now()})
		}})
	p.log = audit.New(audit.Config{Store: w.store, Master: w.master, Deadline: time.Minute, Node: "r1", Logger: quiet,
		Appended: p.trees.Appended, Gate: p.trees.Gate, Lost: p.trees.Doubt})
	if _, err := p.log.Append(w.t.Context(), w.origin, servertest.Issued(0)); err != nil { // the log begins
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.stop)
	return p
}

// one appends an event that is due, now if that is zero. It returns how long that took from then on, and when it was
// answered.
func (p *timed) one(i int, due time.Time) (took time.Duration, answered moment) {
	time.Sleep(time.Until(due))
	if due.IsZero() {
		due = time.Now()
	}
	at, err := p.log.Append(p.w.t.Context(), p.w.origin, servertest.Issued(i))
	if err != nil {
		p.w.t.Error(err)
	}
	now := time.Now()
	return now.Sub(due), moment{at.Index + 1, now}
}

// covered returns how long each event waited, after its answer, for a head that covers it.
func (p *timed) covered(answers []moment) (waited []time.Duration) {
	slices.SortFunc(answers, func(x, y moment) int { return int(x.size - y.size) })
	for p.trees.Seen(p.w.origin.Tenant) < answers[len(answers)-1].size {
		time.Sleep(time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := 0
	for _, a := range answers {
		for p.heads[next].size < a.size {
			next++
		}
		waited = append(waited, max(p.heads[next].at.Sub(a.at), 0))
	}
	return waited
}

// report reports the median and the 99th percentile.
func report(b *testing.B, prefix string, took []time.Duration) {
	slices.Sort(took)
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", .5}, {"p99", .99}} {
		b.ReportMetric(float64(took[int(q.share*float64(len(took)-1))]), prefix+q.name+"-ns")
	}
}

// BenchmarkAppend tells how long it takes to append an event while 64 callers do so as fast as they can, and how long
// until a head covers it.
func BenchmarkAppend(b *testing.B) {
	appends(b, func(time.Time, int) time.Time { return time.Time{} })
}

// BenchmarkPaced tells the same of callers who append 1,000 events a second together. An event counts from when it is
// due, so that a store that stands still is charged for all who wait meanwhile.
func BenchmarkPaced(b *testing.B) {
	appends(b, func(began time.Time, i int) time.Time { return began.Add(time.Duration(i) * time.Millisecond) })
}

// appends measures b.N appends by 64 callers, each when it is due.
func appends(b *testing.B, due func(began time.Time, i int) time.Time) {
	onStores(b, func(b *testing.B, w *world) {
		p := w.timed()
		before := w.redisMemory()
		took, answers := make([]time.Duration, b.N), make([]moment, b.N)
		var taken atomic.Int64
		var running sync.WaitGroup
		b.ResetTimer()
		began := time.Now()
		for range min(writers, b.N) {
			running.Go(func() {
				for i := int(taken.Add(1)) - 1; i < b.N; i = int(taken.Add(1)) - 1 {
					took[i], answers[i] = p.one(i, due(began, i))
				}
			})
		}
		running.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		report(b, "", took)
		report(b, "head-", p.covered(answers))
		if before > 0 {
			b.ReportMetric(float64(w.redisMemory()-before)/float64(b.N), "memory-B/event")
		}
	})
}

// BenchmarkAlone tells how long it takes one caller to append an event, who has nobody beside it.
func BenchmarkAlone(b *testing.B) {
	onStores(b, func(b *testing.B, w *world) {
		p := w.timed()
		var took []time.Duration
		for i := range b.N {
			one, _ := p.one(i, time.Time{})
			took = append(took, one)
		}
		report(b, "", took)
	})
}

// BenchmarkCommit tells how long the store takes on its own: one caller, who commits bytes of the size of an event that
// nobody signed, one after the other.
func BenchmarkCommit(b *testing.B) {
	onStores(b, func(b *testing.B, w *world) {
		entry := make([]byte, sizeOfEvent(b))
		writer := ledger.NewID(time.Now())
		var took []time.Duration
		for i := range b.N {
			began := time.Now()
			if _, err := w.store.Commit(b.Context(), w.origin.Tenant,
				ledger.Commit{Writer: writer, First: int64(i) + 1, Entries: [][]byte{entry}}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		report(b, "", took)
	})
}

// BenchmarkSync tells how long the disk takes to make a page durable, which is at the end of a file that grows.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	var took []time.Duration
	for range b.N {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	report(b, "", took)
}

// BenchmarkLong makes a log of b.N events in the embedded store, and tells how fast, what it takes in the file and as
// an export, and what it costs to make and to check the proof of an event. BURSAR_BENCH_EXPORT names a file for the
// export; the log's key is beside it then, in a file that ends in .vkey.
func BenchmarkLong(b *testing.B) {
	w := newWorld(b, "bolt:"+filepath.Join(b.TempDir(), "bursar.db"))
	p := w.timed()
	began := time.Now()
	p.fill(b.N)
	head := p.head()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "events/s")
	file := os.Getenv("BURSAR_BENCH_EXPORT")
	if file == "" {
		file = filepath.Join(b.TempDir(), "log.tar")
	}
	began = time.Now()
	size := p.save(file)
	b.ReportMetric(time.Since(began).Seconds(), "export-s")
	b.ReportMetric(float64(size)/float64(head.Size), "export-B/event")
	info, err := os.Stat(strings.TrimPrefix(w.url, "bolt:"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(head.Size), "file-B/event")
	p.prove(b, head)
}

// together is how many changes of many events are under way, so that the next one is encoded while one is written.
const together = 3

// fill appends n events, many to a commit.
func (p *timed) fill(n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var running sync.WaitGroup
	for range together {
		running.Go(func() {
			for rest := left.Add(-audit.MaxEvents); rest > -audit.MaxEvents; rest = left.Add(-audit.MaxEvents) {
				events := make([]audit.Event, min(audit.MaxEvents, audit.MaxEvents+rest))
				for i := range events {
					events[i] = servertest.Issued(int(rest) + i + audit.MaxEvents)
				}
				if _, err := p.log.Change(p.w.t.Context(), p.w.origin, ledger.Change{}, events...); err != nil {
					p.w.t.Error(err)
					return
				}
				if rest/audit.MaxEvents%16 == 0 { // the log is not written on while too much of it is uncovered
					p.head()
				}
			}
		})
	}
	running.Wait()
}

// save writes the export and the key, and returns the size of the former.
func (p *timed) save(file string) int64 {
	f, err := os.Create(file)
	if err != nil {
		p.w.t.Fatal(err)
	}
	to := bufio.NewWriterSize(f, 1<<20)
	p.exportTo(to)
	if err := to.Flush(); err != nil {
		p.w.t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		p.w.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		p.w.t.Fatal(err)
	}
	if err := os.WriteFile(file+".vkey", []byte(strings.Join(p.vkeys(), "\n")), 0o600); err != nil {
		p.w.t.Fatal(err)
	}
	return info.Size()
}

// proofs are how many events are proved, anywhere in the log.
const proofs = 1000

// prove makes proofs as the server serves them, and checks them as a client does.
func (p *timed) prove(b *testing.B, head ledger.Head) {
	var entries []ledger.Entry
	for range proofs {
		found, err := p.w.store.Events(b.Context(), p.w.origin.Tenant, rand.Int64N(head.Size), 1)
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, found...)
	}
	texts := make([][]byte, proofs)
	making := servertest.CPU(b, func() {
		for i, e := range entries {
			hashes, h, err := p.trees.Inclusion(b.Context(), p.w.origin, e.Index)
			if err != nil {
				b.Fatal(err)
			}
			texts[i] = auditor.Proof{Index: e.Index, Hashes: hashes, Checkpoint: h.Note}.Format()
		}
	})
	vkeys := p.vkeys()
	checking := servertest.CPU(b, func() {
		for i, text := range texts {
			proof, err := auditor.ParseProof(text)
			if err == nil {
				_, err = proof.Verify(entries[i].Data, vkeys...)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(making)/proofs, "prove-cpu-ns")
	b.ReportMetric(float64(checking)/proofs, "check-cpu-ns")
	b.ReportMetric(float64(len(texts[0])), "proof-B")
}

// sizeOfEvent is that of the event that all of these benchmarks append, as it is stored.
func sizeOfEvent(b *testing.B) int {
	w := newWorld(b, "bolt:"+filepath.Join(b.TempDir(), "one.db"))
	p := w.timed()
	_, last := p.one(1, time.Time{})
	entries, err := w.store.Events(context.Background(), w.origin.Tenant, last.size-1, 1)
	if err != nil {
		b.Fatal(err)
	}
	return len(entries[0].Data)
}

var usedMemory = regexp.MustCompile(`(?m)^used_memory:(\d+)`)

// redisMemory returns what Redis has in use, in bytes; 0 if the store is another one.
func (w *world) redisMemory() int64 {
	options, err := goredis.ParseURL(w.url)
	if err != nil {
		return 0
	}
	client := goredis.NewClient(options)
	defer func() { _ = client.Close() }()
	info, err := client.Info(context.Background(), "memory").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	used, err := strconv.ParseInt(usedMemory.FindStringSubmatch(info)[1], 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return used
}
