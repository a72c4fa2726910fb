package e2e_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// The story of dev ends with the log verified, and with one byte of a copy changed: by a command that does the same in
// a shell, and at the end of which the verifier complains.
func TestTheStoryEndsWithTheLog(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command(harness.Program(t), "dev", "--once", "--data", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, end, _ := strings.Cut(string(out), "$ bursar audit export --tenant acme -o ")
	holds(t, end, "\n  passed: ", "\n  FAILED: edited, entry ", "(root-mismatch)")
	changed := filepath.Join(dir, "changed.tar")
	want := readFile(t, changed)
	commands := regexp.MustCompile(`(?m)^  \$ (cp .*|bursar audit verify .*)$`).FindAllStringSubmatch(end, -1)
	if len(commands) != 3 {
		t.Fatalf("found %q", commands)
	}
	for _, command := range commands {
		text := command[1]
		if arguments, ok := strings.CutPrefix(text, "bursar "); ok {
			text = harness.Program(t) + " " + arguments
		}
		shown, err := exec.Command("sh", "-c", text).CombinedOutput()
		fails := strings.Contains(text, " verify "+changed)
		if (err != nil) != fails || fails != bytes.HasPrefix(shown, []byte("FAILED: edited, entry ")) {
			t.Errorf("%s: %v\n%s", text, err, shown)
		}
	}
	if readFile(t, changed) != want || want == readFile(t, filepath.Join(dir, "acme.tar")) {
		t.Error("the command does not change what the story changed")
	}
}
