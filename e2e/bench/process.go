package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervise runs a program in the shell's own process, beside a watchman who kills it when the pipe from us closes,
// which the kernel does however we end.
const supervise = `exec 3<&0
(exec >/dev/null 2>&1; read never <&3; kill -9 $$) &
exec "$@" 3<&- </dev/null`

// process is a program that does not outlive this one.
type process struct {
	cmd   *exec.Cmd
	watch io.Closer
}

// start runs a program whose standard output and standard error go to out; env is added to our own environment.
func start(out *os.File, env []string, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command("sh", append([]string{"-c", supervise, "sh", program}, args...)...)}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = out, out, append(os.Environ(), env...)
	var err error
	if p.watch, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// stop ends the program politely and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = p.cmd.Wait()                          // how it ends is not what is measured
	_ = p.watch.Close()
}

// tick is the unit of CPU times in /proc, on every architecture that Go runs Linux on.
const tick = 10 * time.Millisecond

// usage is CPU time that a process has spent: altogether, to the nanosecond, and of that in the kernel, in ticks.
type usage struct{ total, system time.Duration }

func (u usage) minus(v usage) usage { return usage{u.total - v.total, u.system - v.system} }

// cpu returns what the process has spent so far. The kernel has a clock of it (clock_getcpuclockid(3): the process's
// number inverted, shifted by three bits, and two for the time that it ran).
func (p *process) cpu() (usage, error) {
	var ran unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid)<<3|2, &ran); err != nil {
		return usage{}, fmt.Errorf("read CPU time (Linux only): %w", err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return usage{}, fmt.Errorf("read CPU time (Linux only): %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return usage{}, errors.New("read CPU time: /proc/<pid>/stat is not understood")
	}
	system, err := strconv.Atoi(fields[12])
	return usage{time.Duration(ran.Nano()), time.Duration(system) * tick}, err
}

// memory returns the resident set of the process, in bytes.
func (p *process) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read memory (Linux only): %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if kilobytes, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kilobytes), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("read memory: no VmRSS")
}
