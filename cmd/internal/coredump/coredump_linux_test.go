package coredump_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bursar-sts/bursar/cmd/internal/coredump"
)

// The test is a process that dies, because what is forbidden cannot be allowed again.
func TestAProcessThatDiesLeavesNoCore(t *testing.T) {
	if os.Getenv("TEST_COREDUMP") != "" {
		die(t)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAProcessThatDiesLeavesNoCore$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TEST_COREDUMP="+dir, "GOTRACEBACK=crash")
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err == nil || !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Fatalf("it ended with %v: %s", err, out)
	}
	if status.CoreDump() {
		t.Error("the kernel says that it dumped core")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func die(t *testing.T) {
	raised := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &raised); err != nil {
		t.Fatal(err)
	}
	raised.Cur = raised.Max // as somebody may have set it
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &raised); err != nil {
		t.Fatal(err)
	}
	if err := coredump.Forbid(); err != nil {
		t.Fatal(err)
	}
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &now); err != nil || now.Cur != 0 || now.Max != 0 {
		t.Fatalf("core files of %+v are allowed: %v", now, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Fatalf("dumpable: %d, %v", dumpable, err)
	}
	if strings.Contains(t.Name(), "\x00") { // which keeps the compiler from seeing that nothing follows
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
	time.Sleep(time.Minute)
}
