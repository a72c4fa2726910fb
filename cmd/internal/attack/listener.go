package attack

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/attack/forge"
)

// listener is an address that only a header of a forged token names. Whoever asks for it has followed the header.
type listener struct {
	url    string
	key    *forge.Key // whose public half it serves
	server *http.Server

	mu   sync.Mutex
	hits int
}

// listen opens the port, a free one on loopback if the profile names none.
func listen(c Callback) (*listener, error) {
	socket, err := net.Listen("tcp", cmp.Or(c.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("open a port: %w", err)
	}
	l := &listener{url: cmp.Or(c.URL, "http://"+socket.Addr().String()), key: forge.NewKey("planted")}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = l.server.Serve(socket) }() // ends with close
	return l, nil
}

// close ends it; there may be none.
func (l *listener) close() {
	if l != nil {
		_ = l.server.Close()
	}
}

func (l *listener) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	l.hits++
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, l.key.Public().JWK())
}

// asked returns how often somebody has followed a header.
func (l *listener) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hits
}
