// Package upstream is a legacy API for tests: it knows nothing but static keys, and it is as careless, and as hostile,
// as such an API can be. It echoes what it gets in every place and encoding that HTTP has, sends callers elsewhere,
// forges upgrades, and never ends. It speaks HTTP/1.1 by hand, since libraries refuse to do half of that, and keeps
// every request byte by byte.
package upstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"
)

// Options say what an Upstream is like. The zero value is one with a good certificate for 127.0.0.1.
type Options struct {
	Plain  bool     // without TLS
	Cert   Cert     // what is wrong with its certificate
	Hosts  []string // names or addresses that its certificate is for; default 127.0.0.1
	Keys   []string // the keys that it accepts; Accept changes them
	Client bool     // it demands a client certificate, of anybody
	Listen string   // address; default a free port of 127.0.0.1
	Answer Answer   // default Paths
}

// Answer answers one request, by writing to the exchange.
type Answer func(x *Exchange)

// Upstream is a listening legacy API. Its methods may be called from any goroutine.
type Upstream struct {
	URL  string // its origin
	Addr string // where it listens
	CA   string // PEM of the certificate that signed its own; empty when plain

	answer   Answer
	listener net.Listener
	done     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	keys     []string
	closed   bool
	open     map[net.Conn]bool
	accepted int
	secured  int   // handshakes that succeeded
	received int64 // bytes of HTTP, of whole requests or not
	begun    int   // requests whose head is there
	requests []*Request
	changed  chan struct{} // closed at each change, and made anew
}

// Start listens until the test ends.
func Start(t testing.TB, o Options) *Upstream {
	t.Helper()
	if o.Answer == nil {
		o.Answer = Paths
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{Addr: listener.Addr().String(), answer: o.Answer, listener: listener, keys: o.Keys,
		open: map[net.Conn]bool{}, changed: make(chan struct{})}
	u.URL = "http://" + u.Addr
	var secured *tls.Config
	if !o.Plain {
		u.URL = "https://" + u.Addr
		secured, u.CA = certify(t, o)
	}
	u.done.Go(func() { u.serve(secured) })
	t.Cleanup(u.Close)
	return u
}

// Close ends it, and every connection. Ending it twice is harmless.
func (u *Upstream) Close() {
	_ = u.listener.Close()
	u.mu.Lock()
	u.closed = true
	for conn := range u.open {
		_ = conn.Close()
	}
	u.mu.Unlock()
	u.done.Wait()
}

// Accept replaces the keys that are accepted.
func (u *Upstream) Accept(keys ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keys = keys
}

func (u *Upstream) serve(secured *tls.Config) {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return
		}
		if !u.track(conn) {
			_ = conn.Close()
			return
		}
		u.done.Go(func() {
			defer u.untrack(conn)
			u.speak(conn, secured)
		})
	}
}

func (u *Upstream) track(conn net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.accepted++
	u.open[conn] = true
	u.change()
	return true
}

func (u *Upstream) untrack(conn net.Conn) {
	_ = conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, conn)
	u.change()
}

// change wakes whoever waits. The caller holds mu.
func (u *Upstream) change() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// speak serves the requests of one connection, one after another.
func (u *Upstream) speak(conn net.Conn, secured *tls.Config) {
	w := &wire{Conn: conn, upstream: u}
	var name string
	var peer []*x509.Certificate
	if secured != nil {
		inner := tls.Server(conn, secured)
		if inner.Handshake() != nil {
			return
		}
		w.Conn = inner
		name, peer = inner.ConnectionState().ServerName, inner.ConnectionState().PeerCertificates
		u.mu.Lock()
		u.secured++
		u.mu.Unlock()
	}
	r := newReader(w)
	for {
		request, err := r.next(w)
		if err != nil {
			return
		}
		request.SNI, request.Peer, request.Remote = name, peer, conn.RemoteAddr().String()
		x := &Exchange{Request: request, Key: u.keyOf(request), upstream: u, wire: w, rest: r}
		u.keep(request)
		u.answer(x)
		if x.Close || x.err != nil {
			return
		}
	}
}

// wire counts what arrives.
type wire struct {
	net.Conn
	upstream *Upstream
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.upstream.mu.Lock()
	w.upstream.received += int64(n)
	w.upstream.mu.Unlock()
	return n, err
}

func (u *Upstream) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun++
	u.change()
}

func (u *Upstream) keep(r *Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests = append(u.requests, r)
	u.change()
}

// keyOf returns the accepted key that a request carries in any of the forms in which a client sends one.
func (u *Upstream) keyOf(r *Request) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range u.keys {
		if r.carries(key) {
			return key
		}
	}
	return ""
}

// Requests returns those that arrived whole, in the order in which they did.
func (u *Upstream) Requests() []*Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*Request(nil), u.requests...)
}

// Last returns the last request, and fails the test without one.
func (u *Upstream) Last(t testing.TB) *Request {
	t.Helper()
	all := u.Requests()
	if len(all) == 0 {
		t.Fatal("no request reached the upstream")
	}
	return all[len(all)-1]
}

// Count is what has arrived so far.
type Count struct {
	Connections int   // accepted, whatever became of them
	Open        int   // of those, the open ones
	Handshakes  int   // of TLS, that succeeded
	Bytes       int64 // of HTTP
	Heads       int   // of requests whose head arrived
	Requests    int   // that arrived whole
}

// Count returns what has arrived so far.
func (u *Upstream) Count() Count {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Count{u.accepted, len(u.open), u.secured, u.received, u.begun, len(u.requests)}
}

// Changed returns a channel that is closed when a Count changes after the call.
func (u *Upstream) Changed() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.changed
}

// Received reports whether any request, whole, held these bytes.
func (u *Upstream) Received(text string) bool {
	for _, r := range u.Requests() {
		if bytes.Contains(r.Raw, []byte(text)) {
			return true
		}
	}
	return false
}
