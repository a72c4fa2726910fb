package tree_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tree"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const issuer = "https://sts.example/t/acme"

// world is a store, and the processes that work on it.
type world struct {
	t       testing.TB
	url     string
	store   storage.Store
	master  keys.Master
	anchors tree.Folder
	origin  audit.Origin
}

// process is what one process has of its own.
type process struct {
	w     *world
	log   *audit.Log
	trees *tree.Trees
	said  *bytes.Buffer
}

// eachStore runs a test on either store.
func eachStore(t *testing.T, run func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { run(t, newWorld(t, "bolt:"+filepath.Join(t.TempDir(), "bursar.db"))) })
	t.Run("redis", func(t *testing.T) { run(t, newWorld(t, storagetest.Redis(t))) })
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, url: url, master: master, anchors: tree.Folder(t.TempDir()),
		origin: audit.Origin{Tenant: ledger.NewTenant(), Issuer: issuer}}
	w.open()
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.store, err = storage.Open(w.t.Context(), storage.Config{URL: w.url}); err != nil {
		w.t.Fatal(err)
	}
}

// start starts a process.
func (w *world) start() *process { return w.startOn(w.store, w.anchors) }

func (w *world) startOn(s storage.Store, anchors tree.Anchors) *process {
	p := &process{w: w, said: new(bytes.Buffer)}
	logger := slog.New(slog.NewTextHandler(p.said, nil))
	p.trees = tree.New(tree.Config{Store: s, Master: w.master, Anchors: anchors, Interval: time.Millisecond,
		Logger: logger, Accepted: func(t ledger.Tenant) { p.log.Thaw(t) }})
	p.log = audit.New(audit.Config{Store: s, Master: w.master, Deadline: time.Minute, Node: "r1", Logger: logger,
		Appended: p.trees.Appended, Gate: p.trees.Gate, Lost: p.trees.Doubt})
	w.t.Cleanup(p.kill)
	return p
}

// stop ends the process in good order.
func (p *process) stop() {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.log.Close(ctx); err != nil {
		p.w.t.Error(err)
	}
	if err := p.trees.Close(ctx); err != nil {
		p.w.t.Error(err)
	}
}

// kill ends it without any order; what was on its way is lost.
func (p *process) kill() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.log.Close(ctx)
	_ = p.trees.Close(ctx)
}

func event(i int) audit.Event {
	return audit.Event{Name: audit.TokenExchange, Txn: fmt.Sprintf("run-%d", i), Agent: "spiffe://acme.example/ap-bot",
		Body: audit.Body{Outcome: audit.Allowed, ClientID: "ap-bot", Token: audit.Token{JTI: fmt.Sprintf("t%d", i)}}}
}

// append records n events, in as few commits as possible.
func (p *process) append(n int) {
	p.w.t.Helper()
	for n > 0 {
		var batch []audit.Event
		for len(batch) < min(n, audit.MaxEvents) {
			batch = append(batch, event(len(batch)))
		}
		if _, err := p.log.Change(p.w.t.Context(), p.w.origin, ledger.Change{}, batch...); err != nil {
			p.w.t.Fatal(err)
		}
		n -= len(batch)
	}
}

func (p *process) try() error {
	_, err := p.log.Append(p.w.t.Context(), p.w.origin, event(0))
	return err
}

func (p *process) head() ledger.Head {
	p.w.t.Helper()
	h, err := p.trees.Head(p.w.t.Context(), p.w.origin)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return h
}

// export writes the log as a caller of the server would.
func (p *process) export() []byte {
	p.w.t.Helper()
	var b bytes.Buffer
	p.exportTo(&b)
	return b.Bytes()
}

func (p *process) exportTo(to io.Writer) {
	p.w.t.Helper()
	w, ctx := auditor.NewWriter(to, false), p.w.t.Context()
	add := func(name string, data []byte, err error) {
		p.w.t.Helper()
		if err == nil {
			err = w.Add(name, data)
		}
		if err != nil {
			p.w.t.Fatalf("%s: %v", name, err)
		}
	}
	h, err := p.trees.Head(ctx, p.w.origin)
	add(auditor.CheckpointFile, h.Note, err)
	document, err := p.trees.Keys(ctx, p.w.origin)
	add(auditor.KeysFile, document, err)
	add(auditor.VKeyFile, []byte(strings.Join(p.vkeys(), "\n")+"\n"), nil)
	for f := range auditor.Layout(h.First, h.Size) {
		if f.Level == auditor.Entries {
			entries, err := p.trees.Entries(ctx, p.w.origin.Tenant, f.Index, f.Width)
			var bundle []byte
			for _, entry := range entries {
				if err == nil {
					bundle, err = auditor.AppendEntry(bundle, entry)
				}
			}
			add(f.Name, bundle, err)
			continue
		}
		hashes, err := p.trees.Tile(ctx, p.w.origin.Tenant, f.Level, f.Index, f.Width)
		add(f.Name, hashes, err)
	}
	if err := w.Close(); err != nil {
		p.w.t.Fatal(err)
	}
}

