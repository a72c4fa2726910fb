package ledger

// Head is where the Merkle tree of a tenant's log stands. The zero Head is that of a log without one.
type Head struct {
	Epoch int64    // from 1; the next one begins when an operator accepts that the store lost events
	Size  int64    // entries that the tree covers
	Root  [32]byte // of the tree
	Note  []byte   // the signed checkpoint
	// Witnessed is the newest checkpoint that others have signed too, with their signatures; nil if there is none.
	Witnessed []byte
	First     int64 // the first entry that is kept; those before it were pruned
}

// Same reports whether two heads are of the same tree.
func (h Head) Same(other Head) bool {
	return h.Epoch == other.Epoch && h.Size == other.Size && h.Root == other.Root
}

// Step moves a head on.
type Step struct {
	From, To Head
	// Revision is that of the tenant's rows for which To was signed: a key that was revoked signs no head.
	Revision int64
	Tiles    []Tile // that are new, or have grown
}

// TileID names a hash tile.
type TileID struct {
	Level int
	Index int64
}

// Tile is a stored hash tile: as many hashes of 32 bytes as there are so far, at most 256. It only grows.
type Tile struct {
	TileID
	Hashes []byte
}
