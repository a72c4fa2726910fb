package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system that holds a store and nothing else.
type Disk struct{ path string }

// SmallDisk moves the store onto a file system of its own, of so many megabytes, and serves again. Where mounting is
// not permitted it skips the test; storage/bolt has one that needs no permission.
func (s *Server) SmallDisk(t testing.TB, megabytes string) *Disk {
	t.Helper()
	s.Stop()
	d := &Disk{path: filepath.Join(s.Dir, "disk")}
	if s.Redis != nil {
		s.Redis.Stop()
		d.path = filepath.Join(s.Redis.Dir, "appendonlydir")
	} else if err := os.Mkdir(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	d.mount(t, megabytes)
	s.under = append(s.under, d.unmount)
	if s.Redis != nil {
		s.Redis.Restart(t)
	} else {
		d.hold(t, filepath.Join(s.Dir, "bursar.db"))
	}
	s.Restart(t)
	return d
}

// unmount takes the file system away, from whoever still uses it when they end.
func (d *Disk) unmount(t testing.TB) {
	if out, err := exec.Command("umount", "-l", d.path).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
}

// mount hides the folder under an empty file system with the same files.
func (d *Disk) mount(t testing.TB, megabytes string) {
	t.Helper()
	kept := t.TempDir()
	err := os.CopyFS(kept, os.DirFS(d.path))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+megabytes+"m", "tmpfs", d.path).CombinedOutput()
	if err != nil {
		t.Skipf("a small disk cannot be mounted here: %v: %s", err, out)
	}
	if err := os.CopyFS(d.path, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
}

// hold moves a file onto the disk and leaves a link to it.
func (d *Disk) hold(t testing.TB, file string) {
	t.Helper()
	moved := filepath.Join(d.path, filepath.Base(file))
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(moved, text, 0o600)
	}
	if err == nil {
		err = os.Remove(file)
	}
	if err == nil {
		err = os.Symlink(moved, file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (d *Disk) ballast() string { return filepath.Join(d.path, "ballast") }

// Fill leaves no byte free.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	f, err := os.Create(d.ballast())
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, os.Getpagesize())
	for err == nil {
		_, err = f.Write(page)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// Free gives the space back.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}
