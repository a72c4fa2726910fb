package accept

import (
	"errors"
	"fmt"

	"github.com/bursar-sts/bursar/server/ledger"
)

// TileWidth is the number of hashes of a full tile.
const TileWidth = 256

const (
	hashSize = 32
	maxLevel = 7 // 256⁸ entries are more than an int64 counts
	maxNote  = 64 << 10
)

// Step refuses a head or tiles that no tree can have.
func Step(t ledger.Tenant, s ledger.Step) error {
	next, tiles := s.To, s.Tiles
	if err := Tenant(t); err != nil {
		return err
	}
	if next.Epoch < 1 || next.Size < 0 || len(next.Note) == 0 || len(next.Note)+len(next.Witnessed) > maxNote {
		return errors.New("the head has no epoch, no size or no note, or its note is too long")
	}
	for _, tile := range tiles {
		if tile.Level < 0 || tile.Level > maxLevel || tile.Index < 0 {
			return errors.New("a tile has no place in a tree")
		}
		if n := len(tile.Hashes); n == 0 || n%hashSize != 0 || n > TileWidth*hashSize {
			return fmt.Errorf("a tile has 1 to %d hashes of %d bytes", TileWidth, hashSize)
		}
	}
	return nil
}

// Prune refuses a place to which a log with the given head cannot be pruned.
func Prune(before int64, h ledger.Head) error {
	if before < 0 || before%TileWidth != 0 || before > h.Size {
		return fmt.Errorf("the first entry to keep is no multiple of %d up to %d", TileWidth, h.Size)
	}
	return nil
}

// Snapshot refuses a snapshot that no tenant can have.
func Snapshot(t ledger.Tenant, s ledger.Snapshot) error {
	if err := Tenant(t); err != nil {
		return err
	}
	if s.Head.First < 0 || s.Head.First%TileWidth != 0 || s.Head.First > s.Head.Size || s.Head.Size > s.Position.Index {
		return errors.New("the tree has more entries than there are")
	}
	var all []ledger.Key
	for _, row := range s.Rows {
		if len(row.Value) > maxValue {
			return fmt.Errorf("a row's value is longer than %d bytes", maxValue)
		}
		all = append(all, ledger.Key{Kind: row.Kind, ID: row.ID})
	}
	for _, c := range s.Cutoffs {
		if c.Seq < 1 || c.Seq > s.Position.Cutoffs {
			return errors.New("a cutoff has a number that was not given yet")
		}
		all = append(all, c.Key)
	}
	for _, k := range all {
		if err := key(k); err != nil {
			return err
		}
	}
	for _, w := range s.Writers {
		if w.ID == "" || len(w.ID) > maxWriter {
			return errors.New("a writer has no id")
		}
	}
	return nil
}
