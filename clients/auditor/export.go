package auditor

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// ErrFormat is in every error about what an export holds, as opposed to failures to read it.
var ErrFormat = errors.New("not an export")

// ErrOrder means that the files of an export are in another order than they were written in, as when it was unpacked
// and packed again. Nothing is known of the log then; unpacked, in a directory, it can be verified.
var ErrOrder = errors.New("the files of the export are not in their order: unpack it, and verify the directory")

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Writer writes an export as a tar. The same log makes the same bytes.
type Writer struct {
	tar  *tar.Writer
	zip  *gzip.Writer // nil if it is not compressed
	past sequence
}

// NewWriter returns a Writer to w, which compresses by gzip if compress is set. Close it.
func NewWriter(w io.Writer, compress bool) *Writer {
	if !compress {
		return &Writer{tar: tar.NewWriter(w)}
	}
	zip := gzip.NewWriter(w)
	return &Writer{tar: tar.NewWriter(zip), zip: zip}
}

// Add writes the next file: the checkpoint, the keys, the vkey, then those of Layout.
func (w *Writer) Add(name string, data []byte) error {
	f, err := w.past.next(name, int64(len(data)))
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	header := tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}
	if err := w.tar.WriteHeader(&header); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	if _, err := w.tar.Write(data); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// Close ends the export; it does not close what is below it.
func (w *Writer) Close() error {
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	if w.zip == nil {
		return nil
	}
	if err := w.zip.Close(); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// sequence is where in an export one is. No file comes twice, so that each is read when its turn is and not kept.
type sequence struct {
	started bool
	last    [4]int64
	bundles bool // there was one
}

// next accepts a file of so many bytes if its turn can be now.
func (s *sequence) next(name string, size int64) (File, error) {
	f, most, err := parseFile(name)
	if err != nil {
		return File{}, formatError("%v", err)
	}
	if size > int64(most) || f.Width > 0 && f.Level != Entries && size < int64(most) {
		return File{}, formatError("%s has %d bytes, and would have %d", f.Name, size, most)
	}
	now := s.place(f)
	if s.started && slices.Compare(now[:], s.last[:]) <= 0 {
		return File{}, fmt.Errorf("%w (at %s)", ErrOrder, f.Name)
	}
	s.started, s.last = true, now
	s.bundles = s.bundles || now[0] == 4
	return f, nil
}

// place returns where in the order of Layout a file is.
func (s *sequence) place(f File) [4]int64 {
	switch {
	case f.Width == 0:
		return [4]int64{int64(slices.Index([]string{CheckpointFile, KeysFile, VKeyFile}, f.Name))}
	case f.Level == 0:
		return [4]int64{4, f.Index, 0}
	case f.Level == Entries:
		return [4]int64{4, f.Index, 1}
	case s.bundles:
		return [4]int64{5, int64(f.Level), f.Index}
	default:
		return [4]int64{3, int64(f.Level), f.Index}
	}
}

// Reader reads an export, file by file. It bounds what it takes into memory by the name of each file.
type Reader struct {
	Strays []string // files in a directory that are not part of the export; they are passed over

	open  func(context.Context) (name string, size int64, content io.Reader, err error)
	close func() error
	past  sequence
}

// Next returns the next file, io.EOF after the last one, and an error with ErrFormat or ErrOrder if what follows is no
// part of an export. The file's Data is the caller's.
func (r *Reader) Next(ctx context.Context) (File, error) {
	if err := ctx.Err(); err != nil {
		return File{}, err
	}
	name, size, content, err := r.open(ctx)
	if err != nil {
		return File{}, err
	}
	f, err := r.past.next(name, size)
	if err != nil {
		return File{}, err
	}
	f.Data = make([]byte, size)
	if _, err := io.ReadFull(content, f.Data); err != nil {
		return File{}, fmt.Errorf("read %s: %w", f.Name, err)
	}
	return f, nil
}

// Close closes what OpenExport opened.
func (r *Reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// OpenExport opens the export at path: a tar, one that is compressed by gzip, or a directory. Close it.
func OpenExport(path string) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fmt.Errorf("open export: %w", err)
		}
		r, err := readFS(root.FS())
		if err != nil {
			return nil, errors.Join(err, root.Close())
		}
		r.close = root.Close
		return r, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.close = f.Close
	return r, nil
}

