package auditor_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// unpack writes the files of an export into a directory, in no order.
func (x *export) unpack(dir string) {
	x.t.Helper()
	for name, data := range x.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			x.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			x.t.Fatal(err)
		}
	}
}

func openAndVerify(t *testing.T, path string, o auditor.Options) *auditor.Report {
	t.Helper()
	r, err := auditor.OpenExport(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := auditor.Verify(t.Context(), r, o)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return report
}

func TestAnExportIsAFileOrADirectory(t *testing.T) {
	w := newWorld(t, "acme").grow(600)
	w.event("one", "audit.prune", claims{"outcome": "allowed", "range": claims{"count": 512}})
	w.grow(1000)
	for _, w.pruned = range []int64{0, 256, 512} {
		x, dir := w.export(), t.TempDir()
		x.unpack(filepath.Join(dir, "unpacked"))
		for _, compress := range []bool{false, true} {
			packed := x.pack(compress)
			if !bytes.Equal(packed, x.pack(compress)) {
				t.Error("the same export has other bytes each time")
			}
			if err := os.WriteFile(filepath.Join(dir, map[bool]string{false: "tar", true: "tar.gz"}[compress]),
				packed, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"tar", "tar.gz", "unpacked"} {
			r := openAndVerify(t, filepath.Join(dir, name), w.options(700))
			if !r.Passed() || r.First != w.pruned || r.Entries != 1000-w.pruned {
				t.Errorf("%s from %d: %+v", name, w.pruned, r)
			}
		}
	}
}

func TestAFileInTheDirectoryThatIsNoPartIsAWarning(t *testing.T) {
	w, dir := newWorld(t, "acme").grow(10), t.TempDir()
	x := w.export()
	x.unpack(dir)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o644),
		os.WriteFile(secret, x.files["keys"], 0o644), os.Remove(filepath.Join(dir, "keys")),
		os.Symlink(secret, filepath.Join(dir, "keys"))); err != nil {
		t.Fatal(err)
	}
	r := openAndVerify(t, dir, w.options())
	extra := told{auditor.ExtraBytes, auditor.Malformed, -1, 0}
	expect(t, r, extra, extra, told{auditor.BadKeys, auditor.Forged, -1, 0}) // the link is not followed
}

