package retain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/retain"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const (
	issuer = "https://sts.example/t/acme"
	place  = "sts.example/t/acme/log"
	keep   = 24 * time.Hour
)

// world is a log on a real store, and whoever prunes it.
type world struct {
	t       *testing.T
	store   storage.Store
	log     *audit.Log
	trees   *tree.Trees
	archive string
	origin  audit.Origin
	sinks   []string
	now     time.Time
}

func eachStore(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { run(t, newWorld(t, "bolt:"+filepath.Join(t.TempDir(), "bursar.db"))) })
	t.Run("redis", func(t *testing.T) { run(t, newWorld(t, storagetest.Redis(t))) })
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, archive: filepath.Join(t.TempDir(), "kept"), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		origin: audit.Origin{Tenant: ledger.NewTenant(), Issuer: issuer}}
	if w.store, err = storage.Open(t.Context(), storage.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	w.trees = tree.New(tree.Config{Store: w.store, Master: master, Anchors: tree.NoAnchors{}, Logger: quiet})
	w.log = audit.New(audit.Config{Store: w.store, Master: master, Logger: quiet, Deadline: time.Minute,
		Now: func() time.Time { return w.now }, Appended: w.trees.Appended, Gate: w.trees.Gate})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.log.Close(ctx)
		_ = w.trees.Close(ctx)
		_ = w.store.Close()
	})
	return w
}

// retainer returns another process's.
func (w *world) retainer(change ...func(*retain.Config)) *retain.Retainer {
	c := retain.Config{Store: w.store, Trees: w.trees, Keys: w.trees, Recorder: w.log, Archive: w.archive, Keep: keep,
		Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler),
		Logs: func(context.Context) ([]retain.Log, error) {
			return []retain.Log{{Origin: w.origin, Sinks: w.sinks}}, nil
		}}
	for _, f := range change {
		f(&c)
	}
	return retain.New(c)
}

// grow appends n events, and has them covered.
func (w *world) grow(n int) {
	w.t.Helper()
	for n > 0 {
		batch := make([]audit.Event, min(n, audit.MaxEvents))
		for i := range batch {
			batch[i] = audit.Event{Name: audit.TokenExchange, Txn: fmt.Sprint(i), Agent: "spiffe://acme.example/bot",
				Body: audit.Body{Outcome: audit.Allowed, ClientID: "bot"}}
		}
		if _, err := w.log.Change(w.t.Context(), w.origin, ledger.Change{}, batch...); err != nil {
			w.t.Fatal(err)
		}
		n -= len(batch)
	}
	w.head()
}

