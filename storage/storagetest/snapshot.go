package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// filled is a writer of a tenant with something of everything. Its log begins with entry 256.
func filled(t *testing.T, s storage.Store) *writer {
	w := newWriter(t, s)
	w.put("client", "a", "1")
	w.put("tool", "a/b", "\x00\xff\n")
	w.do(ledger.Change{Expect: w.position().Revision, Delete: []ledger.Key{{Kind: "client", ID: "a"}},
		Put: []ledger.Row{row("client", "b", "2")}})
	w.do(cutOf("a", time.Hour, false))
	w.do(cutOf("b:c", 0, true))
	w.do(cutOf("over", 0, false))
	w.other().append("x", "y")
	var entries []string
	for i := range 256 {
		entries = append(entries, fmt.Sprint("entry ", i))
	}
	w.append(entries...)
	w.append("last", "but one")
	head := grown(ledger.Head{}, w.position().Index-1, 1)
	head.Witnessed = []byte("seen")
	equal(t, w.advance(ledger.Head{}, head, tilesOf(head.Size)...), nil)
	equal(t, s.Prune(context.Background(), w.tenant, 256), nil)
	return w
}

func tilesOf(size int64) []ledger.Tile {
	return []ledger.Tile{{TileID: ledger.TileID{Index: 0}, Hashes: make([]byte, 256*32)},
		{TileID: ledger.TileID{Index: 1}, Hashes: slices.Repeat([]byte{7}, int(size-256)*32)},
		{TileID: ledger.TileID{Level: 1}, Hashes: slices.Repeat([]byte{9}, 32)}}
}

func (w *writer) snapshot() ledger.Snapshot {
	w.t.Helper()
	return must(w.store.Snapshot(context.Background(), w.tenant))(w.t)
}

// parts are those of the tenant, in pieces of at most n entries, and then err.
func (w *writer) parts(s ledger.Snapshot, n int, err error) func() (ledger.Part, error) {
	w.t.Helper()
	ctx := context.Background()
	var all []ledger.Part
	ids := []ledger.TileID{{Index: 1}, {Level: 1}}
	for i, hashes := range must(w.store.Tiles(ctx, w.tenant, ids))(w.t) {
		if hashes != nil {
			all = append(all, ledger.Part{Tiles: []ledger.Tile{{TileID: ids[i], Hashes: hashes}}})
		}
	}
	for from := s.Head.First; from < s.Position.Index; {
		var part ledger.Part
		for _, e := range must(w.store.Events(ctx, w.tenant, from, min(n, int(s.Position.Index-from))))(w.t) {
			part.Entries = append(part.Entries, e.Data)
		}
		from += int64(len(part.Entries))
		all = append(all, part)
	}
	return func() (ledger.Part, error) {
		if len(all) == 0 {
			return ledger.Part{}, err
		}
		part := all[0]
		all = all[1:]
		return part, nil
	}
}

// timeless is a snapshot without what differs between two readings.
func timeless(s ledger.Snapshot) ledger.Snapshot {
	s.Position.Time = time.Time{}
	return s
}

func testLoad(t *testing.T, s storage.Store) {
	ctx := context.Background()
	from := filled(t, s)
	snap := from.snapshot()
	equal(t, len(snap.Rows), 2)
	equal(t, len(snap.Cutoffs), 3)
	equal(t, len(snap.Writers), 2)
	equal(t, snap.Head.First, int64(256))
	to := newWriter(t, s)
	to.id, to.next = from.id, from.next
	equal(t, s.Load(ctx, to.tenant, snap, from.parts(snap, 3, io.EOF)), nil)
	equal(t, timeless(to.snapshot()), timeless(snap))
	equal(t, to.rows(), from.rows())
	equal(t, to.events(0, 1000), from.events(0, 1000))
	equal(t, to.head(), from.head())
	ids := []ledger.TileID{{Index: 0}, {Index: 1}, {Level: 1}}
	equal(t, must(to.tilesOf(ids))(t), must(from.tilesOf(ids))(t))
	mine, _ := to.cutoffs(0)
	theirs, _ := from.cutoffs(0)
	equal(t, mine, theirs)

	// It goes on: the writer, the numbers of cutoffs and of revisions, and the tree.
	again := to.commit(ledger.Change{}, "last", "but one")
	again.First -= 2
	equal(t, must(s.Commit(ctx, to.tenant, again))(t).Index, snap.Position.Index-2)
	p := to.do(cutOf("a", time.Hour, true))
	equal(t, [2]int64{p.Index, p.Cutoffs}, [2]int64{snap.Position.Index, snap.Position.Cutoffs + 1})
	equal(t, to.put("client", "b", "3").Revision, snap.Position.Revision+1)
	if p.Time.Before(snap.Position.Time) {
		t.Errorf("%s is before %s", p.Time, snap.Position.Time)
	}
	next := grown(to.head(), snap.Position.Index, 2)
	next.Witnessed = nil
	equal(t, to.advance(to.head(), next), nil)
	equal(t, timeless(from.snapshot()), timeless(snap)) // and is another one

	empty := newWriter(t, s)
	none := empty.snapshot()
	equal(t, timeless(none), ledger.Snapshot{})
	fresh := newWriter(t, s)
	equal(t, s.Load(ctx, fresh.tenant, none, fresh.parts(none, 1, io.EOF)), nil)
	equal(t, fresh.append("first").Index, int64(0))
}

