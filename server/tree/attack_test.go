package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tree"
)

// Where the attacks strike: amid the first bundle, and amid the last.
const (
	early = 100
	late  = 600
)

// edited returns an entry with another byte in its claims, and its signature as it was.
func edited(entry []byte) []byte {
	entry = bytes.Clone(entry)
	at := bytes.IndexByte(entry, '.') + 40
	if entry[at] = 'A'; entry[at+1] == 'A' {
		entry[at] = 'B'
	}
	entry[at+1]++
	return entry
}

// forged returns an event like an entry, signed with a key of the attacker's own.
func forged(t *testing.T, entry []byte) []byte {
	t.Helper()
	master, err := keys.FileMaster(keys.NewMasterFile())
	if err != nil {
		t.Fatal(err)
	}
	rows, err := keys.CreateLog(master, "thief", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenLog(master, "thief", rows)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := audit.Claims(entry)
	if err != nil {
		t.Fatal(err)
	}
	set, err := ring.Events().Sign("secevent+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(set)
}

// foreign returns a genuine event of another tenant of the same store.
func foreign(t *testing.T, w *world) []byte {
	t.Helper()
	other := *w
	other.origin = audit.Origin{Tenant: ledger.NewTenant(), Issuer: "https://sts.example/t/globex"}
	p := other.start()
	p.append(3)
	p.stop()
	entries, err := w.store.Events(t.Context(), other.origin.Tenant, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	return entries[2].Data
}

// attack is what is done to a stored log whose head is signed.
type attack struct {
	name  string
	do    func(t *testing.T, w *world, entries [][]byte) [][]byte
	kind  auditor.Kind
	index int64
	code  auditor.Code // if it says more than the kind
}

var attacks = []attack{
	{name: "nothing", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte { return e }},
	{name: "one byte edited", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		e[early] = edited(e[early])
		return e
	}, kind: auditor.Edited, index: early},
	{name: "one byte edited, late", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		e[late] = edited(e[late])
		return e
	}, kind: auditor.Edited, index: late},
	{name: "one event deleted", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		return slices.Delete(e, early, early+1)
	}, kind: auditor.Deleted, index: early},
	{name: "two swapped", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		e[early], e[late] = e[late], e[early]
		return e
	}, kind: auditor.Reordered, index: early},
	{name: "the tail truncated", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		return e[:late]
	}, kind: auditor.Truncated, index: late},
	{name: "an event inserted again", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
		return slices.Insert(e, early, e[20])
	}, kind: auditor.Replayed, index: early},
	{name: "an event signed with another key", do: func(t *testing.T, _ *world, e [][]byte) [][]byte {
		e[early] = forged(t, e[early])
		return e
	}, kind: auditor.Edited, index: early, code: auditor.ForgedEvent},
	{name: "an event of another tenant inserted", do: func(t *testing.T, w *world, e [][]byte) [][]byte {
		return slices.Insert(e, early, foreign(t, w))
	}, kind: auditor.WrongTenant, index: early},
}

// Whoever changes a stored log whose head is signed is found out, with the kind of the change and its place.
func TestAStoredLogThatWasChanged(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				p, other := w.start(), w.start()
				for range 14 { // two writers
					p.append(25)
					other.append(25)
				}
				head, vkeys := p.head(), p.vkeys()
				p.stop()
				other.stop()
				w.rewrite(func(entries [][]byte) [][]byte { return a.do(t, w, entries) })
				next := w.start()
				r := w.verify(next.export(), vkeys, head.Note)
				if a.kind == "" {
					if !r.Passed() {
						t.Errorf("untouched: %+v", r.Findings)
					}
					return
				}
				found := r.FirstError()
				if r.Passed() || found == nil || found.Kind != a.kind || found.Index != a.index ||
					a.code != "" && found.Code != a.code {
					t.Errorf("want %s at %d; got %+v", a.kind, a.index, r.Findings)
				}
			})
		})
	}
}

