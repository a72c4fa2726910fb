package auditor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// TileWidth is how many hashes a full tile holds, and how many entries a full bundle.
	TileWidth = 256
	// MaxLevel is the highest level that a tree of less than 2^63 entries has tiles at.
	MaxLevel = 7
	// MaxEntry bounds an entry, in bytes: its length is written in 16 bits.
	MaxEntry = math.MaxUint16
)

// TilePath returns the path of a hash tile below a log's URL, "tile/<level>/<index>[.p/<width>]" (C2SP tlog-tiles).
// A width of 256 is a full tile, 1 to 255 a partial one. Anything else is a mistake of the caller, and panics.
func TilePath(level int, index int64, width int) string {
	if level < 0 || level > MaxLevel {
		panic(fmt.Sprintf("auditor: no tile has level %d", level))
	}
	return "tile/" + strconv.Itoa(level) + "/" + number(index, width)
}

// BundlePath returns the path of a bundle of entries below a log's URL, "tile/entries/<index>[.p/<width>]" (C2SP
// tlog-tiles). The width is as in TilePath.
func BundlePath(index int64, width int) string { return "tile/entries/" + number(index, width) }

// ParseTilePath reads what TilePath writes. It accepts one spelling of each tile, with the slashes as they are in a
// decoded URL.
func ParseTilePath(path string) (level int, index int64, width int, err error) {
	rest, tile := strings.CutPrefix(path, "tile/")
	digit, rest, found := strings.Cut(rest, "/")
	if !tile || !found || len(digit) != 1 || digit[0] < '0' || digit[0] > '0'+MaxLevel {
		return 0, 0, 0, fmt.Errorf("not the path of a tile: want tile/<level 0 to %d>/<index>", MaxLevel)
	}
	index, width, err = parseNumber(rest)
	return int(digit[0] - '0'), index, width, err
}

// ParseBundlePath reads what BundlePath writes, as ParseTilePath does.
func ParseBundlePath(path string) (index int64, width int, err error) {
	rest, found := strings.CutPrefix(path, "tile/entries/")
	if !found {
		return 0, 0, errors.New("not the path of a bundle: want tile/entries/<index>")
	}
	return parseNumber(rest)
}

// number writes an index in groups of three digits, all but the last after an "x", and the width of what is partial.
func number(index int64, width int) string {
	if index < 0 || width < 1 || width > TileWidth {
		panic(fmt.Sprintf("auditor: no tile has index %d and width %d", index, width))
	}
	s := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		s = fmt.Sprintf("x%03d/%s", index%1000, s)
	}
	if width < TileWidth {
		s += ".p/" + strconv.Itoa(width)
	}
	return s
}

var errNumber = errors.New("not the index of a tile: want groups of three digits such as 007 or x001/234, " +
	"and .p/<1 to 255> after that of a partial one")

// maxIndex bounds an index, so that the entries of its tile can be counted.
const maxIndex = math.MaxInt64/TileWidth - 1

func parseNumber(s string) (index int64, width int, err error) {
	groups, partial, found := strings.Cut(s, ".p/")
	width = TileWidth
	if found {
		if width, err = strconv.Atoi(partial); err != nil || width >= TileWidth {
			return 0, 0, errNumber
		}
	}
	for rest := groups; index <= maxIndex/1000; {
		group, more, last := rest, "", !strings.HasPrefix(rest, "x")
		if !last {
			group, more, _ = strings.Cut(rest[1:], "/")
		}
		value, err := strconv.ParseUint(group, 10, 16)
		if err != nil || len(group) != 3 {
			return 0, 0, errNumber
		}
		if index = index*1000 + int64(value); last {
			break
		}
		rest = more
	}
	// One spelling each: no leading "x000", no "+7", nothing left over.
	if width < 1 || index > maxIndex || number(index, width) != s {
		return 0, 0, errNumber
	}
	return index, width, nil
}

// AppendEntry appends an entry to a bundle: its length in two bytes, big-endian, then its bytes (C2SP tlog-tiles). An
// entry is 1 to MaxEntry bytes long.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) < 1 || len(entry) > MaxEntry {
		return nil, fmt.Errorf("an entry of %d bytes does not fit into a bundle: want 1 to %d", len(entry), MaxEntry)
	}
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...), nil
}

// SplitBundle returns the entries of a bundle, 1 to 256 of them. They alias bundle. A bundle is read to its last byte
// or not at all.
func SplitBundle(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for rest := bundle; len(rest) > 0; {
		if len(entries) == TileWidth {
			return nil, fmt.Errorf("the bundle has %d bytes after its %d entries", len(rest), TileWidth)
		}
		if len(rest) < 2 {
			return nil, fmt.Errorf("the bundle ends in the length of its entry %d", len(entries))
		}
		size := int(binary.BigEndian.Uint16(rest))
		switch rest = rest[2:]; {
		case size == 0:
			return nil, fmt.Errorf("entry %d of the bundle is empty", len(entries))
		case size > len(rest):
			return nil, fmt.Errorf("entry %d of the bundle is cut: %d of %d bytes", len(entries), len(rest), size)
		}
		entries = append(entries, rest[:size:size])
		rest = rest[size:]
	}
	if len(entries) == 0 {
		return nil, errors.New("the bundle is empty")
	}
	return entries, nil
}