func (p *process) vkeys() []string {
	p.w.t.Helper()
	all, err := p.trees.VerifierKey(p.w.t.Context(), p.w.origin)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return all
}

func (w *world) verify(export []byte, vkeys []string, old ...[]byte) *auditor.Report {
	w.t.Helper()
	from, err := auditor.NewReader(bytes.NewReader(export))
	if err != nil {
		w.t.Fatal(err)
	}
	report, err := auditor.Verify(w.t.Context(), from, auditor.Options{Keys: vkeys, Issuer: issuer, Old: old})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// passes checks that the log verifies, and was so long.
func (p *process) passes(size int64, old ...[]byte) {
	p.w.t.Helper()
	r := p.w.verify(p.export(), p.vkeys(), old...)
	if !r.Passed() || r.Size != size || r.Entries != size-r.First {
		p.w.t.Errorf("want a log of %d entries that verifies; got %d of %d, findings %+v",
			size, r.Entries, r.Size, r.Findings)
	}
}

// rewrite changes what the store holds as the log, behind the back of every process.
func (w *world) rewrite(change func(entries [][]byte) [][]byte) {
	w.t.Helper()
	ctx, id := w.t.Context(), w.origin.Tenant
	entries, err := w.store.Events(ctx, id, 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	var all [][]byte
	for _, e := range entries {
		all = append(all, e.Data)
	}
	all = change(all)
	w.meddle(func(root *bbolt.Bucket) error {
		if err := root.DeleteBucket([]byte("ev")); err != nil {
			return err
		}
		b, err := root.CreateBucket([]byte("ev"))
		for i, entry := range all {
			if err == nil {
				err = b.Put(be64(int64(i)), entry)
			}
		}
		if err == nil {
			head := bytes.Clone(root.Get([]byte("head")))
			copy(head, be64(int64(len(all))))
			err = root.Put([]byte("head"), head)
		}
		return err
	}, func(r *goredis.Client, prefix string) error {
		r.Del(ctx, prefix+"aud:ev")
		for i, entry := range all {
			r.XAdd(ctx, &goredis.XAddArgs{Stream: prefix + "aud:ev", ID: fmt.Sprintf("%d-0", i+1), Values: []any{"s", entry}})
		}
		return r.HSet(ctx, prefix+"aud:log", "n", len(all)).Err()
	})
}

// meddle changes the store itself: the tenant's bucket of the file, or the keys of Redis with the tenant's prefix.
func (w *world) meddle(file func(*bbolt.Bucket) error, redis func(r *goredis.Client, prefix string) error) {
	w.t.Helper()
	path, embedded := strings.CutPrefix(w.url, "bolt:")
	if !embedded {
		options, err := goredis.ParseURL(w.url)
		if err != nil {
			w.t.Fatal(err)
		}
		r := goredis.NewClient(options)
		defer func() { _ = r.Close() }()
		if err := redis(r, "{"+string(w.origin.Tenant)+"}:"); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	defer w.open()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.Update(func(tx *bbolt.Tx) error {
		return file(tx.Bucket([]byte("tenant")).Bucket([]byte(w.origin.Tenant)))
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// snapshot keeps what the store has of the tenant, and returns what puts it back.
func (w *world) snapshot() (restore func()) {
	w.t.Helper()
	ctx := w.t.Context()
	rows := map[string]map[string][]byte{} // by bucket; "" is the tenant's own
	dumps := map[string]string{}
	w.meddle(func(root *bbolt.Bucket) error {
		rows[""] = map[string][]byte{}
		return root.ForEach(func(name, value []byte) error {
			if value != nil {
				rows[""][string(name)] = bytes.Clone(value)
				return nil
			}
			rows[string(name)] = map[string][]byte{}
			return root.Bucket(name).ForEach(func(k, v []byte) error {
				rows[string(name)][string(k)] = bytes.Clone(v)
				return nil
			})
		})
	}, func(r *goredis.Client, prefix string) error {
		names, err := r.Keys(ctx, prefix+"*").Result()
		for _, name := range names {
			dumps[name] = r.Dump(ctx, name).Val()
		}
		return err
	})
	return func() {
		w.meddle(func(root *bbolt.Bucket) error {
			for name, all := range rows {
				b := root
				if name != "" {
					if err := root.DeleteBucket([]byte(name)); err != nil {
						return err
					}
					var err error
					if b, err = root.CreateBucket([]byte(name)); err != nil {
						return err
					}
				} else if err := root.Delete([]byte("tree")); err != nil {
					return err
				}
				for k, v := range all {
					if err := b.Put([]byte(k), v); err != nil {
						return err
					}
				}
			}
			return nil
		}, func(r *goredis.Client, prefix string) error {
			names, err := r.Keys(ctx, prefix+"*").Result()
			if err != nil {
				return err
			}
			r.Del(ctx, names...)
			for name, dump := range dumps {
				if err := r.Restore(ctx, name, 0, dump).Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func be64(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