// What is changed before a head covers it is found by its signature and its writer's numbers alone.
func TestALogThatWasChangedBeforeItsHead(t *testing.T) {
	for _, a := range []attack{
		{name: "an event signed with another key", do: func(t *testing.T, _ *world, e [][]byte) [][]byte {
			e[early] = forged(t, e[early])
			return e
		}, kind: auditor.Forged, index: early},
		{name: "one event deleted", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
			return slices.Delete(e, early, early+1)
		}, kind: auditor.Deleted, index: early},
		{name: "an event inserted again", do: func(_ *testing.T, _ *world, e [][]byte) [][]byte {
			return slices.Insert(e, early, e[20])
		}, kind: auditor.Replayed, index: early},
		{name: "an event of another tenant inserted", do: func(t *testing.T, w *world, e [][]byte) [][]byte {
			return slices.Insert(e, early, foreign(t, w))
		}, kind: auditor.WrongTenant, index: early},
	} {
		t.Run(a.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				p := w.startOn(&stubborn{Store: w.store, broken: true}, w.anchors)
				p.append(200)
				p.kill()
				w.rewrite(func(entries [][]byte) [][]byte { return a.do(t, w, entries) })
				next := w.start()
				r := w.verify(next.export(), next.vkeys())
				if found := r.FirstError(); found == nil || found.Kind != a.kind || found.Index != a.index {
					t.Errorf("want %s at %d; got %+v", a.kind, a.index, r.Findings)
				}
			})
		})
	}
}

// setTree makes the tree of entries the stored one, with the note of a head that is of another.
func (w *world) setTree(h ledger.Head, entries [][]byte) {
	w.t.Helper()
	var edge auditor.Edge
	var tiles []auditor.HashTile
	for _, entry := range entries {
		tiles = append(tiles, edge.Append(tlog.RecordHash(entry))...)
	}
	tiles = append(tiles, edge.Partial()...)
	h.Size, h.Root = edge.Size(), edge.Root()
	old, at, err := w.store.Head(w.t.Context(), w.origin.Tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	step := ledger.Step{From: old, To: h, Revision: at.Revision}
	for _, tile := range tiles {
		var b []byte
		for _, hash := range tile.Hashes {
			b = append(b, hash[:]...)
		}
		step.Tiles = append(step.Tiles, ledger.Tile{TileID: ledger.TileID{Level: tile.Level, Index: tile.Index}, Hashes: b})
	}
	if err := w.store.Advance(w.t.Context(), w.origin.Tenant, step); err != nil {
		w.t.Fatal(err)
	}
}

// Whoever rewrites the store as a whole, tiles and head too, does not get us to sign it: a head is believed by its
// signature.
func TestAHeadThatNobodySignedIsNotGoneOnFrom(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(300)
		head := p.head()
		p.stop()
		w.rewrite(func(entries [][]byte) [][]byte {
			entries[early] = forged(t, entries[early])
			return entries
		})
		entries, err := w.store.Events(t.Context(), w.origin.Tenant, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var all [][]byte
		for _, e := range entries {
			all = append(all, e.Data)
		}
		w.setTree(head, all)
		fresh := w.startOn(w.store, tree.NoAnchors{})
		if err := fresh.try(); !errors.Is(err, fault.ErrUnavailable) || !strings.Contains(err.Error(), "not signed") {
			t.Errorf("without an anchor: %v", err)
		}
		anchored := w.start()
		if err := anchored.try(); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("with an anchor: %v", err)
		}
	})
}

