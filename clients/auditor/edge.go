package auditor

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is the number of levels of the tree that a tile spans.
const tileHeight = 8

// HashTile is a tile of a Merkle tree (C2SP tlog-tiles): 1 to 256 hashes, fewer than 256 only at the tree's right edge.
// Each is of a complete subtree of as many leaves as the level says: 1 at level 0, 256 at level 1, 65,536 at level 2.
type HashTile struct {
	Level  int
	Index  int64 // among those of its level, from 0
	Hashes []tlog.Hash
}

// Edge is the right edge of a Merkle tree (RFC 6962 §2.1): the tiles that are not full yet. The tree grows by it, and
// its root follows from it. The zero Edge is that of the empty tree.
type Edge struct {
	size   int64
	levels [][]tlog.Hash // by level, the hashes of the tile that is not full
}

// ResumeEdge returns the edge of a tree of the given size. tile returns the first width hashes of a tile.
func ResumeEdge(size int64, tile func(level int, index int64, width int) ([]tlog.Hash, error)) (*Edge, error) {
	e := &Edge{size: size}
	for level, rest := 0, size; rest > 0; level, rest = level+1, rest/TileWidth {
		var hashes []tlog.Hash
		if width := int(rest % TileWidth); width > 0 {
			var err error
			if hashes, err = tile(level, rest/TileWidth, width); err != nil {
				return nil, err
			}
			if len(hashes) != width {
				return nil, fmt.Errorf("tile %s has %d hashes", TilePath(level, rest/TileWidth, width), len(hashes))
			}
		}
		e.levels = append(e.levels, slices.Clone(hashes))
	}
	return e, nil
}

// Size returns the number of leaves.
func (e *Edge) Size() int64 { return e.size }

// Append adds a leaf and returns the tiles that are full with it, from the lowest level up; mostly none.
func (e *Edge) Append(leaf tlog.Hash) (full []HashTile) {
	e.size++
	hash := leaf
	for level := 0; ; level++ {
		if level == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		e.levels[level] = append(e.levels[level], hash)
		if len(e.levels[level]) < TileWidth {
			return full
		}
		tile := HashTile{Level: level, Index: e.size>>(tileHeight*(level+1)) - 1, Hashes: e.levels[level]}
		full = append(full, tile)
		hash = subtree(tile.Hashes)
		e.levels[level] = nil
	}
}

// Partial returns the tiles that are not full, from the lowest level up. They share nothing with the edge.
func (e *Edge) Partial() (tiles []HashTile) {
	for level, hashes := range e.levels {
		if len(hashes) > 0 {
			tiles = append(tiles, HashTile{level, e.size >> (tileHeight * (level + 1)), slices.Clone(hashes)})
		}
	}
	return tiles
}

// Root returns the tree's root hash; that of the empty tree is the hash of nothing.
func (e *Edge) Root() tlog.Hash {
	root, found := tlog.Hash(sha256.Sum256(nil)), false
	for _, hashes := range e.levels {
		for end := len(hashes); end > 0; {
			width := 1 << bits.TrailingZeros(uint(end)) // the last complete subtree
			hash := subtree(hashes[end-width : end])
			if found {
				hash = tlog.NodeHash(hash, root)
			}
			root, found = hash, true
			end -= width
		}
	}
	return root
}

// Clone returns a copy that grows on its own.
func (e *Edge) Clone() *Edge {
	c := &Edge{size: e.size, levels: slices.Clone(e.levels)}
	for i := range c.levels {
		c.levels[i] = slices.Clone(c.levels[i])
	}
	return c
}

// subtree returns the root of a complete subtree; the number of hashes is a power of two.
func subtree(hashes []tlog.Hash) tlog.Hash {
	row := slices.Clone(hashes)
	for n := len(row); n > 1; n /= 2 {
		for i := range n / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}