func (w *world) head() ledger.Head {
	w.t.Helper()
	h, err := w.trees.Head(w.t.Context(), w.origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) sweep(r *retain.Retainer) {
	w.t.Helper()
	if err := r.Sweep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// first fails the test unless the log begins with that entry, and no earlier one is left.
func (w *world) first(want int64) {
	w.t.Helper()
	entries, err := w.store.Events(w.t.Context(), w.origin.Tenant, 0, 1)
	if err != nil || len(entries) != 1 || entries[0].Index != want {
		w.t.Fatalf("of %d entries the first is not %d (%v)", len(entries), want, err)
	}
	if h := w.head(); h.First != want {
		w.t.Fatalf("the log begins with %d, want %d", h.First, want)
	}
}

func (w *world) vkeys() []string {
	w.t.Helper()
	all, err := w.trees.VerifierKey(w.t.Context(), w.origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// export is the log as it is exported.
func (w *world) export() *auditor.Reader {
	w.t.Helper()
	var b bytes.Buffer
	to, ctx, h := auditor.NewWriter(&b, false), w.t.Context(), w.head()
	add := func(name string, data []byte, err error) {
		w.t.Helper()
		if err == nil {
			err = to.Add(name, data)
		}
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
	}
	document, err := w.trees.Keys(ctx, w.origin)
	add(auditor.CheckpointFile, h.Note, nil)
	add(auditor.KeysFile, document, err)
	add(auditor.VKeyFile, []byte(strings.Join(w.vkeys(), "\n")), nil)
	for f := range auditor.Layout(h.First, h.Size) {
		if f.Level != auditor.Entries {
			data, err := w.trees.Tile(ctx, w.origin.Tenant, f.Level, f.Index, f.Width)
			add(f.Name, data, err)
			continue
		}
		var bundle []byte
		entries, err := w.trees.Entries(ctx, w.origin.Tenant, f.Index, f.Width)
		for _, entry := range entries {
			if err == nil {
				bundle, err = auditor.AppendEntry(bundle, entry)
			}
		}
		add(f.Name, bundle, err)
	}
	if err := to.Close(); err != nil {
		w.t.Fatal(err)
	}
	r, err := auditor.NewReader(&b)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// verified fails the test unless an export or an archive verifies, and is from one entry to another.
func (w *world) verified(from *auditor.Reader, first, size int64, old ...[]byte) {
	w.t.Helper()
	report, err := auditor.Verify(w.t.Context(), from, auditor.Options{Keys: w.vkeys(), Issuer: issuer, Old: old})
	if err != nil {
		w.t.Fatal(err)
	}
	if !report.Passed() || report.First != first || report.Size != size || report.Entries != size-first {
		w.t.Fatalf("want the entries from %d to %d; got %d from %d to %d, findings %+v", first, size, report.Entries,
			report.First, report.Size, report.Findings)
	}
}

func (w *world) archived(first, size int64) {
	w.t.Helper()
	r, err := auditor.OpenExport(filepath.Join(w.archive, filepath.FromSlash(place)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if len(r.Strays) > 0 {
		w.t.Errorf("there are other files, %q", r.Strays)
	}
	w.verified(r, first, size)
}

// tombstones returns the events audit.prune.
func (w *world) tombstones() (all []audit.Body) {
	w.t.Helper()
	records, err := w.log.Read(w.t.Context(), w.origin.Tenant, 0, audit.MaxPage)
	for len(records) > 0 && err == nil {
		for _, r := range records {
			name, body, err := r.Open()
			if err != nil {
				w.t.Fatal(err)
			}
			if name == audit.AuditPrune {
				all = append(all, body)
			}
		}
		records, err = w.log.Read(w.t.Context(), w.origin.Tenant, records[len(records)-1].Index+1, audit.MaxPage)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestWhatIsOldIsArchivedAndDropped(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.retainer()
		w.grow(1000)
		w.sweep(r)
		w.first(0)
		w.now = w.now.Add(keep + time.Second)
		w.grow(300)
		before := w.head()
		w.sweep(r)
		w.first(768) // the next bundle holds new entries too
		all := w.tombstones()
		checkpoint, err := os.ReadFile(filepath.Join(w.archive, place, "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 1 || all[0].Range != (audit.Range{Count: 768}) || all[0].Tree.Size != before.Size ||
			all[0].Archive != (audit.Archive{Name: place + "/checkpoint", Hash: audit.Digest(checkpoint)}) ||
			all[0].Operator.ID != "schedule" {
			t.Fatalf("recorded %+v", all)
		}
		w.archived(0, 768)
		w.verified(w.export(), 768, w.head().Size, before.Note)
		if _, _, err := w.trees.Inclusion(t.Context(), w.origin, 1000); err != nil {
			t.Error(err)
		}
		if _, _, err := w.trees.Inclusion(t.Context(), w.origin, 5); fault.As(err).Kind != fault.Gone {
			t.Errorf("the proof of what is gone: %v", err)
		}
		if _, err := w.trees.Entries(t.Context(), w.origin.Tenant, 2, 256); fault.As(err).Kind != fault.Gone {
			t.Errorf("the entries that are gone: %v", err)
		}

		w.sweep(w.retainer()) // another process finds nothing to do
		if n := len(w.tombstones()); n != 1 {
			t.Errorf("%d events tell of it", n)
		}
		w.now = w.now.Add(keep + time.Second)
		w.grow(600)
		w.sweep(w.retainer())
		w.first(1280)
		w.archived(0, 1280)
		w.verified(w.export(), 1280, w.head().Size, before.Note)
		if s := r.Stats(); s != (retain.Stats{Dropped: 768}) {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestWithoutAnArchiveItIsDroppedAllTheSame(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		w.now = w.now.Add(keep + time.Second)
		w.sweep(w.retainer(func(c *retain.Config) { c.Archive = "" }))
		w.first(512)
		if all := w.tombstones(); len(all) != 1 || all[0].Archive != (audit.Archive{}) {
			t.Errorf("recorded %+v", all)
		}
		w.verified(w.export(), 512, w.head().Size)
	})
}

func TestTheLastBundleStays(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(509) // and three that the log makes by itself
		if h := w.head(); h.Size != 512 {
			t.Fatalf("there are %d entries", h.Size)
		}
		w.now = w.now.Add(9 * keep)
		e := audit.Event{Name: audit.AuditPrune, Body: audit.Body{Outcome: audit.Allowed}}
		first, err := w.retainer().Prune(t.Context(), w.origin, 1<<60, w.now, e)
		if err != nil || first != 256 { // the event of it begins another bundle
			t.Fatalf("the first entry is %d, %v", first, err)
		}
		w.archived(0, 256)
	})
}

func TestForEver(t *testing.T) {
	w := newWorld(t, storagetest.Redis(t))
	w.grow(600)
	w.now = w.now.Add(1000 * keep)
	w.sweep(w.retainer(func(c *retain.Config) { c.Keep = 0 }))
	w.first(0)
}

// What a sink does not have is kept twice as long, and no longer.
func TestSinksAreWaitedFor(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.sinks = []string{"siem", "copy"}
		w.grow(1000)
		move := func(sink string, to int64) {
			t.Helper()
			s, err := w.store.TakeSink(t.Context(), w.origin.Tenant, sink, "me", time.Minute)
			if err == nil {
				err = w.store.MoveSink(t.Context(), w.origin.Tenant, sink, ledger.Move{Owner: "me", From: s.Next,
					To: ledger.Mark{Epoch: 1, Index: to}, For: time.Minute})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.now = w.now.Add(keep + time.Second)
		move("copy", 1000)
		w.sweep(w.retainer())
		w.first(0) // siem has nothing
		move("siem", 300)
		w.sweep(w.retainer())
		w.first(256)
		w.now = w.now.Add(keep)
		w.sweep(w.retainer())
		w.first(768)
	})
}

// broken is a store that cannot forget, or a log that cannot record.
type broken struct {
	storage.Store
	*audit.Log
}

var errBroken = errors.New("broken")

func (broken) Prune(context.Context, ledger.Tenant, int64) error { return errBroken }

func (broken) Change(context.Context, audit.Origin, ledger.Change, ...audit.Event) (ledger.Position, error) {
	return ledger.Position{}, errBroken
}

func TestNothingIsDroppedThatIsNotRecordedAndWhatFailsIsDoneLater(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		w.now = w.now.Add(keep + time.Second)
		b := broken{w.store, w.log}
		r := w.retainer(func(c *retain.Config) { c.Recorder = b })
		if err := r.Sweep(t.Context()); !errors.Is(err, errBroken) || r.Stats().Failed != 1 {
			t.Fatalf("the record failed: %v", err)
		}
		w.first(0)
		r = w.retainer(func(c *retain.Config) { c.Store = b })
		if err := r.Sweep(t.Context()); !errors.Is(err, errBroken) {
			t.Fatalf("the store failed: %v", err)
		}
		w.first(0)
		w.sweep(w.retainer())
		w.first(512)
		w.archived(0, 512)
		w.verified(w.export(), 512, w.head().Size)
	})
}

// Whoever meddles with the archive is noticed before anything is dropped.
func TestAnArchiveThatHoldsSomethingElse(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		w.now = w.now.Add(keep + time.Second)
		name := filepath.Join(w.archive, filepath.FromSlash(place), "tile/entries/001")
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.retainer().Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "something else") {
			t.Errorf("%v", err)
		}
		w.first(0)
		if n := len(w.tombstones()); n != 0 {
			t.Errorf("%d events tell of it", n)
		}
	})
}

// lying trees give other entries than those that were signed.
type lying struct{ *tree.Trees }

func (l lying) Entries(ctx context.Context, id ledger.Tenant, index int64, width int) ([][]byte, error) {
	all, err := l.Trees.Entries(ctx, id, index, width)
	if err == nil {
		all[7], all[8] = all[8], all[7]
	}
	return all, err
}

func TestWhatIsNotWhatWasSignedIsNotDropped(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		w.now = w.now.Add(keep + time.Second)
		r := w.retainer(func(c *retain.Config) { c.Trees = lying{w.trees} })
		if err := r.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "not what the log holds") {
			t.Errorf("%v", err)
		}
		w.first(0)
		if _, err := os.Stat(filepath.Join(w.archive, place, "checkpoint")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the archive has a checkpoint: %v", err)
		}
	})
}

func TestTheFilesOfAnArchiveAreOneOwners(t *testing.T) {
	w := newWorld(t, storagetest.Redis(t))
	w.grow(300)
	w.now = w.now.Add(keep + time.Second)
	w.sweep(w.retainer())
	var names []string
	err := filepath.WalkDir(w.archive, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		if !d.IsDir() {
			rest, _ := filepath.Rel(w.archive, path)
			names = append(names, strings.TrimPrefix(rest, place+"/"))
		}
		return err
	})
	want := []string{"checkpoint", "keys", "tile/0/000", "tile/1/000.p/1", "tile/entries/000", "vkey"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("the archive holds %q (%v), want %q", names, err, want)
	}
}