// NewReader returns a Reader of a tar, which may be compressed by gzip.
func NewReader(from io.Reader) (*Reader, error) {
	below := &source{from: from}
	b := bufio.NewReaderSize(below, 64<<10)
	magic, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read export: %w", err)
	}
	var plain io.Reader = b
	if bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if plain, err = gzip.NewReader(b); err != nil {
			return nil, below.explain(err)
		}
	}
	t := &tarFiles{tar: tar.NewReader(plain), plain: plain, below: below}
	return &Reader{open: t.next}, nil
}

// source remembers whether it failed, so that this can be told from bytes that are no tar.
type source struct {
	from io.Reader
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) explain(err error) error {
	if s.err != nil {
		return fmt.Errorf("read export: %w", s.err)
	}
	return formatError("neither a tar nor a tar.gz that is whole: %v", err)
}

// tarFiles reads the files of a tar.
type tarFiles struct {
	tar   *tar.Reader
	plain io.Reader
	below *source
}

func (t *tarFiles) next(ctx context.Context) (string, int64, io.Reader, error) {
	for ctx.Err() == nil {
		header, err := t.tar.Next()
		switch {
		case err == io.EOF:
			return "", 0, nil, t.end()
		case err != nil:
			return "", 0, nil, t.below.explain(err)
		case header.Typeflag == tar.TypeDir: // of one that was packed again
		case header.Typeflag != tar.TypeReg:
			return "", 0, nil, formatError("%q is not a regular file", shown(header.Name))
		default:
			return strings.TrimPrefix(header.Name, "./"), header.Size, content{t}, nil
		}
	}
	return "", 0, nil, ctx.Err()
}

// end reports what follows the tar's end: zeros, or it is not the end.
func (t *tarFiles) end() error {
	const padding = 1 << 20 // more than any tar has
	rest, err := io.ReadAll(io.LimitReader(t.plain, padding+1))
	switch {
	case err != nil:
		return t.below.explain(err)
	case len(rest) > padding || len(bytes.Trim(rest, "\x00")) > 0:
		return formatError("there are bytes after the end of the tar")
	}
	return io.EOF
}

// content is the content of a tar's file.
type content struct{ *tarFiles }

func (c content) Read(p []byte) (int, error) {
	n, err := c.tar.Read(p)
	if err != nil && err != io.EOF {
		err = c.below.explain(err)
	}
	return n, err
}

// maxFiles bounds the files of a directory, so that their names fit into memory: those of 500 million entries.
const maxFiles = 1 << 22

// readFS returns a Reader of an export's files. Links and other files that are not regular ones are no part of it.
func readFS(fsys fs.FS) (*Reader, error) {
	r := &Reader{}
	var files []File
	first, found := int64(0), false
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, _, err := parseFile(name)
		if err != nil || !d.Type().IsRegular() {
			if len(r.Strays) < 10 {
				r.Strays = append(r.Strays, shown(name))
			}
			return nil
		}
		if f.Level == Entries && (!found || f.Index < first) {
			first, found = f.Index, true
		}
		if files = append(files, f); len(files) > maxFiles {
			return formatError("the directory has more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read export: %w", err)
	}
	slices.SortFunc(files, func(a, b File) int {
		x, y := dirPlace(a, first*TileWidth), dirPlace(b, first*TileWidth)
		return slices.Compare(x[:], y[:])
	})
	r.open = func(context.Context) (string, int64, io.Reader, error) { return nextFile(fsys, &files) }
	return r, nil
}

// dirPlace returns where in the order of Layout a file is, in an export that begins with the entry first.
func dirPlace(f File, first int64) [4]int64 {
	early := f.Level > 0 && f.Index<<(8*(f.Level+1)) < first
	return (&sequence{bundles: !early}).place(f)
}

// nextFile opens, reads and closes the first of the files.
func nextFile(fsys fs.FS, files *[]File) (string, int64, io.Reader, error) {
	if len(*files) == 0 {
		return "", 0, nil, io.EOF
	}
	name := (*files)[0].Name
	*files = (*files)[1:]
	_, most, err := parseFile(name)
	if err != nil {
		return "", 0, nil, formatError("%v", err)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return "", 0, nil, fmt.Errorf("read export: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return "", 0, nil, fmt.Errorf("read export: %w", err)
	}
	return name, int64(len(data)), bytes.NewReader(data), nil
}