func testLoadOver(t *testing.T, s storage.Store) {
	ctx := context.Background()
	from := filled(t, s)
	snap := from.snapshot()
	over := newWriter(t, s)
	over.put("other", "x", "1")
	over.put("client", "z", "1")
	over.do(cutOf("z", time.Hour, true))
	over.append("1", "2", "3")
	equal(t, over.advance(ledger.Head{}, grown(ledger.Head{}, 2, 5), tilesOf(300)...), nil)
	sink := must(s.TakeSink(ctx, over.tenant, "siem", "me", time.Minute))(t)
	equal(t, s.MoveSink(ctx, over.tenant, "siem", ledger.Move{Owner: "me", From: sink.Next,
		To: ledger.Mark{Epoch: 1, Index: 2}, For: time.Minute}), nil)
	before, events := over.snapshot(), over.events(0, 10)

	broken := errors.New("broken")
	short := snap
	short.Position.Index++
	is(t, s.Load(ctx, over.tenant, snap, from.parts(snap, 100, broken)), broken)
	if err := s.Load(ctx, over.tenant, short, from.parts(snap, 100, io.EOF)); err == nil {
		t.Error("a log that lacks entries was loaded")
	}
	equal(t, timeless(over.snapshot()), timeless(before))
	equal(t, over.events(0, 10), events)

	over.id, over.next = from.id, from.next
	equal(t, s.Load(ctx, over.tenant, snap, from.parts(snap, 100, io.EOF)), nil)
	equal(t, timeless(over.snapshot()), timeless(snap))
	equal(t, over.events(0, 1000), from.events(0, 1000))
	equal(t, over.rows("other"), []string{})
	ids := []ledger.TileID{{Index: 0}, {Index: 1}, {Level: 1}}
	equal(t, must(over.tilesOf(ids))(t), must(from.tilesOf(ids))(t))
	equal(t, must(s.Sink(ctx, over.tenant, "siem"))(t).Next, ledger.Mark{Epoch: 1, Index: 2})
	over.append("on")
}

func testLoadMalformed(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	for name, snap := range map[string]ledger.Snapshot{
		"a tree that is larger than the log": {Head: ledger.Head{Epoch: 1, Size: 1, Note: []byte("x")}},
		"a first entry within a tile": {Position: ledger.Position{Index: 9},
			Head: ledger.Head{Epoch: 1, Size: 9, First: 7, Note: []byte("x")}},
		"a kind that could leave its place": {Rows: []ledger.Row{row("a/b", "x", "1")}},
		"a cutoff with a number to come":    {Cutoffs: []ledger.Cutoff{{Key: ledger.Key{Kind: "a"}, Seq: 1}}},
		"a writer without a name":           {Writers: []ledger.Writer{{Last: 1}}},
	} {
		if err := s.Load(context.Background(), w.tenant, snap, w.parts(ledger.Snapshot{}, 1, io.EOF)); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
	equal(t, timeless(w.snapshot()), ledger.Snapshot{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Snapshot(ctx, w.tenant)
	is(t, err, fault.ErrUnavailable)
	is(t, s.Load(ctx, w.tenant, ledger.Snapshot{}, w.parts(ledger.Snapshot{}, 1, io.EOF)), fault.ErrUnavailable)
}
