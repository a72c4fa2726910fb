package serve

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/config"
)

// unheard is the environment variable that makes a process of this test write where nobody reads.
const unheard = "BURSAR_TEST_UNHEARD"

// TestNobodyHasToReadStandardOutput: a log shipper that died does not take the server with it.
func TestNobodyHasToReadStandardOutput(t *testing.T) {
	if os.Getenv(unheard) != "" {
		out, err := standardOutput()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = out.Write([]byte("line\n")); !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
		os.Exit(7)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env, cmd.Stdout = append(os.Environ(), unheard+"=yes"), write
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	_ = write.Close()
}

// TestAKindOfSinkIsOpened, each of them, and no other.
func TestAKindOfSinkIsOpened(t *testing.T) {
	s := &Server{cfg: Config{Config: new(config.Config), Secrets: new(config.Secrets)}}
	for _, kind := range []config.SinkKind{config.SinkFile, config.SinkStdout, config.SinkWebhook, config.SinkOTLP} {
		sink, err := s.newSink(config.Sink{Kind: kind, Path: filepath.Join(t.TempDir(), "x"), URL: "http://127.0.0.1:1"})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if err := sink.Close(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if sink, err := s.newSink(config.Sink{Kind: "kafka"}); err == nil || sink != nil {
		t.Errorf("%v %v", sink, err)
	}
}

// TestWhatAServerDoesIsCopied: the tenant's log, and the platform's.
func TestWhatAServerDoesIsCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "copy")
	s := start(t, func(c *config.Config) {
		c.Audit.Sinks = []config.Sink{{Name: "copy", Kind: config.SinkFile, Path: path, Format: config.FormatJSON}}
	})
	file := []byte("apiVersion: bursar/v1\ntenant: acme\n")
	if _, err := s.Apply(t.Context(), "acme", file, operator.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	origin := strings.TrimPrefix(s.cfg.BaseURL, "http://")
	for _, name := range []string{"/log", "/t/acme/log"} {
		line := `{"origin":"` + origin + name + `","index":1,"claims":{`
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), line) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("there is no line %s…", line)
			}
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}
