package harness

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/storage/storagetest"
)

// Detour is the address of a server's Redis, which can come to mean another one, as it does in a failover.
type Detour struct {
	listener net.Listener

	mu   sync.Mutex // guards what follows
	to   string
	open map[net.Conn]bool
}

// Detour makes the server reach its Redis by an address that can be moved, and serves again.
func (s *Server) Detour(t testing.TB) *Detour {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Detour{listener: listener, to: s.Redis.Addr, open: map[net.Conn]bool{}}
	s.under = append(s.under, func(testing.TB) { _ = listener.Close() })
	go d.serve()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(string(text), s.Redis.Addr, listener.Addr().String())
	if err := os.WriteFile(s.config, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Restart(t)
	return d
}

// To moves the address to another Redis. Connections to the one before break.
func (d *Detour) To(other *storagetest.RedisServer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = other.Addr
	for conn := range d.open {
		_ = conn.Close()
	}
}

func (d *Detour) serve() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		go d.pass(conn)
	}
}

// pass copies in both directions until one of them ends.
func (d *Detour) pass(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	d.mu.Lock()
	d.open[conn] = true
	to := d.to
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.open, conn)
	}()
	redis, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(redis, conn)
		_ = redis.Close()
	}()
	_, _ = io.Copy(conn, redis)
}
