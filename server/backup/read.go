package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Reader reads a backup.
type Reader struct {
	Header
	Snapshot ledger.Snapshot

	from  io.Reader
	sum   hash.Hash
	tiles map[ledger.TileID][]tlog.Hash // on the edge of the tree before the first entry
	edge  *auditor.Edge                 // of the entries; nil before the first
	next  int64                         // index of the entry that comes next
	ended bool
}

// Open reads the beginning of a backup. An error with ErrFormat: it is none.
func Open(from io.Reader) (*Reader, error) {
	r := &Reader{sum: sha256.New(), tiles: map[ledger.TileID][]tlog.Hash{}}
	r.from = io.TeeReader(bufio.NewReaderSize(from, 64<<10), r.sum)
	line := make([]byte, len(magic))
	if _, err := io.ReadFull(r.from, line); err != nil {
		return nil, cut(err)
	}
	if string(line) != magic {
		return nil, formatError("it does not begin with %q", magic[:len(magic)-1])
	}
	letter, data, err := readChunk(r.from, maxAbout)
	if err != nil {
		return nil, err
	}
	if letter != chunkAbout {
		return nil, formatError("it does not say what it is of")
	}
	a, err := decodeAbout(data)
	if err != nil {
		return nil, err
	}
	r.Header, r.Snapshot, r.next = a.Header, a.Snapshot, a.Snapshot.Head.First
	return r, nil
}

// Next returns the next part, and io.EOF after the last one. At the end it has checked that the file is what was
// written, and that the entries make the root that was signed: if not, it says so instead of io.EOF.
func (r *Reader) Next() (part ledger.Part, err error) {
	if r.ended {
		return part, io.EOF
	}
	sum := r.sum.Sum(nil)
	letter, data, err := readChunk(r.from, maxChunk)
	if err != nil {
		return part, err
	}
	switch letter {
	case chunkTiles:
		part.Tiles, err = r.tile(data)
	case chunkEntries:
		part.Entries, err = r.entries(data)
	case chunkEnd:
		err = r.end(data, sum)
	default:
		err = formatError("there is a part that this version does not know")
	}
	return part, err
}

func (r *Reader) tile(data []byte) ([]ledger.Tile, error) {
	if r.edge != nil {
		return nil, formatError("tiles come after entries")
	}
	all, err := splitTiles(data)
	for _, t := range all {
		if t.Level > auditor.MaxLevel {
			return nil, formatError("no tree has a tile of level %d", t.Level)
		}
		if t.Index == r.Snapshot.Head.First>>(8*t.Level)/auditor.TileWidth {
			r.tiles[t.TileID] = hashes(t.Hashes)
		}
	}
	return all, err
}

func (r *Reader) entries(data []byte) ([][]byte, error) {
	all, err := auditor.SplitBundle(data)
	if err != nil {
		return nil, formatError("%v", err)
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	for _, entry := range all {
		if r.next++; r.next <= r.Snapshot.Head.Size {
			r.edge.Append(tlog.RecordHash(entry))
		}
	}
	return all, nil
}

// begin makes the tree before the first entry.
func (r *Reader) begin() (err error) {
	if r.edge != nil {
		return nil
	}
	r.edge, err = auditor.ResumeEdge(r.Snapshot.Head.First, func(level int, index int64, width int) ([]tlog.Hash, error) {
		all := r.tiles[ledger.TileID{Level: level, Index: index}]
		if len(all) < width {
			return nil, formatError("tiles of the tree are missing")
		}
		return all[:width], nil
	})
	return err
}

func (r *Reader) end(data, sum []byte) error {
	if !bytes.Equal(data, sum) {
		return formatError("its checksum is another one: it was changed, or damaged")
	}
	var more [1]byte
	if n, err := r.from.Read(more[:]); n > 0 || !errors.Is(err, io.EOF) {
		return formatError("there is something after its end")
	}
	if err := r.begin(); err != nil {
		return err
	}
	h := r.Snapshot.Head
	switch {
	case r.next != r.Snapshot.Position.Index:
		return formatError("it has the entries up to %d, and should have %d", r.next, r.Snapshot.Position.Index)
	case h.Epoch > 0 && (r.edge.Size() != h.Size || r.edge.Root() != tlog.Hash(h.Root)):
		return formatError("its entries are not those that were signed")
	}
	r.ended = true
	return io.EOF
}

// Verify reads a backup to its end, and returns why it is none that is whole.
func Verify(from io.Reader) (*Reader, error) {
	r, err := Open(from)
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, io.EOF) || !r.ended {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return r, nil
}

func hashes(b []byte) (all []tlog.Hash) {
	for ; len(b) >= tlog.HashSize; b = b[tlog.HashSize:] {
		all = append(all, tlog.Hash(b[:tlog.HashSize]))
	}
	return all
}
