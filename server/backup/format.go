package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/ledger"
)

// A backup is a line that names the format, and then chunks: a letter, a length of four bytes big-endian, and so many
// bytes. The first chunk is what it is of, JSON; then come tiles, then entries, then the SHA-256 of everything before.
const magic = "bursar backup v1\n"

const (
	chunkAbout   = 'A'
	chunkTiles   = 'T' // each: level, one byte; index, eight; number of hashes, two; hashes of 32 bytes
	chunkEntries = 'E' // each: length, two bytes; an event
	chunkEnd     = 'Z'
)

// Bounds of a chunk's length, in bytes, so that a file that is none does not take all memory.
const (
	maxAbout = 1 << 30
	maxChunk = 32 << 20
)

// ErrFormat is in every error about what a file holds, as opposed to failures to read it.
var ErrFormat = errors.New("not a backup that is whole")

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// about is the first chunk.
type about struct {
	Header
	Snapshot ledger.Snapshot `json:"snapshot"`
}

// chunks writes chunks, and keeps the hash of all.
type chunks struct {
	to  io.Writer
	sum hash.Hash
	err error
}

func newChunks(to io.Writer) *chunks {
	c := &chunks{to: to, sum: sha256.New()}
	c.write([]byte(magic))
	return c
}

func (c *chunks) write(data []byte) {
	if c.err == nil {
		c.sum.Write(data)
		_, c.err = c.to.Write(data)
	}
}

func (c *chunks) chunk(letter byte, data []byte) {
	c.write(binary.BigEndian.AppendUint32([]byte{letter}, uint32(len(data))))
	c.write(data)
}

func (c *chunks) end() error {
	c.chunk(chunkEnd, c.sum.Sum(nil))
	return c.err
}

func appendTile(b []byte, t ledger.Tile) []byte {
	b = append(b, byte(t.Level))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Index))
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Hashes)/hashSize))
	return append(b, t.Hashes...)
}

const hashSize = sha256.Size

func splitTiles(b []byte) (all []ledger.Tile, err error) {
	for len(b) > 0 {
		if len(b) < 11 {
			return nil, formatError("a tile is cut")
		}
		t := ledger.Tile{TileID: ledger.TileID{Level: int(b[0]), Index: int64(binary.BigEndian.Uint64(b[1:]))}}
		size := int(binary.BigEndian.Uint16(b[9:])) * hashSize
		if b = b[11:]; size == 0 || size > auditor.TileWidth*hashSize || size > len(b) || t.Index < 0 {
			return nil, formatError("a tile is cut, or is none")
		}
		t.Hashes, b = b[:size:size], b[size:]
		all = append(all, t)
	}
	return all, nil
}

// readChunk reads the next chunk.
func readChunk(from io.Reader, most uint32) (letter byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, cut(err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > most {
		return 0, nil, formatError("a part is longer than any can be")
	}
	var b bytes.Buffer // grows with what there is, whatever the length says
	if _, err := io.CopyN(&b, from, int64(size)); err != nil {
		return 0, nil, cut(err)
	}
	return head[0], b.Bytes(), nil
}

// cut tells a file that ends too early from one that cannot be read.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formatError("it ends before its end")
	}
	return fmt.Errorf("read a backup: %w", err)
}

func decodeAbout(data []byte) (a about, err error) {
	if err := json.Unmarshal(data, &a); err != nil {
		return a, formatError("what it says of itself cannot be read: %v", err)
	}
	s := a.Snapshot
	if a.Tenant == "" || s.Head.First < 0 || s.Head.First%auditor.TileWidth != 0 || s.Head.First > s.Head.Size ||
		s.Head.Size > s.Position.Index {
		return a, formatError("what it says of itself cannot be")
	}
	return a, nil
}
