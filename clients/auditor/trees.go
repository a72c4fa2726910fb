package auditor

import (
	"errors"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// trees are the two trees that an export holds: the one that its entries make, and the one that its hash tiles say they
// made. The signed root tells which of them is the log's. If the entries are not, the tiles that the root confirms show
// where they differ.
type trees struct {
	head    Checkpoint
	entries *Edge                  // nil if the tree before the first entry is not known
	tiles   *Edge                  // nil if a tile is missing as well
	made    map[tileID][]tlog.Hash // the tiles from level 1 up, as the entries make them
	upper   map[tileID][]tlog.Hash // as they are in the export
	bundles []bundle
	partial []tlog.Hash // the last tile of level 0, if it is not full
	tail    []tlog.Hash // what it is by its entries

	confirmedTail []tlog.Hash // the one of the two that makes the signed root
	at            map[int64]*roots
}

type tileID struct {
	level int
	index int64
}

// bundle is what is remembered of 256 entries.
type bundle struct {
	index          int64
	entries, tile  tlog.Hash // of the subtree over the entries, and over what the tile says of them
	whole, hasTile bool      // there are 256 of each
}

// roots are those of both trees at one size.
type roots struct{ entries, tiles tlog.Hash }

func newTrees(head Checkpoint, sizes []int64) *trees {
	t := &trees{head: head, made: map[tileID][]tlog.Hash{}, upper: map[tileID][]tlog.Hash{}, at: map[int64]*roots{}}
	for _, size := range sizes {
		t.at[size] = nil
	}
	return t
}

// addUpper takes a tile of level 1 or above. It refuses one that the tree does not have.
func (t *trees) addUpper(f File) error {
	id := tileID{f.Level, f.Index}
	switch {
	case f.Width != widthAt(t.head.Size, f.Level, f.Index):
		return formatError("%s is no tile of a tree of %d entries", f.Name, t.head.Size)
	case len(t.upper) > 2*MaxLevel+len(t.bundles)/(TileWidth/2):
		return formatError("there are more tiles than entries for them, from %s on", f.Name)
	}
	t.upper[id] = splitHashes(f.Data)
	return nil
}

func splitHashes(data []byte) []tlog.Hash {
	hashes := make([]tlog.Hash, 0, len(data)/tlog.HashSize)
	for chunk := range slices.Chunk(data, tlog.HashSize) {
		hashes = append(hashes, tlog.Hash(chunk))
	}
	return hashes
}

// errNoTile means that an export lacks a tile that is asked for.
var errNoTile = errors.New("the tile is missing")

// read returns the first hashes of a tile that the export holds.
func (t *trees) read(level int, index int64, width int) ([]tlog.Hash, error) {
	hashes := t.upper[tileID{level, index}]
	if level == 0 {
		hashes = t.confirmedTail
	}
	if len(hashes) < width {
		return nil, errNoTile
	}
	return hashes[:width], nil
}

// begin takes the index of the first entry.
func (t *trees) begin(first int64) error {
	edge, err := ResumeEdge(first, t.read)
	if err != nil {
		return err
	}
	t.entries, t.tiles = edge, edge.Clone()
	t.note()
	return nil
}

// add takes the hashes of a bundle, and of the tile beside it; none if there is no tile.
func (t *trees) add(index int64, entries, tile []tlog.Hash) {
	b := bundle{index: index}
	if b.whole = len(entries) == TileWidth; b.whole {
		b.entries = subtree(entries)
	}
	if b.hasTile = len(tile) == TileWidth; b.hasTile {
		b.tile = subtree(tile)
	} else {
		t.partial = tile
	}
	t.tail = entries
	t.bundles = append(t.bundles, b)
	if len(tile) == 0 {
		t.tiles = nil
	}
	for i := range max(len(entries), len(tile)) {
		if t.entries != nil && i < len(entries) {
			t.keep(t.entries.Append(entries[i]))
		}
		if t.tiles != nil && i < len(tile) {
			t.tiles.Append(tile[i])
		}
		t.note()
	}
}

// keep remembers tiles of the entries' tree, so that those of the export can be held against them.
func (t *trees) keep(tiles []HashTile) {
	for _, tile := range tiles {
		if tile.Level > 0 {
			t.made[tileID{tile.Level, tile.Index}] = tile.Hashes
		}
	}
}

// note remembers the roots at the sizes that somebody asks for.
func (t *trees) note() {
	for _, edge := range []*Edge{t.entries, t.tiles} {
		if edge == nil {
			continue
		}
		size := edge.Size()
		at, wanted := t.at[size]
		if !wanted {
			continue
		}
		if at == nil {
			at = new(roots)
			t.at[size] = at
		}
		if edge == t.entries {
			at.entries = edge.Root()
		} else {
			at.tiles = edge.Root()
		}
	}
}

// signed reports whether a tree is the one of the checkpoint.
func (t *trees) signed(edge *Edge) bool {
	return edge != nil && edge.Size() == t.head.Size && edge.Root() == t.head.Root
}

// rootAt returns the root that the signed tree had at an earlier size, if that is known.
func (t *trees) rootAt(size int64) (tlog.Hash, bool) {
	at := t.at[size]
	switch {
	case size == t.head.Size:
		return t.head.Root, true
	case size == 0:
		return new(Edge).Root(), true
	case at != nil && t.signed(t.entries):
		return at.entries, true
	case at != nil && t.signed(t.tiles):
		return at.tiles, true
	}
	return tlog.Hash{}, false
}

// entriesAt returns the root that the entries make at a size, if that was asked for.
func (t *trees) entriesAt(size int64) (tlog.Hash, bool) {
	if at := t.at[size]; at != nil && t.entries != nil {
		return at.entries, true
	}
	return tlog.Hash{}, false
}

// authentic returns a function that reports whether the signed root confirms the tile of level 0 with an index.
func (t *trees) authentic() func(index int64) bool {
	if t.signed(t.entries) || t.signed(t.tiles) {
		return func(int64) bool { return true }
	}
	if !t.edgeSigned() {
		return func(int64) bool { return false }
	}
	return func(index int64) bool {
		if index == t.head.Size/TileWidth {
			return slices.Equal(t.partial, t.confirmedTail) // it is on the edge
		}
		b, found := t.bundle(index)
		confirmed, known := t.confirmed(0, index)
		return found && b.hasTile && known && b.tile == confirmed
	}
}

// edgeSigned reports whether the tiles on the right edge make the signed root, with one of what the last tile can be.
func (t *trees) edgeSigned() bool {
	for _, t.confirmedTail = range [][]tlog.Hash{t.partial, t.tail} {
		if edge, err := ResumeEdge(t.head.Size, t.read); err == nil && edge.Root() == t.head.Root {
			return true
		}
	}
	return false
}

func (t *trees) bundle(index int64) (bundle, bool) {
	i, found := slices.BinarySearchFunc(t.bundles, index, func(b bundle, index int64) int {
		return int(max(-1, min(b.index-index, 1)))
	})
	if !found {
		return bundle{}, false
	}
	return t.bundles[i], true
}

// confirmed returns the hash that a full tile must have, going up to a tile on the edge, which the root confirms.
func (t *trees) confirmed(level int, index int64) (tlog.Hash, bool) {
	parent := tileID{level + 1, index / TileWidth}
	hashes, at := t.upper[parent], int(index%TileWidth)
	if at >= len(hashes) {
		return tlog.Hash{}, false
	}
	if len(hashes) == TileWidth {
		above, known := t.confirmed(parent.level, parent.index)
		if !known || above != subtree(hashes) {
			return tlog.Hash{}, false
		}
	}
	return hashes[at], true
}

// changed returns the first and the last full bundle whose entries are not those that the signed root confirms, as far
// as the tiles from level 1 up tell.
func (t *trees) changed() (first, last int64, found bool) {
	if !t.edgeSigned() {
		return 0, 0, false
	}
	for _, b := range t.bundles {
		confirmed, known := t.confirmed(0, b.index)
		if !known || b.whole && b.entries == confirmed {
			continue
		}
		if !found {
			first, found = b.index, true
		}
		last = b.index
	}
	return first, last, found
}

// foreign returns the tiles from level 1 up that are in the export and are not those of its entries.
func (t *trees) foreign() (names []string) {
	for _, tile := range t.entries.Partial() {
		if tile.Level > 0 {
			t.made[tileID{tile.Level, tile.Index}] = tile.Hashes
		}
	}
	for id, hashes := range t.upper {
		if !slices.Equal(hashes, t.made[id]) {
			names = append(names, TilePath(id.level, id.index, len(hashes)))
		}
	}
	slices.Sort(names)
	return names
}
