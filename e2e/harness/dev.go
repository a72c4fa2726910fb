package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Program is the path of the bursar binary, for tests that run it as a reader of the documentation does.
func Program(t testing.TB) string {
	t.Helper()
	return binary(t, "bursar")
}

// Demo is a `bursar dev` whose story is told. Its state is in Dir.
type Demo struct {
	Dir, Server, Shim, Legacy string // the last three are base URLs
	Told                      string // what it printed
}

// Dev runs `bursar dev` with its state in dir, and further arguments, until the test ends.
func Dev(t testing.TB, dir string, args ...string) *Demo {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "dev.out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	p := start(t, out, nil, binary(t, "bursar"), append([]string{"dev", "--data", dir}, args...)...)
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
	d := &Demo{Dir: dir, Told: read()}
	opening, _, _ := strings.Cut(d.Told, ": everything on this machine")
	found := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindAllString(opening, -1)
	if len(found) != 5 {
		t.Fatalf("bursar dev names the addresses %q:\n%s", found, opening)
	}
	d.Server, d.Shim, d.Legacy = found[0], found[1], found[3] // the issuers are at found[2], the MCP server at found[4]
	return d
}

// Here writes a text of the documentation as it is on this machine, where a port may have been taken.
func (d *Demo) Here() *strings.Replacer {
	return strings.NewReplacer("/tmp/acme", d.Dir, "http://127.0.0.1:8080", d.Server, "http://127.0.0.1:8081", d.Shim,
		"http://127.0.0.1:8083", d.Legacy)
}
