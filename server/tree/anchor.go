package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Anchors keep the newest head of each log that a process saw outside the store, so that a store which was rolled back,
// or exchanged, is noticed at the next start.
type Anchors interface {
	// Load returns what Save kept last; the zero Head if there is nothing.
	Load(t ledger.Tenant) (ledger.Head, error)
	// Save keeps a head. It need not survive a crash of the machine: an older anchor sees less, and is not wrong.
	Save(t ledger.Tenant, h ledger.Head) error
	// Evidence returns what Keep kept last; the zero Evidence if there is nothing.
	Evidence(t ledger.Tenant) (Evidence, error)
	// Keep keeps evidence of a loss, so that no restart forgets it; the zero Evidence removes it.
	Keep(t ledger.Tenant, e Evidence) error
}

// Evidence is what a process knows of a log that it does not believe: what it had appended, and no head covered yet.
type Evidence struct {
	Epoch int64
	End   int64               // behind the last entry that the log had
	Own   map[int64]tlog.Hash // leaf hashes by index
}

// Save saves the anchors of all logs whose head has moved.
func (t *Trees) Save() error {
	var errs []error
	for _, l := range t.all() {
		l.mu.Lock()
		head, due := l.head, l.head.Epoch > 0 && l.halted == nil && !l.head.Same(l.saved)
		l.mu.Unlock()
		if !due {
			continue
		}
		if err := t.cfg.Anchors.Save(l.tenant, head); err != nil {
			errs = append(errs, fmt.Errorf("save the anchor of %s: %w", l.tenant, err))
			continue
		}
		l.mu.Lock()
		l.saved = head
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Folder keeps anchors as files of a folder, which is made with the first of them. Several processes may share it.
type Folder string

func (f Folder) file(t ledger.Tenant) string { return filepath.Join(string(f), string(t)+".json") }

func (f Folder) lost(t ledger.Tenant) string { return filepath.Join(string(f), string(t)+".lost.json") }

// Check reports why nothing can be kept in the folder.
func (f Folder) Check() error {
	return f.replace(filepath.Join(string(f), "writable"), struct{}{})
}

// Load reads the file of a log.
func (f Folder) Load(t ledger.Tenant) (h ledger.Head, err error) {
	text, err := os.ReadFile(f.file(t))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h, nil
	case err != nil || len(text) == 0: // as a power cut leaves a file that was being replaced
		return h, err
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("%s is damaged; remove it to go on without this check: %w", f.file(t), err)
	}
	return h, nil
}

// Save replaces the file of a log, unless it holds a newer head.
func (f Folder) Save(t ledger.Tenant, h ledger.Head) error {
	if last, err := f.Load(t); err == nil && (last.Epoch > h.Epoch || last.Epoch == h.Epoch && last.Size > h.Size) {
		return nil // of another process
	}
	return f.replace(f.file(t), h)
}

// Evidence reads the other file of a log.
func (f Folder) Evidence(t ledger.Tenant) (e Evidence, err error) {
	text, err := os.ReadFile(f.lost(t))
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	return e, err
}

// Keep replaces or removes the other file of a log.
func (f Folder) Keep(t ledger.Tenant, e Evidence) error {
	if e.End > 0 {
		return f.replace(f.lost(t), e)
	}
	if err := os.Remove(f.lost(t)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replace exchanges a file for one with other content.
func (f Folder) replace(name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	w, err := os.CreateTemp(string(f), "new-*")
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(w.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.Name()))
	}
	return nil
}

// NoAnchors keeps nothing: a store that is rolled back while no process runs is not noticed.
type NoAnchors struct{}

// Load returns no head.
func (NoAnchors) Load(ledger.Tenant) (ledger.Head, error) { return ledger.Head{}, nil }

// Save does nothing.
func (NoAnchors) Save(ledger.Tenant, ledger.Head) error { return nil }

// Evidence returns none.
func (NoAnchors) Evidence(ledger.Tenant) (Evidence, error) { return Evidence{}, nil }

// Keep does nothing.
func (NoAnchors) Keep(ledger.Tenant, Evidence) error { return nil }
