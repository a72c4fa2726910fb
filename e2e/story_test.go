package e2e_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// The story can be told again in the same place, whatever the last one left there, unless somebody else is at its
// address by now.
func TestTheStoryCanBeToldAgain(t *testing.T) {
	dir := t.TempDir()
	tell := func(demo string) (string, error) {
		out, err := exec.Command(harness.Program(t), "dev", "--once", "--data", dir, "--demo", demo).CombinedOutput()
		return string(out), err
	}
	var out string
	for _, demo := range []string{"payments", "mcp", "payments", "mcp"} {
		var err error
		if out, err = tell(demo); err != nil {
			t.Fatalf("%s: %v\n%s", demo, err, out)
		}
	}
	address := regexp.MustCompile(`bursar runs at http://(\S+),`).FindStringSubmatch(out)
	l, err := net.Listen("tcp", address[1])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err = tell("mcp")
	if err == nil || !strings.Contains(out, "a server at "+address[1]+", where another one listens") {
		t.Errorf("%v\n%s", err, out)
	}
}

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

// Every command of the story up to the revocation can be repeated in a shell, and does there what it did in the story:
// the keys are new ones then, and the first call that does not end goes on with the key that it began with.
func TestTheStorysCommandsCanBeRepeated(t *testing.T) {
	demo := harness.Dev(t, t.TempDir())
	opening, _, ok := strings.Cut(demo.Told, "$ bursar revoke ")
	if !ok {
		t.Fatalf("the story has no revocation:\n%s", demo.Told)
	}
	var script strings.Builder
	commands := regexp.MustCompile(`(?m)^  \$ (.*)$`).FindAllStringSubmatch(opening, -1)
	for _, command := range commands {
		script.WriteString(command[1] + "\nprintf '\\036%s' $?\n")
	}
	script.WriteString("kill %1\n") // the call that does not end
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "bash", "-mc", script.String())
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	printed := strings.Split(string(out), "\x1e")
	if len(printed) != len(commands)+1 {
		t.Fatalf("%v\n%s", err, out)
	}
	told, compared := strings.Split(opening, "\n  $ ")[1:], 0
	for i, command := range commands {
		refused := strings.Contains(command[1], "refunds.delete")
		if failed := !strings.HasPrefix(printed[i+1], "0"); failed != refused {
			t.Errorf("%s: exit code %.1s\n%s", command[1], printed[i+1], printed[i])
		}
		// What tells whether it did the same: which key was used, what was masked, which refusal.
		for _, mark := range regexp.MustCompile(`key-\d|\*{30,}|"code":"\w+"|\S+\.key\b`).
			FindAllString(strings.Join(strings.SplitN(told[i], "\n", 2)[1:], ""), -1) {
			compared++
			again := strings.NewReplacer("key-1", "key-3", "key-2", "key-4").Replace(mark)
			if !strings.Contains(printed[i], again) {
				t.Errorf("%s: prints no %s:\n%s", command[1], again, printed[i])
			}
		}
	}
	if compared < 8 {
		t.Errorf("only %d marks were compared", compared)
	}
}
