package ledger

// Snapshot is a tenant at one moment, without the entries of its log and the tiles of its tree: those from Head.First,
// and those of Head.Size, belong to it.
type Snapshot struct {
	Position Position // its Index is the number of entries
	Head     Head
	Rows     []Row
	Cutoffs  []Cutoff // those that are over too
	Writers  []Writer
}

// Writer is what a store remembers of a writer of a log.
type Writer struct {
	ID           string
	Last         int64 // its counter (wsn)
	Index, Count int64 // of its last commit
}

// Part is a part of what belongs to a snapshot. All tiles come before all entries, which come in order.
type Part struct {
	Tiles   []Tile
	Entries [][]byte
}
