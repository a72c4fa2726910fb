package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/backup"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// world is a tenant on a real store.
type world struct {
	t      *testing.T
	store  storage.Store
	log    *audit.Log
	trees  *tree.Trees
	origin audit.Origin
}

func eachStore(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { run(t, newWorld(t, file(t))) })
	t.Run("redis", func(t *testing.T) { run(t, newWorld(t, storagetest.Redis(t))) })
}

func file(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "bursar.db") }

func open(t *testing.T, url string) storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	w := &world{t: t, store: open(t, url),
		origin: audit.Origin{Tenant: ledger.NewTenant(), Issuer: "https://sts.example/t/acme"}}
	w.trees = tree.New(tree.Config{Store: w.store, Master: master, Anchors: tree.NoAnchors{}, Logger: quiet})
	w.log = audit.New(audit.Config{Store: w.store, Master: master, Logger: quiet, Deadline: time.Minute,
		Appended: w.trees.Appended})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.log.Close(ctx)
		_ = w.trees.Close(ctx)
	})
	return w
}

// grow records n events, with a row and a cutoff, and has them covered.
func (w *world) grow(n int) {
	w.t.Helper()
	for n > 0 {
		batch := make([]audit.Event, min(n, audit.MaxEvents))
		for i := range batch {
			batch[i] = audit.Event{Name: audit.TokenExchange, Txn: fmt.Sprint(i), Agent: "spiffe://acme.example/bot",
				Body: audit.Body{Outcome: audit.Allowed, ClientID: "bot"}}
		}
		p, err := w.store.Position(w.t.Context(), w.origin.Tenant)
		if err != nil {
			w.t.Fatal(err)
		}
		change := ledger.Change{Expect: p.Revision,
			Put: []ledger.Row{{Kind: "client", ID: fmt.Sprint(n), Value: []byte("{}")}},
			Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: fmt.Sprint(n)}, Keep: time.Hour, Disable: n%2 == 0}}}
		if p.Index == 0 { // whose keys come first
			change = ledger.Change{}
		}
		if _, err := w.log.Change(w.t.Context(), w.origin, change, batch...); err != nil {
			w.t.Fatal(err)
		}
		n -= len(batch)
	}
	if _, err := w.trees.Head(w.t.Context(), w.origin); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) header() backup.Header {
	return backup.Header{Slug: "acme", Issuer: w.origin.Issuer, Tenant: w.origin.Tenant, Version: "v1",
		Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Made: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
}

func (w *world) backup() []byte {
	w.t.Helper()
	var b bytes.Buffer
	if err := backup.Write(w.t.Context(), w.store, w.header(), &b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// load puts a backup into a store.
func load(t *testing.T, s storage.Store, text []byte) *backup.Reader {
	t.Helper()
	r, err := backup.Open(bytes.NewReader(text))
	if err == nil {
		err = s.Load(t.Context(), r.Tenant, r.Snapshot, r.Next)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// same fails the test unless two stores have the same of the tenant.
func (w *world) same(other storage.Store) {
	w.t.Helper()
	var all [2][]byte
	for i, s := range []storage.Store{w.store, other} {
		var b bytes.Buffer
		if err := backup.Write(w.t.Context(), s, w.header(), &b); err != nil {
			w.t.Fatal(err)
		}
		r, err := backup.Verify(bytes.NewReader(b.Bytes()))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Snapshot.Position.Time = time.Time{}
		all[i] = fmt.Appendf(nil, "%+v", r.Snapshot)
		entries, err := s.Events(w.t.Context(), w.origin.Tenant, 0, 1<<20)
		if err != nil {
			w.t.Fatal(err)
		}
		all[i] = fmt.Appendf(all[i], "%+v", entries)
	}
	if !bytes.Equal(all[0], all[1]) {
		w.t.Error("the two differ")
	}
}

func TestABackupIsTheTenant(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(1000)
		text := w.backup()
		r, err := backup.Verify(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if r.Header != w.header() {
			t.Errorf("it says of itself %+v", r.Header)
		}
		for name, url := range map[string]string{"embedded": file(t), "redis": storagetest.StartRedis(t).URL()} {
			t.Run("restored to "+name, func(t *testing.T) {
				other := open(t, url)
				load(t, other, text)
				w.same(other)
			})
		}
		if err := w.store.Prune(t.Context(), w.origin.Tenant, 512); err != nil {
			t.Fatal(err)
		}
		other := open(t, file(t))
		load(t, other, w.backup())
		w.same(other)
	})
}

// An empty tenant, and one without a head, are backed up too.
func TestABackupOfLittle(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		if r, err := backup.Verify(bytes.NewReader(w.backup())); err != nil || r.Snapshot.Position.Index != 0 {
			t.Errorf("nothing: %v", err)
		}
	})
}

// The tenant goes on while it is copied; the copy is of one moment.
func TestABackupIsOfOneMoment(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		var growing sync.WaitGroup
		stop := make(chan struct{})
		growing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.grow(40)
				}
			}
		})
		for range 10 {
			if _, err := backup.Verify(bytes.NewReader(w.backup())); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		growing.Wait()
	})
}

