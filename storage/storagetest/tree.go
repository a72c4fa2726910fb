package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

// grown is the head after old that covers so many entries.
func grown(old ledger.Head, size int64, mark byte) ledger.Head {
	next := ledger.Head{Epoch: max(old.Epoch, 1), Size: size, Note: fmt.Appendf(nil, "%d signed by %d\n", size, mark)}
	next.Root[0], next.Root[31] = mark, 0xff
	return next
}

func (w *writer) head() ledger.Head {
	w.t.Helper()
	h, _, err := w.store.Head(context.Background(), w.tenant)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *writer) advance(old, next ledger.Head, tiles ...ledger.Tile) error {
	return w.store.Advance(context.Background(), w.tenant, ledger.Step{From: old, To: next, Tiles: tiles,
		Revision: w.position().Revision})
}

func testAdvance(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	h, at, err := s.Head(context.Background(), w.tenant)
	equal(t, err, nil)
	equal(t, h, ledger.Head{})
	equal(t, at.Index, int64(0))
	w.append("a", "b", "c")
	first := grown(h, 2, 1)
	equal(t, w.advance(ledger.Head{}, first), nil)
	equal(t, w.head(), first)
	second := grown(first, 3, 2)
	for name, old := range map[string]ledger.Head{
		"none": {}, "another root": grown(h, 2, 9), "another size": {Epoch: 1, Size: 1, Root: first.Root},
		"another epoch": {Epoch: 2, Size: 2, Root: first.Root},
	} {
		if err := w.advance(old, second); !errors.Is(err, fault.ErrConflict) {
			t.Errorf("from %s: %v", name, err)
		}
	}
	if err := w.advance(first, grown(first, 4, 2)); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("past the log: %v", err)
	}
	if err := w.advance(first, ledger.Head{Epoch: 1, Size: 3}); err == nil {
		t.Error("a head without a note was stored")
	}
	revision := w.put("tool", "a", "1").Revision
	for _, seen := range []int64{revision - 1, revision + 1} {
		err := s.Advance(context.Background(), w.tenant, ledger.Step{From: first, To: second, Revision: seen})
		is(t, err, fault.ErrConflict)
	}
	equal(t, w.head(), first)
	second.Witnessed = []byte("seen")
	equal(t, w.advance(first, second), nil)
	equal(t, w.head(), second)
	equal(t, w.other().head(), second)
}

func testRacingHeads(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.append("a", "b", "c", "d")
	var made, old = 0, ledger.Head{}
	for size := int64(1); size <= 4; size++ {
		var mu sync.Mutex
		var group sync.WaitGroup
		for mark := range byte(32) {
			group.Go(func() {
				switch err := w.advance(old, grown(old, size, mark+1)); {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					made++
				case !errors.Is(err, fault.ErrConflict):
					t.Error(err)
				}
			})
		}
		group.Wait()
		old = w.head()
		equal(t, old.Size, size)
	}
	equal(t, made, 4)
}

func testTiles(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.append("a", "b")
	hashes := func(n int) []byte { return bytes.Repeat([]byte{0, '\n', 0xff, byte(n)}, 8*n) }
	at := []ledger.TileID{{Level: 0, Index: 0}, {Level: 1, Index: 300}, {Level: 0, Index: 1}}
	head := grown(ledger.Head{}, 1, 1)
	tiles := []ledger.Tile{{TileID: at[0], Hashes: hashes(1)}, {TileID: at[1], Hashes: hashes(256)}}
	equal(t, w.advance(ledger.Head{}, head, tiles...), nil)
	read := func() [][]byte { return must(s.Tiles(context.Background(), w.tenant, at))(t) }
	equal(t, read(), [][]byte{hashes(1), hashes(256), nil})
	equal(t, w.advance(head, grown(head, 2, 2), ledger.Tile{TileID: at[0], Hashes: hashes(2)}), nil)
	equal(t, read(), [][]byte{hashes(2), hashes(256), nil})
	// A head that was not stored has stored no tile either.
	is(t, w.advance(head, grown(head, 2, 3), ledger.Tile{TileID: at[2], Hashes: hashes(1)}), fault.ErrConflict)
	equal(t, read(), [][]byte{hashes(2), hashes(256), nil})
	equal(t, must(newWriter(t, s).tilesOf(at))(t), make([][]byte, 3))
}

func (w *writer) tilesOf(ids []ledger.TileID) ([][]byte, error) {
	return w.store.Tiles(context.Background(), w.tenant, ids)
}

func testPrune(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	ctx := context.Background()
	for i := range 3 {
		entries := make([]string, 256)
		for j := range entries {
			entries[j] = fmt.Sprint(256*i + j)
		}
		w.append(entries...)
	}
	w.append("768")
	head := grown(ledger.Head{}, 600, 1)
	at := []ledger.TileID{{Index: 0}, {Index: 1}, {Index: 2}, {Level: 1}}
	var tiles []ledger.Tile
	for _, id := range at {
		tiles = append(tiles, ledger.Tile{TileID: id, Hashes: make([]byte, 32)})
	}
	equal(t, w.advance(ledger.Head{}, head, tiles...), nil)
	for _, before := range []int64{-256, 100, 768} { // no tile's first entry, or not covered
		if err := s.Prune(ctx, w.tenant, before); err == nil {
			t.Errorf("pruned before %d", before)
		}
	}
	for range 2 {
		equal(t, s.Prune(ctx, w.tenant, 512), nil)
		head.First = 512
		equal(t, w.head(), head)
		equal(t, w.events(0, 2), []string{"512=512", "513=513"})
		got := must(w.tilesOf(at))(t)
		equal(t, got, [][]byte{nil, nil, make([]byte, 32), make([]byte, 32)})
	}
	equal(t, s.Prune(ctx, w.tenant, 256), nil) // less than was pruned already
	equal(t, w.head(), head)
	next := grown(head, 769, 2)
	equal(t, w.advance(head, next), nil)
	next.First = 512
	equal(t, w.head(), next)
	equal(t, w.append("769").Index, int64(769))
	equal(t, len(w.events(0, 1000)), 258)
}