func TestReadingThatFailsIsNoFinding(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	packed, broken := w.export().pack(false), errors.New("the disk is gone")
	for _, at := range []int{0, 1, 100, 5000, 100_000, len(packed)} {
		from := io.MultiReader(bytes.NewReader(packed[:at]), iotest.ErrReader(broken))
		r, err := auditor.NewReader(from)
		if err == nil {
			_, err = auditor.Verify(t.Context(), r, w.options())
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", at, err)
		}
	}
	if _, err := auditor.OpenExport(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Nothing in an export can be changed without being noticed. The vkey in it is for whoever has no other.
func TestEveryByteCounts(t *testing.T) {
	w := newWorld(t, "acme").grow(3)
	o := w.options()
	for _, name := range w.export().names {
		if name == "vkey" {
			continue
		}
		x := w.export()
		good := x.files[name]
		for at := 0; at < len(good); at += 3 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			x.put(name, bad)
			if r := x.verify(o); r.Passed() {
				t.Errorf("byte %d of %s was changed, and it passed", at, name)
			}
		}
	}
}

// A changed tile shows, although all entries are right.
func TestChangedTilesShow(t *testing.T) {
	w := newWorld(t, "acme").grow(600)
	for name, want := range map[string]told{
		"tile/0/001":      {auditor.RootMismatch, auditor.Edited, 259, 0},
		"tile/0/002.p/88": {auditor.RootMismatch, auditor.Edited, 515, 0},
		"tile/1/000.p/2":  {auditor.RootMismatch, auditor.Edited, -1, 0},
	} {
		x := w.export()
		data := bytes.Clone(x.files[name])
		data[min(3*32, len(data)-1)] ^= 1
		x.put(name, data)
		expect(t, x.verify(w.options()), want)
	}
	x := w.export()
	for _, name := range slices.Clone(x.names) { // they only help to find where something is wrong
		if strings.HasPrefix(name, "tile/") && !isBundle(name) {
			x.drop(name)
		}
	}
	if r := x.verify(w.options()); !r.Passed() {
		t.Errorf("without tiles: %v", toldBy(r))
	}
}

func TestBundlesThatAreMissing(t *testing.T) {
	w := newWorld(t, "acme").grow(1000)
	x := w.export()
	x.drop("tile/entries/001")
	expect(t, x.verify(w.options()), told{auditor.MissingEntries, auditor.Deleted, 256, 511},
		told{auditor.MissingEvent, auditor.Deleted, 255, 512}, told{auditor.MissingEvent, auditor.Deleted, 256, 513})
	x.drop("tile/0/001")
	expect(t, x.verify(w.options()), told{auditor.MissingEntries, auditor.Deleted, 256, 511},
		told{auditor.MissingEvent, auditor.Deleted, 255, 512}, told{auditor.MissingEvent, auditor.Deleted, 256, 513})
	x = w.export()
	x.put("tile/entries/001", x.files["tile/entries/001"][:1000])
	r := x.verify(w.options())
	if f := r.FirstError(); r.Passed() || f.Code != auditor.BadEvent || f.Index != 256 || f.To != 511 {
		t.Errorf("%v", toldBy(r))
	}
}

// archive makes a tar of what a Writer would not write.
func archive(t *testing.T, files ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range files {
		h.Mode = 0o644
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestWhatIsNoExportIsRefused(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	x := w.export()
	good := x.pack(false)
	member := func(name string, size int64) []byte { // after what is right
		return append(bytes.Clone(good[:len(good)-1024]), archive(t, &tar.Header{Name: name, Size: size})...)
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(zip, zeros{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{
		"nothing":                  nil,
		"rubbish":                  []byte("rubbish"),
		"gzip of nothing":          {0x1f, 0x8b},
		"gzip of zeros":            bomb.Bytes(),
		"cut":                      good[:len(good)/2],
		"more after the end":       append(bytes.Clone(good), "more"...),
		"a path that leads out":    member("../../etc/passwd", 3),
		"an absolute path":         member("/etc/passwd", 3),
		"another file":             member("tile/README", 3),
		"a link":                   archive(t, &tar.Header{Name: "checkpoint", Typeflag: tar.TypeSymlink, Linkname: "x"}),
		"a device":                 archive(t, &tar.Header{Name: "checkpoint", Typeflag: tar.TypeChar}),
		"a large checkpoint":       archive(t, &tar.Header{Name: "checkpoint", Size: 1 << 20}),
		"a large bundle":           member("tile/entries/002", 64<<20),
		"a tile that is not whole": member("tile/1/000.p/2", 63),
		"a tile of no such tree":   member("tile/1/001", 8192),
	} {
		r, err := auditor.NewReader(bytes.NewReader(packed))
		if err != nil {
			if !errors.Is(err, auditor.ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		report, err := auditor.Verify(t.Context(), r, w.options())
		if err != nil || report.Passed() || report.FirstError().Kind != auditor.Malformed && len(packed) > 0 &&
			report.FirstError().Code != auditor.MissingEntries {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}

// A re-packed export has its files in another order, and "./" before their names.
func TestARepackedExport(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	x := w.export()
	repack := func(names []string) []byte {
		var out bytes.Buffer
		tw := tar.NewWriter(&out)
		_ = tw.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755})
		for _, name := range names {
			_ = tw.WriteHeader(&tar.Header{Name: "./" + name, Size: int64(len(x.files[name])), Mode: 0o644})
			_, _ = tw.Write(x.files[name])
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	if r := verify(t, repack(x.order()), w.options()); !r.Passed() {
		t.Errorf("in order: %v", toldBy(r))
	}
	names := x.order()
	names[3], names[5] = names[5], names[3]
	r, err := auditor.NewReader(bytes.NewReader(repack(names)))
	if err != nil {
		t.Fatal(err)
	}
	if report, err := auditor.Verify(t.Context(), r, w.options()); report != nil || !errors.Is(err, auditor.ErrOrder) {
		t.Errorf("out of order: %+v, %v", report, err)
	}
}

// However much a bomb holds, little is kept of it.
func TestBombs(t *testing.T) {
	w := newWorld(t, "acme").grow(1)
	one := w.export()
	many := auditor.Checkpoint{Origin: "sts.example/t/acme/log", Size: 1 << 40, Root: root(nil)}
	checkpoint := signNote(t, many.Text(), w.signer)
	tiny, err := auditor.AppendEntry(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(w *auditor.Writer, i int64) error{
		"bundles": func(w *auditor.Writer, i int64) error {
			return w.Add(auditor.BundlePath(i, 256), bytes.Repeat(tiny, 256))
		},
		"small bundles": func(w *auditor.Writer, i int64) error { return w.Add(auditor.BundlePath(i, 256), tiny) },
		"bundles far apart": func(w *auditor.Writer, i int64) error {
			return w.Add(auditor.BundlePath(i*1_000_003, 256), tiny)
		},
		"tiles": func(w *auditor.Writer, i int64) error {
			return w.Add(auditor.TilePath(0, i, 256), make([]byte, 8192))
		},
		"upper tiles": func(w *auditor.Writer, i int64) error {
			return w.Add(auditor.TilePath(1, i, 256), make([]byte, 8192))
		},
	} {
		var out bytes.Buffer
		packer := auditor.NewWriter(&out, true)
		if err := errors.Join(packer.Add("checkpoint", checkpoint), packer.Add("keys", one.files["keys"])); err != nil {
			t.Fatal(err)
		}
		for i := range int64(20_000) {
			if err := write(packer, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := packer.Close(); err != nil {
			t.Fatal(err)
		}
		from := &counter{from: &out}
		r, err := auditor.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		report, err := auditor.Verify(t.Context(), r, w.options())
		if err != nil || report.Passed() || len(report.Findings) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
		if out.Len() == 0 {
			t.Errorf("%s: it was read to the end", name)
		}
	}
}

type counter struct{ from io.Reader }

func (c *counter) Read(p []byte) (int, error) { return c.from.Read(p[:min(len(p), 512)]) }

// The writer has the order of an export, and nothing else.
func TestAWriterWritesExportsOnly(t *testing.T) {
	for _, names := range [][]string{
		{"keys", "checkpoint"}, {"checkpoint", "checkpoint"}, {"README"}, {"../checkpoint"},
		{"tile/entries/001", "tile/entries/000"}, {"tile/entries/000", "tile/0/000.p/1"},
	} {
		w := auditor.NewWriter(io.Discard, false)
		var err error
		for _, name := range names {
			size := 10
			if strings.HasPrefix(name, "tile/0") {
				size = 32
			}
			err = errors.Join(err, w.Add(name, make([]byte, size)))
		}
		if !errors.Is(err, auditor.ErrFormat) && !errors.Is(err, auditor.ErrOrder) {
			t.Errorf("%v is written: %v", names, err)
		}
	}
}

func TestLayout(t *testing.T) {
	list := func(first, size int64) string {
		var names []string
		for f := range auditor.Layout(first, size) {
			names = append(names, strings.TrimPrefix(f.Name, "tile/"))
		}
		return strings.Join(names, " ")
	}
	for want, got := range map[string]string{
		"":                            list(0, 0),
		"0/000.p/1 entries/000.p/1":   list(0, 1),
		"0/000 entries/000 1/000.p/1": list(0, 256),
		"1/000.p/2 0/001 entries/001 0/002.p/88 entries/002.p/88":         list(256, 600),
		"1/001.p/1 2/000.p/1 0/257.p/5 entries/257.p/5":                   list(257*256, 257*256+5),
		"2/000.p/1 0/256 entries/256 0/257.p/5 entries/257.p/5 1/001.p/1": list(256*256, 257*256+5),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