func TestSeveralProcessesPruneOneLog(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(2000)
		w.now = w.now.Add(keep + time.Second)
		done := make(chan error)
		for range 4 {
			go func() { done <- w.retainer().Sweep(t.Context()) }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		w.first(1792)
		w.archived(0, 1792)
		w.verified(w.export(), 1792, w.head().Size)
	})
}

func TestAnOperatorPrunes(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		start := w.now
		w.grow(600)
		w.now = w.now.Add(time.Hour)
		w.grow(600)
		r := w.retainer()
		e := audit.Event{Name: audit.AuditPrune, Body: audit.Body{Outcome: audit.Allowed,
			Operator: audit.Operator{ID: "alice", Role: "admin"}}}
		for _, row := range []struct {
			index  int64
			before time.Time
			want   int64
		}{
			{300, w.now, 256}, {300, w.now, 256}, {1 << 60, start.Add(time.Minute), 512},
			{1 << 60, w.now.Add(time.Second), 1024},
		} {
			first, err := r.Prune(t.Context(), w.origin, row.index, row.before, e)
			if err != nil || first != row.want {
				t.Fatalf("before %d and %s: %d, %v; want %d", row.index, row.before, first, err, row.want)
			}
			w.first(row.want)
		}
		w.archived(0, 1024)
		if all := w.tombstones(); len(all) != 3 || all[2].Operator.ID != "alice" ||
			all[2].Range != (audit.Range{First: 512, Count: 512}) {
			t.Errorf("recorded %+v", all)
		}
		other := audit.Origin{Tenant: w.origin.Tenant, Issuer: "https://sts.example/t/globex"}
		if _, err := r.Prune(t.Context(), other, 1, w.now, e); fault.As(err).Kind != fault.NotFound {
			t.Errorf("another log: %v", err)
		}
	})
}
