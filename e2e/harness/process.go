package harness

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// supervise runs a program in the shell's own process, beside a watchman who kills it when the test binary is gone: the
// kernel then closes the pipe that the watchman reads. A line on the pipe dismisses him.
const supervise = `exec 3<&0
(exec >/dev/null 2>&1; read dismissed <&3 || kill -9 $$) &
exec "$@" 3<&- </dev/null`

// process is a program that does not outlive the tests.
type process struct {
	cmd   *exec.Cmd
	watch io.WriteCloser
	done  chan struct{} // closed when it has ended
}

// start runs a program. Its output goes to out; stdout, if not nil, gets its standard output instead.
func start(t testing.TB, out, stdout *os.File, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("sh", append([]string{"-c", supervise, "sh", program}, args...)...)}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	var err error
	if p.watch, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // how it ended is for the test to judge
		close(p.done)
	}()
	return p
}

// end sends a signal and waits until the program has ended. Ending it twice is harmless.
func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal)
	<-p.done
	_, _ = p.watch.Write([]byte("\n"))
	_ = p.watch.Close()
}

// ended reports whether the program has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Run runs a program of somebody else's until stop is called, or the test ends. What it prints goes to the end of a
// file.
func Run(t testing.TB, output, program string, args ...string) (stop func()) {
	t.Helper()
	out, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	p := start(t, out, nil, program, args...)
	stop = sync.OnceFunc(func() { p.end(syscall.SIGTERM) })
	t.Cleanup(func() {
		stop()
		if text, err := os.ReadFile(output); err == nil && t.Failed() {
			t.Logf("output of %s:\n%s", program, tail(text, 8<<10))
		}
	})
	return stop
}
