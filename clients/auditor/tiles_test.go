package auditor_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
)

func TestPathsAreThoseOfTlogTiles(t *testing.T) {
	for want, path := range map[string]string{
		"tile/0/000":                 auditor.TilePath(0, 0, 256),
		"tile/0/x001/234.p/7":        auditor.TilePath(0, 1234, 7),
		"tile/1/x001/x234/067":       auditor.TilePath(1, 1234067, 256),
		"tile/entries/999.p/255":     auditor.BundlePath(999, 255),
		"tile/entries/x001/x000/000": auditor.BundlePath(1000000, 256),
	} {
		if path != want {
			t.Errorf("path %s, want %s", path, want)
		}
	}
	// x/mod writes the same with the height of the tile in front, and names bundles "data".
	for _, index := range []int64{0, 1, 999, 1000, 1001, 999999, 1000000, 123456789} {
		for _, width := range []int{1, 255, 256} {
			want := tlog.Tile{H: 8, L: 3, N: index, W: width}.Path()
			path := auditor.TilePath(3, index, width)
			if path != strings.Replace(want, "tile/8/", "tile/", 1) {
				t.Errorf("path %s, x/mod says %s", path, want)
			}
			level, i, w, err := auditor.ParseTilePath(path)
			if level != 3 || i != index || w != width || err != nil {
				t.Errorf("%s is read as %d %d %d, %v", path, level, i, w, err)
			}
			i, w, err = auditor.ParseBundlePath(auditor.BundlePath(index, width))
			if i != index || w != width || err != nil {
				t.Errorf("the bundle of %s is read as %d %d, %v", path, i, w, err)
			}
		}
	}
}

func TestOtherSpellingsOfAPathAreRefused(t *testing.T) {
	for _, number := range []string{"", "0", "00", "0000", "1234", "x001", "x001/", "x001/x234", "x000/001", "001/234",
		"x001/23", "x1/234", "/001", "+01", "-01", "0x1", "001.p/0", "001.p/256", "001.p/07", "001.p/", "001.p/+7",
		"001.p/7/8", "001.p", "001/", "001.p/7.p/7", "x001.p/7", "..", "x../001", "00１",
		strings.Repeat("x999/", 6) + "999", strings.Repeat("x999/", 1000) + "999",
		"x036/x028/x797/x018/x963/967"} { // 2^63 / 256 - 1, whose last entry has no index
		if _, _, _, err := auditor.ParseTilePath("tile/0/" + number); err == nil {
			t.Errorf("tile %q is accepted", number)
		}
		if _, _, err := auditor.ParseBundlePath("tile/entries/" + number); err == nil {
			t.Errorf("bundle %q is accepted", number)
		}
	}
	for _, path := range []string{"", "tile", "tile/", "tile/0", "tile/8/000", "tile/00/000", "tile/-1/000", "tile//000",
		"/tile/0/000", "tile/x/000", "tile/entries/000", "0/000"} {
		if _, _, _, err := auditor.ParseTilePath(path); err == nil {
			t.Errorf("tile %q is accepted", path)
		}
	}
	for _, path := range []string{"", "tile/entries", "tile/entries/", "tile/0/000", "/tile/entries/000"} {
		if _, _, err := auditor.ParseBundlePath(path); err == nil {
			t.Errorf("bundle %q is accepted", path)
		}
	}
}

func TestBundleRoundTrip(t *testing.T) {
	var bundle []byte
	var want [][]byte
	for i := range auditor.TileWidth {
		entry := bytes.Repeat([]byte{byte(i)}, i+1)
		if i == 9 {
			entry = bytes.Repeat([]byte{9}, auditor.MaxEntry)
		}
		var err error
		if bundle, err = auditor.AppendEntry(bundle, entry); err != nil {
			t.Fatal(err)
		}
		want = append(want, entry)
	}
	got, err := auditor.SplitBundle(bundle)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("entry %d differs", i)
		}
	}
	for _, entry := range [][]byte{nil, make([]byte, auditor.MaxEntry+1)} {
		if _, err := auditor.AppendEntry(nil, entry); err == nil {
			t.Errorf("an entry of %d bytes is accepted", len(entry))
		}
	}
}

func TestBadBundlesAreRefused(t *testing.T) {
	one := []byte("\x00\x03abc")
	for want, bundle := range map[string][]byte{
		"the bundle is empty":                            nil,
		"the bundle ends in the length of its entry 1":   append(bytes.Clone(one), 0),
		"entry 1 of the bundle is empty":                 append(bytes.Clone(one), 0, 0),
		"entry 0 of the bundle is cut: 2 of 3 bytes":     one[:4],
		"entry 0 of the bundle is cut: 0 of 65535 bytes": {0xff, 0xff},
		"the bundle has 5 bytes after its 256 entries":   bytes.Repeat(one, 257),
		"entry 1 of the bundle is cut: 3 of 768 bytes":   append(bytes.Clone(one), "\x03\x00abc"...),
	} {
		if entries, err := auditor.SplitBundle(bundle); entries != nil || err == nil || err.Error() != want {
			t.Errorf("%d entries, %v, want %s", len(entries), err, want)
		}
	}
}

func FuzzSplitBundle(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x00\x00", "\x00\x03abc", "\x00\x03abc\x00\x01d", "\xff\xffx"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		entries, err := auditor.SplitBundle(bundle)
		if err != nil {
			if entries != nil {
				t.Error("refused, and returned")
			}
			return
		}
		var again []byte
		for _, entry := range entries {
			if again, err = auditor.AppendEntry(again, entry); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, bundle) || len(entries) > auditor.TileWidth {
			t.Errorf("%x is read as %d entries, and written as %x", bundle, len(entries), again)
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"tile/0/x001/234.p/7", "tile/entries/000", "tile/7/x001/x002/003"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if level, index, width, err := auditor.ParseTilePath(path); err == nil {
			if again := auditor.TilePath(level, index, width); again != path {
				t.Errorf("%q is read as %q", path, again)
			}
		}
		if index, width, err := auditor.ParseBundlePath(path); err == nil {
			if again := auditor.BundlePath(index, width); again != path {
				t.Errorf("%q is read as %q", path, again)
			}
		}
	})
}