// The log's keys are not replaced by others.
func TestKeysOfAnotherLogOpenNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(5)
		p.head()
		p.stop()
		other := *w
		other.origin = audit.Origin{Tenant: ledger.NewTenant(), Issuer: "https://sts.example/t/globex"}
		q := other.start()
		q.append(5)
		q.stop()
		rows, _, err := w.store.Rows(t.Context(), other.origin.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		own, at, err := w.store.Rows(t.Context(), w.origin.Tenant)
		if err != nil {
			t.Fatal(err)
		}
		change := ledger.Change{Expect: at.Revision, Put: rows}
		for _, row := range own {
			change.Delete = append(change.Delete, ledger.Key{Kind: row.Kind, ID: row.ID})
		}
		if _, err := w.store.Commit(t.Context(), w.origin.Tenant, ledger.Commit{Writer: "thief", First: 1,
			Entries: [][]byte{[]byte("x")}, Change: change}); err != nil {
			t.Fatal(err)
		}
		next := w.start()
		if err := next.try(); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("with another tenant's keys: %v", err)
		}
	})
}

// An old state of the store, however genuine, is noticed: by who runs, and by who starts with an anchor. Nothing is
// issued until an operator accepts the loss; revocations are made.
func TestAnOldSnapshotIsRestored(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.start()
		p.append(300)
		p.head()
		p.stop()
		restore := w.snapshot()
		p = w.start()
		p.append(50)
		newest := p.head()
		p.stop()
		restore()

		next := w.start()
		err := next.try()
		if !errors.Is(err, fault.ErrUnavailable) || !strings.Contains(err.Error(), "rolled back") {
			t.Fatalf("with an anchor: %v", err)
		}
		if s := next.trees.Stats(); s.Halted != 1 {
			t.Errorf("%+v", s)
		}
		_, err = next.log.Change(t.Context(), w.origin,
			ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "run", ID: "r"}, Keep: time.Hour}}},
			audit.Event{Name: audit.CutoffSet, Body: audit.Body{Outcome: audit.Allowed}})
		if err != nil {
			t.Errorf("a revocation: %v", err)
		}
		r := w.verify(next.export(), next.vkeys(), newest.Note)
		if f := r.FirstError(); f == nil || f.Kind != auditor.RolledBack {
			t.Errorf("want rolled-back; got %+v", r.Findings)
		}
		if r := w.verify(next.export(), next.vkeys()); !r.Passed() {
			t.Errorf("nobody can see it without an older checkpoint; got %+v", r.Findings)
		}
		// Whoever has no anchor goes on, and signs another history: to be seen by who kept a checkpoint.
		blind := w.startOn(w.store, tree.NoAnchors{})
		blind.append(80)
		r = w.verify(blind.export(), blind.vkeys(), newest.Note)
		if f := r.FirstError(); f == nil || f.Kind != auditor.Forked && f.Kind != auditor.RolledBack {
			t.Errorf("want a fork; got %+v", r.Findings)
		}
	})
}

// A process whose own events are others in the store than it recorded does not go on.
func TestOurEventsAreWatchedUntilTheyAreSigned(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		slow := &stubborn{Store: w.store, broken: true}
		p := w.startOn(slow, tree.NoAnchors{})
		p.append(20)
		entries, err := w.store.Events(t.Context(), w.origin.Tenant, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(w.url, "bolt:") {
			return // nobody else has the file open while we run
		}
		changed := edited(entries[10].Data)
		w.meddle(func(*bbolt.Bucket) error { return nil }, func(r *goredis.Client, prefix string) error {
			r.Del(t.Context(), prefix+"aud:ev")
			for i, e := range entries {
				data := e.Data
				if i == 10 {
					data = changed
				}
				r.XAdd(t.Context(), &goredis.XAddArgs{Stream: prefix + "aud:ev",
					ID: fmt.Sprintf("%d-0", e.Index+1), Values: []any{"s", data}})
			}
			return nil
		})
		q := w.startOn(w.store, tree.NoAnchors{}) // signs what it finds
		q.head()
		slow.set(false)
		if _, err := p.trees.Latest(t.Context(), w.origin); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("its events were changed, and it says: %v", err)
		}
		if err := p.try(); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("it goes on: %v", err)
		}
	})
}
