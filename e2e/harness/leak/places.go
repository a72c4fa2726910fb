package leak

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Folder searches every file under dir but those of the given names, and returns how many it searched.
func (o *Oracle) Folder(t testing.TB, dir string, except ...string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.Contains(except, d.Name()) {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // a store that is in use replaces its files
			return nil
		}
		files++
		o.Check(t, path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Memory searches the memory of a process: everything that a core image of it would hold, and what it has only mapped.
// It returns how many bytes it could search.
func (o *Oracle) Memory(t testing.TB, pid int) (size int64, found []Finding) {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = maps.Close() }()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil {
			continue // beyond what a signed number holds: the kernel's own page
		}
		if !strings.HasPrefix(rights, "r") {
			continue
		}
		n, more := o.stretch(memory, from, to)
		size += n
		found = append(found, more...)
	}
	return size, found
}

// stretch searches memory in blocks that overlap by more than any pattern is long.
func (o *Oracle) stretch(memory io.ReaderAt, from, to int64) (size int64, found []Finding) {
	const overlap = 64 << 10
	block := make([]byte, 8<<20)
	for at := from; at < to; at += int64(len(block)) - overlap {
		n, _ := memory.ReadAt(block[:min(int64(len(block)), to-at)], at) // some of it cannot be read by anybody
		size += int64(n)
		found = append(found, o.Scan(block[:n])...)
		if int64(n) < int64(len(block)) {
			break
		}
	}
	return size, found
}
