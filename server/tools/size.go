package tools

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Written as a number and a unit: "512B", "16KiB", "1MiB", "2GiB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String returns the size in the largest unit of which it is a whole number.
func (s Size) String() string {
	for _, unit := range sizeUnits {
		if s != 0 && int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return "0B"
}

// MarshalText writes what String returns.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a size, which is at least one byte.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/unit.bytes || number[0] == '+' {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return errors.New("must be a size of at least one byte, such as 512B, 16KiB or 1MiB")
}
