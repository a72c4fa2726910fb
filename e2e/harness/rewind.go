package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// SaveStore returns what puts the store back as it is now. Both stop the server, and do not start it again; its anchors
// stay as they are.
func (s *Server) SaveStore(t testing.TB) (restore func()) {
	t.Helper()
	kept := t.TempDir()
	s.Stop()
	s.copyStore(t, s.storeFolder(), kept)
	return func() {
		t.Helper()
		s.Stop()
		s.copyStore(t, kept, s.storeFolder())
	}
}

func (s *Server) storeFolder() string {
	if s.Redis != nil {
		return filepath.Join(s.Redis.Dir, "appendonlydir")
	}
	return s.Dir
}

// copyStore copies the files of a store that nobody uses.
func (s *Server) copyStore(t testing.TB, from, to string) {
	t.Helper()
	if s.Redis != nil {
		s.Redis.Stop()
		defer s.Redis.Restart(t)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(filepath.Join(from, "bursar.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "bursar.db"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
