package auditor

import (
	"fmt"
	"iter"
)

// An export is one file that holds a log: a tar, which may be compressed by gzip, or its files in a directory. They are
//
//	checkpoint  the newest head, signed
//	keys        the keys of the events, signed by the key of the checkpoints
//	vkey        that key; take it from elsewhere to trust it
//
// and then what Layout lists, in that order, under the paths of C2SP tlog-tiles.
const (
	CheckpointFile = "checkpoint"
	KeysFile       = "keys"
	VKeyFile       = "vkey"
)

// Bounds of files, in bytes. One that is larger is not read.
const (
	maxCheckpoint = 64 << 10
	maxKeys       = 1 << 20
	maxVKey       = 16 << 10
	maxBundle     = TileWidth * (2 + MaxSET)
)

// Entries is the level of a File that holds entries and not hashes.
const Entries = -1

// File is a file of an export. Width is 0 for the three that are neither a tile nor a bundle; they have a Name only.
type File struct {
	Name  string
	Level int   // of a tile, or Entries
	Index int64 // among those of its level
	Width int   // hashes or entries
	Data  []byte
}

// file returns a tile, or a bundle, without its content.
func file(level int, index int64, width int) File {
	if level == Entries {
		return File{Name: BundlePath(index, width), Level: level, Index: index, Width: width}
	}
	return File{Name: TilePath(level, index, width), Level: level, Index: index, Width: width}
}

// parseFile returns the file that has a name, and how many bytes it may hold.
func parseFile(name string) (f File, most int, err error) {
	switch name {
	case CheckpointFile:
		return File{Name: name}, maxCheckpoint, nil
	case KeysFile:
		return File{Name: name}, maxKeys, nil
	case VKeyFile:
		return File{Name: name}, maxVKey, nil
	}
	if index, width, err := ParseBundlePath(name); err == nil {
		return file(Entries, index, width), maxBundle, nil
	}
	if level, index, width, err := ParseTilePath(name); err == nil {
		return file(level, index, width), width * 32, nil
	}
	return File{}, 0, fmt.Errorf("%q is not part of an export", shown(name))
}

// shown is a name of somebody else's as it may appear in a message.
func shown(name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return name
}

// Layout lists the tiles and bundles of an export of a log of size entries, of which those before first were dropped,
// in their order: first the tiles that hold the tree before first; then each bundle, after the tile of its hashes; then
// the other tiles of the levels from 1 up. It does not list what lies wholly before first. First is a multiple of 256.
func Layout(first, size int64) iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, early := range []bool{true, false} {
			if !early && !bundles(first, size, yield) {
				return
			}
			for level := 1; level <= MaxLevel; level++ {
				span := int64(1) << (8 * level) // entries under each hash of the level
				for index := first / span / TileWidth; index*TileWidth < size/span; index++ {
					holds := index*TileWidth*span < first
					if holds == early && !yield(file(level, index, widthAt(size, level, index))) {
						return
					}
				}
			}
		}
	}
}

func bundles(first, size int64, yield func(File) bool) bool {
	for index := first / TileWidth; index*TileWidth < size; index++ {
		width := widthAt(size, 0, index)
		if !yield(file(0, index, width)) || !yield(file(Entries, index, width)) {
			return false
		}
	}
	return true
}

// widthAt returns how many hashes a tile has in a tree of the given size; 0 or less if there is no such tile.
func widthAt(size int64, level int, index int64) int {
	return int(min(size>>(8*level)-index*TileWidth, TileWidth))
}
