package retain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
)

// archive writes the bundles before an entry into the archive of a log, which grows by that, and names the checkpoint
// that covers all of it. What is there already must be the same. When it returns, all is on disk, and what was read back
// from there makes the root of that checkpoint.
func (r *Retainer) archive(ctx context.Context, l Log, h ledger.Head, end int64) (a audit.Archive, err error) {
	past, err := r.cfg.Trees.Past(ctx, l.Origin, end)
	if err != nil {
		return a, err
	}
	origin := auditor.Origin(l.Issuer, past.Epoch)
	to := &folder{root: filepath.Join(r.cfg.Archive, filepath.FromSlash(origin)), changed: map[string]bool{}}
	parts := map[string]bool{} // the tiles that may still grow
	for f := range auditor.Layout(h.First, end) {
		data, err := r.file(ctx, l, f)
		if err == nil {
			err = to.add(f.Name, data)
		}
		if err != nil {
			return a, err
		}
		parts[f.Name] = true
		if f.Level == auditor.Entries {
			if err := r.take(ctx, l); err != nil {
				return a, err
			}
		}
	}
	if err := to.sync(); err != nil {
		return a, err
	}
	if err := r.verify(ctx, l, to, h.First, past); err != nil {
		return a, err
	}
	if err := r.head(ctx, l, to, past); err != nil {
		return a, err
	}
	return audit.Archive{Name: path.Join(origin, auditor.CheckpointFile), Hash: audit.Digest(past.Note)},
		to.clean(parts)
}

// file returns the content of a file of the archive.
func (r *Retainer) file(ctx context.Context, l Log, f auditor.File) (data []byte, err error) {
	if f.Level != auditor.Entries {
		return r.cfg.Trees.Tile(ctx, l.Tenant, f.Level, f.Index, f.Width)
	}
	entries, err := r.entries(ctx, l, f.Index)
	for _, entry := range entries {
		if err == nil {
			data, err = auditor.AppendEntry(data, entry)
		}
	}
	return data, err
}

// head writes what the archive is verified by; the checkpoint last, since it tells of all that is there.
func (r *Retainer) head(ctx context.Context, l Log, to *folder, past ledger.Head) error {
	keys, err := r.cfg.Keys.Keys(ctx, l.Origin)
	if err != nil {
		return err
	}
	vkeys, err := r.cfg.Keys.VerifierKey(ctx, l.Origin)
	if err != nil {
		return err
	}
	for _, f := range []auditor.File{{Name: auditor.KeysFile, Data: keys},
		{Name: auditor.VKeyFile, Data: []byte(strings.Join(vkeys, "\n") + "\n")},
		{Name: auditor.CheckpointFile, Data: past.Note}} {
		if err := errors.Join(to.replace(f.Name, f.Data), to.sync()); err != nil {
			return err
		}
	}
	return nil
}

// verify reads the archive back from an entry on, up to its end, and holds it against the root there.
func (r *Retainer) verify(ctx context.Context, l Log, to *folder, first int64, past ledger.Head) error {
	edge, err := auditor.ResumeEdge(first, func(level int, index int64, width int) ([]tlog.Hash, error) {
		data, err := r.cfg.Trees.Tile(ctx, l.Tenant, level, index, width)
		return hashes(data), err
	})
	if err != nil {
		return err
	}
	var made []auditor.HashTile
	for index := first / auditor.TileWidth; index < past.Size/auditor.TileWidth; index++ {
		data, err := to.read(auditor.BundlePath(index, auditor.TileWidth))
		if err != nil {
			return err
		}
		entries, err := auditor.SplitBundle(data)
		if err != nil {
			return fmt.Errorf("read bundle %d back: %w", index, err)
		}
		for _, entry := range entries {
			made = append(made, edge.Append(tlog.RecordHash(entry))...)
		}
	}
	if edge.Size() != past.Size || edge.Root() != tlog.Hash(past.Root) {
		return errors.New("what was read back is not what the log holds")
	}
	for _, tile := range append(made, edge.Partial()...) {
		name := auditor.TilePath(tile.Level, tile.Index, len(tile.Hashes))
		data, err := to.read(name)
		if err != nil {
			return err
		}
		if !slices.Equal(hashes(data), tile.Hashes) {
			return fmt.Errorf("the tile %s is not that of its entries", name)
		}
	}
	return nil
}

func hashes(data []byte) (all []tlog.Hash) {
	for h := range slices.Chunk(data, tlog.HashSize) {
		if len(h) == tlog.HashSize {
			all = append(all, tlog.Hash(h))
		}
	}
	return all
}

// folder is the archive of a log.
type folder struct {
	root    string
	changed map[string]bool // folders whose entries are not on disk yet
}

func (f *folder) at(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

func (f *folder) read(name string) ([]byte, error) { return os.ReadFile(f.at(name)) }

// add writes a file that never changes.
func (f *folder) add(name string, data []byte) error {
	old, err := f.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.replace(name, data)
	case err != nil:
		return err
	case !bytes.Equal(old, data):
		return fmt.Errorf("%s holds something else than the log; move it away, or name another archive", f.at(name))
	}
	f.changed[filepath.Dir(f.at(name))] = true // by a process that may have died before it was on disk
	return nil
}

// unfinished is a file that is being written.
const unfinished = ".new-*"

// replace writes a file, whole or not at all, and syncs it.
func (f *folder) replace(name string, data []byte) error {
	to := f.at(name)
	if err := f.make(filepath.Dir(to)); err != nil {
		return err
	}
	w, err := os.CreateTemp(f.root, unfinished)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Sync(), w.Close())
	if err == nil {
		err = os.Rename(w.Name(), to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.Name()))
	}
	f.changed[filepath.Dir(to)] = true
	return nil
}

// make makes a folder, and those that it is in.
func (f *folder) make(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := f.make(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f.changed[filepath.Dir(dir)] = true
	return nil
}

// sync puts the entries of folders on disk.
func (f *folder) sync() error {
	for dir := range f.changed {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	clear(f.changed)
	return nil
}

// clean removes the tiles that have grown since they were written, and what a process left behind that died.
func (f *folder) clean(keep map[string]bool) error {
	left, err := filepath.Glob(f.at(unfinished))
	if err != nil {
		return err
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for level := 1; level <= auditor.MaxLevel; level++ {
		top := f.at(fmt.Sprintf("tile/%d", level))
		err := filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(f.root, file)
			if err != nil {
				return err
			}
			_, _, width, err := auditor.ParseTilePath(filepath.ToSlash(name))
			if err == nil && (width == auditor.TileWidth || keep[filepath.ToSlash(name)]) {
				return nil
			}
			return os.Remove(file)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