// pruning prunes the log after the snapshot was taken.
type pruning struct{ storage.Store }

func (p pruning) Snapshot(ctx context.Context, t ledger.Tenant) (ledger.Snapshot, error) {
	s, err := p.Store.Snapshot(ctx, t)
	return s, errors.Join(err, p.Prune(ctx, t, 512))
}

func TestALogThatIsPrunedMeanwhileMakesNoBackup(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.grow(600)
		var b bytes.Buffer
		if err := backup.Write(t.Context(), pruning{w.store}, w.header(), &b); err == nil {
			t.Error("it was made")
		}
		if _, err := backup.Verify(&b); !errors.Is(err, backup.ErrFormat) {
			t.Errorf("what there is of it: %v", err)
		}
	})
}

func TestABackupThatWasChangedIsRefused(t *testing.T) {
	w := newWorld(t, file(t))
	w.grow(300)
	text := w.backup()
	other := open(t, file(t))
	refused := func(what string, changed []byte) {
		t.Helper()
		if _, err := backup.Verify(bytes.NewReader(changed)); !errors.Is(err, backup.ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
		r, err := backup.Open(bytes.NewReader(changed))
		if err == nil {
			err = other.Load(t.Context(), r.Tenant, r.Snapshot, r.Next)
		}
		if err == nil {
			t.Errorf("%s: it was loaded", what)
		}
	}
	for at := 0; at < len(text); at += 1 + len(text)/300 {
		changed := bytes.Clone(text)
		changed[at] ^= 1
		refused(fmt.Sprintf("byte %d of %d", at, len(text)), changed)
		refused(fmt.Sprintf("cut at %d of %d", at, len(text)), text[:at])
	}
	refused("something after its end", slices.Concat(text, []byte("x")))
	refused("twice", slices.Concat(text, text))
	if p, err := other.Position(t.Context(), w.origin.Tenant); err != nil || p.Index != 0 || p.Revision != 0 {
		t.Errorf("the store has %+v of it, %v", p, err)
	}
}

// lying is a store that gives other entries than those that were signed.
type lying struct{ storage.Store }

func (l lying) Events(ctx context.Context, t ledger.Tenant, from int64, limit int) ([]ledger.Entry, error) {
	all, err := l.Store.Events(ctx, t, from, limit)
	if from == 0 && len(all) > 8 {
		all[7].Data, all[8].Data = all[8].Data, all[7].Data
	}
	return all, err
}

func TestABackupOfWhatWasNotSignedIsRefused(t *testing.T) {
	w := newWorld(t, file(t))
	w.grow(300)
	var b bytes.Buffer
	if err := backup.Write(t.Context(), lying{w.store}, w.header(), &b); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Verify(&b); !errors.Is(err, backup.ErrFormat) {
		t.Errorf("%v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("bursar backup v1\n"))
	f.Add([]byte("bursar backup v1\nA\x00\x00\x00\x02{}Z\x00\x00\x00\x00"))
	f.Add([]byte("bursar backup v1\nA\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := backup.Open(bytes.NewReader(text))
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF && !errors.Is(err, backup.ErrFormat) {
			t.Errorf("%v", err)
		}
	})
}
