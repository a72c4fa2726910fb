package shim_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/servertest"
)

// The library tells of an answer to no request, and what is in it. The key must not come out on that way.
func TestAnAnswerToNoRequestIsNotLogged(t *testing.T) {
	said, before := new(notes), log.Writer()
	log.SetOutput(said)
	t.Cleanup(func() { log.SetOutput(before) })
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(func(rw http.ResponseWriter, r *http.Request) {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Echo: "+
			r.Header.Get("X-Api-Key")+"\r\nContent-Length: 0\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the shim has left
		_ = conn.Close()
	})
	if response, body := w.call(t, w.token(), "GET", "/v1/refunds/7", ""); body != "ok" {
		t.Fatalf("answered %s %s", response.Status, body)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(said.String(), "Unsolicited"); {
		if time.Now().After(end) {
			t.Fatal("the library says nothing of it any more; then nothing has to be kept from being said")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if strings.Contains(said.String(), key) {
		t.Errorf("the log holds the key")
	}
}

// notes are written and read by different goroutines.
type notes struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all.Write(b)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all.String()
}
