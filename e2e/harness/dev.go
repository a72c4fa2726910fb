package harness

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Program is the path of the bursar binary, for tests that run it as a reader of the documentation does.
func Program(t testing.TB) string {
	t.Helper()
	return binary(t, "bursar")
}

// Dev runs `bursar dev` with its state in dir until the test ends. It returns the address of its server once the story
// is told.
func Dev(t testing.TB, dir string) (server string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "dev.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	p := start(t, out, nil, binary(t, "bursar"), "dev", "--data", dir)
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	read := func() string {
		told, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(told)
	}
	Eventually(t, "the story is told", func() bool {
		if p.ended() {
			t.Fatalf("bursar dev ended:\n%s", read())
		}
		return strings.Contains(read(), "Everything stays up")
	})
	_, rest, _ := strings.Cut(read(), "bursar runs at ")
	server, _, _ = strings.Cut(rest, ",")
	return server
}
