package auditor_test

import (
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// An edge has the root of the tree that x/mod computes from all its hashes, at every size, and so has one that was
// resumed from tiles.
func TestAnEdgeIsThatOfTheTree(t *testing.T) {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	type id struct {
		level int
		index int64
	}
	tiles := map[id][]tlog.Hash{}
	keep := func(all []auditor.HashTile) {
		for _, tile := range all {
			tiles[id{tile.Level, tile.Index}] = tile.Hashes
		}
	}
	resume := func(size int64) *auditor.Edge {
		e, err := auditor.ResumeEdge(size, func(level int, index int64, width int) ([]tlog.Hash, error) {
			return tiles[id{level, index}][:width], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	var edge auditor.Edge
	for n := int64(0); n < 66000; n++ {
		if n < 1100 || n%9973 == 0 || n > 65500 {
			want, err := tlog.TreeHash(n, read)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 { // TreeHash says zero where RFC 6962 says the hash of nothing
				want = edge.Root()
			}
			if got := edge.Root(); got != want {
				t.Fatalf("root of %d leaves: got %v, want %v", n, got, want)
			}
			keep(edge.Partial())
			if got := resume(n); got.Root() != want || got.Size() != n {
				t.Fatalf("root of %d leaves, resumed: got %v, want %v", n, got.Root(), want)
			}
		}
		leaf := tlog.RecordHash([]byte(strconv.FormatInt(n, 10)))
		more, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		keep(edge.Append(leaf))
	}
	for at, hashes := range tiles { // what was kept is what x/mod calls the tile
		want, err := tlog.ReadTileData(tlog.Tile{H: 8, L: at.level, N: at.index, W: len(hashes)}, read)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, h := range hashes {
			got = append(got, h[:]...)
		}
		if string(got) != string(want) {
			t.Errorf("tile %v of %d hashes differs", at, len(hashes))
		}
	}
}

func TestACloneGrowsAlone(t *testing.T) {
	var edge auditor.Edge
	edge.Append(tlog.RecordHash([]byte("a")))
	clone, before := edge.Clone(), edge.Root()
	clone.Append(tlog.RecordHash([]byte("b")))
	if edge.Root() != before || edge.Size() != 1 {
		t.Error("the edge changed with its clone")
	}
}
