package storagetest

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second
)

// supervise runs a server until it ends or until our end of its input closes, which the kernel does even if the test
// binary is killed: no server outlives the tests. $1 is a folder to remove afterwards, or empty.
const supervise = `dir=$1; shift; exec 3<&0
"$@" >/dev/null 2>&1 & pid=$!; echo $pid
(cat <&3; kill -9 $pid; [ -z "$dir" ] || rm -rf "$dir") >/dev/null 2>&1 &
wait $pid`

// RedisServer is a real redis-server process of our own, on a free port of 127.0.0.1.
type RedisServer struct {
	Addr string // host:port
	Dir  string // where its data and its log are

	args  []string
	owned string // folder that goes when the server does
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	pid   int
}

// Redis returns the URL of a Redis with an append-only file. All tests of a binary share it; use a new tenant in each.
func Redis(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.URL()
}

var shared = sync.OnceValues(func() (*RedisServer, error) {
	dir, err := os.MkdirTemp("", "bursar-redis-")
	if err != nil {
		return nil, err
	}
	return start(&RedisServer{Dir: dir, owned: dir}, nil)
})

// StartRedis starts a Redis that this test may stop and restart; args are further options of redis-server and win over
// the usual ones.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	s, err := start(&RedisServer{Dir: t.TempDir()}, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// start finds a free port and starts s there; somebody else may take the port first, so it tries a few.
func start(s *RedisServer, args []string) (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("these tests need a real Redis: apt-get install redis-server")
	}
	var err error
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		s.args = append([]string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "yes",
			"--logfile", filepath.Join(s.Dir, "redis.log"),
		}, args...)
		if err = s.launch(); err == nil {
			return s, nil
		}
		s.Kill()
	}
	return nil, err
}

// FreePort returns a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Ports are handed out from below those that the system gives to outgoing connections, so that none of these takes one
// before its server does; at random, because several test binaries run at once.
const (
	firstPort = 20000
	lastPort  = 32767
)

func freePort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func (s *RedisServer) launch() error {
	s.cmd = exec.Command("sh", append([]string{"-c", supervise, "sh", s.owned, "redis-server"}, s.args...)...)
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	return s.ready()
}

// ready waits until the server answers commands; it refuses PING while it loads its data.
func (s *RedisServer) ready() error {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if syscall.Kill(s.pid, 0) != nil {
			break
		}
		if reply, _ := s.command("PING"); reply == "+PONG" {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.Dir, "redis.log"))
	return fmt.Errorf("redis-server at %s did not start: %s", s.Addr, log)
}

// command sends one inline command and returns the first line of the answer.
func (s *RedisServer) command(line string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
		return "", err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(reply), err
}

// Command sends one command without arguments that need quoting, and fails the test if the server refuses it.
func (s *RedisServer) Command(t testing.TB, line string) string {
	t.Helper()
	reply, err := s.command(line)
	if err != nil || strings.HasPrefix(reply, "-") {
		t.Fatalf("%s: %s %v", line, reply, err)
	}
	return reply
}

// URL returns the server's address as a store URL.
func (s *RedisServer) URL() string { return "redis://" + s.Addr }

// Stop ends the server as an operator would.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as kill -9 does. Ending it twice is harmless.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// end repeats the signal, because a Redis that writes its first append-only file ignores SIGTERM; at last it insists.
func (s *RedisServer) end(signal syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // a killed server is an error here, and what we wanted
		close(ended)
	}()
	for deadline := time.Now().Add(stopTimeout); ; {
		if s.pid > 0 {
			_ = syscall.Kill(s.pid, signal)
		}
		select {
		case <-ended:
			_ = s.stdin.Close()
			s.cmd, s.pid = nil, 0
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
	}
}

// Restart starts a stopped or killed server again, on the same port and data.
func (s *RedisServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatal(err)
	}
}

// Pause freezes the server: it keeps its connections and answers nothing. Resume must follow.
func (s *RedisServer) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume ends a pause.
func (s *RedisServer) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *RedisServer) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if s.pid <= 0 { // which would be a signal to this very process group
		t.Fatal("the server does not run")
	}
	if err := syscall.Kill(s.pid, signal); err != nil {
		t.Fatal(err)
	}
}
