package auditor

import "golang.org/x/mod/sumdb/tlog"

// window is how far ahead the aligner looks for an entry that is not in its place.
const window = 2 * TileWidth

// aligner compares the hashes of the entries, in their order, with the hashes that the tiles say they have. Where the
// two part it finds out how, so that one entry that is missing does not make all after it look changed. What it finds
// holds as far as the tiles can be trusted, which shows only at the end of the log.
type aligner struct {
	tiles   []tlog.Hash
	tile    int64 // index of the first of them
	entries []placed
	found   []divergence
}

// placed is the hash of an entry, and where in the export it is.
type placed struct {
	hash  tlog.Hash
	index int64
}

// divergence is a place where entries and tiles part.
type divergence struct {
	kind  Kind  // Edited, Deleted, Inserted or Reordered
	tile  int64 // where in the tree
	entry int64 // where in the export; 0 of one that was deleted
	other int64 // of two that changed places: where the other one is
	was   tlog.Hash
	is    tlog.Hash
}

func (a *aligner) add(d divergence) {
	if len(a.found) < maxFindings {
		a.found = append(a.found, d)
	}
}

// push adds what a tile says, and the entries that were found beside it, and compares as far as both are known.
func (a *aligner) push(tiles []tlog.Hash, entries []placed) {
	a.tiles, a.entries = append(a.tiles, tiles...), append(a.entries, entries...)
	a.run(window)
}

// skip finishes what is before, and goes on at an index; what is between is not compared.
func (a *aligner) skip(index int64) {
	a.finish()
	a.tile = index
}

// finish compares what is left.
func (a *aligner) finish() {
	a.run(0)
	a.insert(len(a.entries))
	a.tiles = nil // entries that are missing at the end show in their count
}

// run compares while more than ahead hashes of both are known.
func (a *aligner) run(ahead int) {
	for min(len(a.tiles), len(a.entries)) > ahead {
		was, is := a.tiles[0], a.entries[0].hash
		if was == is {
			a.step(1, 1)
			continue
		}
		gone, came := a.tileAhead(is), a.entryAhead(was)
		switch {
		case gone > 0 && gone == came: // two changed places
			a.swap(gone)
		case gone > 0 && (came < 0 || gone < came) && a.agree(gone, 0):
			a.delete(gone)
		case came > 0 && a.agree(0, came):
			a.insert(came)
		default:
			a.change()
		}
	}
}

// tileAhead returns how far ahead the tiles have a hash, -1 if it is not within the window.
func (a *aligner) tileAhead(h tlog.Hash) int {
	for i := 1; i < min(len(a.tiles), window+1); i++ {
		if a.tiles[i] == h {
			return i
		}
	}
	return -1
}

// entryAhead returns how far ahead the entry with a hash is, -1 if it is not within the window.
func (a *aligner) entryAhead(h tlog.Hash) int {
	for i := 1; i < min(len(a.entries), window+1); i++ {
		if a.entries[i].hash == h {
			return i
		}
	}
	return -1
}

// agree reports whether the two go on alike, mostly, after some tiles or entries were passed over.
func (a *aligner) agree(tiles, entries int) bool {
	rest, others := a.tiles[tiles:], a.entries[entries:]
	looked, same := min(len(rest), len(others), 8), 0
	for i := range looked {
		if rest[i] == others[i].hash {
			same++
		}
	}
	return 2*same > looked
}

func (a *aligner) step(tiles, entries int) {
	a.tiles, a.tile = a.tiles[tiles:], a.tile+int64(tiles)
	a.entries = a.entries[entries:]
}

func (a *aligner) delete(n int) {
	for range n {
		a.add(divergence{kind: Deleted, tile: a.tile, was: a.tiles[0]})
		a.step(1, 0)
	}
}

func (a *aligner) insert(n int) {
	for range n {
		a.add(divergence{kind: Inserted, tile: a.tile, entry: a.entries[0].index, is: a.entries[0].hash})
		a.step(0, 1)
	}
}

// change passes over an entry that another one has taken the place of.
func (a *aligner) change() {
	a.add(divergence{kind: Edited, tile: a.tile, entry: a.entries[0].index, was: a.tiles[0], is: a.entries[0].hash})
	a.step(1, 1)
}

// swap notes two entries that have each other's place, and puts the later one right.
func (a *aligner) swap(distance int) {
	a.add(divergence{kind: Reordered, tile: a.tile, entry: a.entries[0].index, other: a.tile + int64(distance)})
	a.entries[distance].hash = a.tiles[distance]
	a.step(1, 1)
}

// settle pairs what left one place with what came to another: entries that were moved, too far to be seen at once.
func (a *aligner) settle() []divergence {
	left := map[tlog.Hash]int{}
	for i, d := range a.found {
		if d.kind == Edited || d.kind == Deleted {
			left[d.was] = i
		}
	}
	gone := map[int]bool{}
	for i, d := range a.found {
		from, moved := left[d.is]
		switch {
		case !moved || from == i || d.kind != Edited && d.kind != Inserted:
		case d.kind == Inserted && a.found[from].kind == Deleted: // one entry, elsewhere
			a.found[from].kind, a.found[from].other = Reordered, d.entry
			gone[i] = true
		default:
			a.found[i].kind, a.found[i].other = Reordered, a.found[from].tile
		}
	}
	var settled []divergence
	for i, d := range a.found {
		if !gone[i] {
			settled = append(settled, d)
		}
	}
	return settled
}
