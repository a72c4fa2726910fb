package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Format is what a line holds of an event.
type Format string

// The formats of lines. Both have the log's origin and the event's index, by which a line that comes twice is known.
const (
	// SETs are lines {"origin":…,"index":…,"set":…} with the signed event as it was recorded; it can be verified.
	SETs Format = "set"
	// Claims are lines {"origin":…,"index":…,"claims":{…}} with what it says; they prove nothing.
	Claims Format = "json"
)

// line is an event in a file.
type line struct {
	Origin string          `json:"origin"`
	Index  int64           `json:"index"`
	SET    string          `json:"set,omitempty"`
	Claims json.RawMessage `json:"claims,omitempty"`
}

// errUnsigned is the error of an event that is to be copied with its signature and has none.
var errUnsigned = errors.New("the event is not signed")

// lines returns a batch as NDJSON.
func (f Format) lines(b Batch) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, e := range b.Events {
		l := line{Origin: b.Origin, Index: e.Index}
		switch f {
		case SETs:
			if l.SET = e.SET; l.SET == "" {
				return nil, errUnsigned
			}
		case Claims:
			l.Claims = e.Claims
		default:
			return nil, errors.New("a sink of lines has no format")
		}
		if err := enc.Encode(l); err != nil {
			return nil, errors.New("the claims of an event are not JSON")
		}
	}
	return out.Bytes(), nil
}

// Stream is a sink of lines on something that cannot be synced, such as standard output. What was written counts as
// given, though nobody may have read it yet.
type Stream struct {
	format Format
	mu     sync.Mutex // one batch at a time
	to     io.WriteCloser
	torn   bool // the last write ended within a line
}

// NewStream returns a sink that writes to w and closes it at the end.
func NewStream(w io.WriteCloser, f Format) *Stream { return &Stream{to: w, format: f} }

// Give writes the events.
func (s *Stream) Give(_ context.Context, b Batch) (int, error) {
	data, err := s.format.lines(b)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn {
		data = append([]byte{'\n'}, data...)
	}
	n, err := s.to.Write(data)
	if n > 0 {
		s.torn = data[n-1] != '\n'
	}
	if err != nil {
		return 0, fmt.Errorf("write lines: %w", err)
	}
	return len(b.Events), nil
}

// Close closes what is written to.
func (s *Stream) Close() error { return s.to.Close() }

// File is a sink of lines in a file, which is synced before anything counts as given. A file that was renamed or
// removed, as programs do that rotate logs, is followed by a new one of mode 0600.
type File struct {
	path   string
	format Format
	mu     sync.Mutex // one batch at a time
	file   *os.File   // nil if it has to be opened
}

// NewFile returns a sink that appends to the file at path. Its folder must exist when something is given.
func NewFile(path string, f Format) *File { return &File{path: path, format: f} }

// Give appends the events and syncs the file. After a failure some of them may be there, the last one in part; all of
// them come again on lines of their own.
func (f *File) Give(_ context.Context, b Batch) (int, error) {
	data, err := f.format.lines(b)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(); err != nil {
		return 0, err
	}
	_, err = f.file.Write(data)
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		// Whether a sync that failed can be repeated is unknown, and so is how the file ends now.
		return 0, errors.Join(err, f.release())
	}
	return len(b.Events), nil
}

// open makes f.file the one at the path.
func (f *File) open() error {
	there, err := os.Stat(f.path)
	switch {
	case err == nil && !there.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if f.file != nil {
		if ours, err := f.file.Stat(); err == nil && there != nil && os.SameFile(ours, there) {
			return nil
		}
		if err := f.release(); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.file = file
	if err := f.begin(there == nil); err != nil {
		return errors.Join(err, f.release())
	}
	return nil
}

// begin makes a new file one that a crash leaves there, and ends a line that an earlier failure left open.
func (f *File) begin(created bool) error {
	if created {
		dir, err := os.Open(filepath.Dir(f.path))
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	}
	info, err := f.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.file.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = f.file.Write([]byte{'\n'})
	}
	return err
}

// release closes the file; it is opened again when there is something to write.
func (f *File) release() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release()
}
