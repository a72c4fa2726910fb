package shim_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/servertest"
)

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// acceptOf is what a server must answer a handshake with (RFC 6455 §1.3).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// speak is an upstream that agrees to a WebSocket, sends a text message for each of the texts, and then what it is
// sent.
func speak(accept func(string) string, texts ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\nX-Echo: %s\r\n\r\n", accept(r.Header.Get("Sec-Websocket-Key")),
			r.Header.Get("X-Api-Key"))
		for _, text := range texts {
			_, _ = conn.Write(append([]byte{0x81, byte(len(text))}, text...))
		}
		_, _ = io.Copy(conn, buffered)
	}
}

// open opens a WebSocket through the shim, and returns the connection and the answer.
func (w *world) open(t *testing.T, token, path string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.front.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET /shim/t/acme/legacy%s HTTP/1.1\r\nHost: sts.example\r\nAuthorization: Bearer %s\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", path, token, handshakeKey)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, reader, response
}

func TestAWebSocketGoesThroughWithoutTheKey(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(speak(acceptOf, "hello", "<"+key+">"))
	conn, reader, response := w.open(t, w.token(), "/v1/feed")
	if response.StatusCode != 101 || response.Header.Get("Sec-Websocket-Accept") != acceptOf(handshakeKey) ||
		response.Header.Get("X-Echo") != "" {
		t.Fatalf("answered %s %v", response.Status, response.Header)
	}
	if seen := w.upstream.calls(); len(seen) != 1 || seen[0].Header.Get("Sec-Websocket-Extensions") != "" ||
		seen[0].Header.Get("Authorization") != "" || seen[0].Header.Get("X-Api-Key") != key {
		t.Error("the upstream was asked for something else")
	}
	masked := strings.Repeat("*", len(key))
	want := "\x81\x05hello\x81" + string(rune(len(key)+2)) + "<" + masked + ">"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
		t.Errorf("read %q (%v), want %q", got, err, want)
	}
	// What the upstream sends back of it is a frame of a client, which a server must not send.
	sent := "\x81\x82\x00\x00\x00\x00hi"
	_, _ = io.WriteString(conn, sent)
	if rest, _ := io.ReadAll(reader); !strings.HasPrefix(string(rest), "\x88") {
		t.Errorf("after a forged frame came %q", rest)
	}
	if got := w.uses(t, 2); !slices.Equal(got[1:], []string{"error outcome answer.unscrubbable legacy-key:1 101"}) {
		t.Errorf("recorded %q", got)
	}
}

// An upstream that only says that it agrees would make the connection a way for everything (attack C10).
func TestAForgedHandshakeIsNoTunnel(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(speak(func(string) string { return "forged" }, key))
	_, _, response := w.open(t, w.token(), "/v1/feed")
	rest, _ := io.ReadAll(response.Body)
	if response.StatusCode != 502 || response.Header.Get("Bursar-Error") != "upstream_answer" ||
		strings.Contains(string(rest), key) {
		t.Errorf("answered %s %q", response.Status, rest)
	}
}

func TestARevocationClosesAWebSocket(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.upstream.answers(speak(acceptOf, "hello"))
	_, reader, response := w.open(t, w.token(), "/v1/feed")
	if response.StatusCode != 101 {
		t.Fatal(response.Status)
	}
	w.Cut("acme", "client", "ap-bot", true)
	if rest, err := io.ReadAll(reader); string(rest) != "\x81\x05hello" {
		t.Errorf("read %q, %v", rest, err)
	}
	if got := w.uses(t, 2); !slices.Equal(got[1:], []string{"error outcome cut.revoked legacy-key:1 101"}) {
		t.Errorf("recorded %q", got)
	}
}
