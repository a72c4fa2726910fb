package shim

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/scrub"
)

// asksForWebSocket reports whether a request is the opening handshake of a WebSocket (RFC 6455 §4.2.1), and of nothing
// else.
func asksForWebSocket(r *http.Request) bool {
	h := r.Header
	if len(h["Upgrade"]) != 1 || !strings.EqualFold(h.Get("Upgrade"), "websocket") {
		return false
	}
	key, err := base64.StdEncoding.Strict().DecodeString(h.Get("Sec-Websocket-Key"))
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ContentLength == 0 && names(h["Connection"], "upgrade") &&
		h.Get("Sec-Websocket-Version") == "13" && len(h["Sec-Websocket-Key"]) == 1 && err == nil && len(key) == 16
}

// names reports whether a list header names a token.
func names(values []string, token string) bool {
	for _, list := range values {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// accepted is what a server answers a handshake with (RFC 6455 §4.2.2).
func accepted(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// maxMessage bounds a message of an upstream, which is searched as a whole.
const maxMessage = 4 << 20

// tunnel passes the messages of a WebSocket on, without the key, until one side ends, or the call does. An upstream
// that did not agree is answered like any other call.
func (a *answer) tunnel(w http.ResponseWriter, r *http.Request) error {
	if a.StatusCode != http.StatusSwitchingProtocols {
		return a.pass(w, r)
	}
	upstream, ok := a.Body.(io.ReadWriteCloser)
	if h := a.Header; !ok || !strings.EqualFold(h.Get("Upgrade"), "websocket") ||
		h.Get("Sec-Websocket-Accept") != accepted(r.Header.Get("Sec-Websocket-Key")) ||
		h.Get("Sec-Websocket-Extensions") != "" {
		return a.spoiled(fault.New(fault.Unavailable, "answer.websocket",
			"The upstream's handshake is not that of a WebSocket."))
	}
	control := http.NewResponseController(w)
	agent, buffered, err := control.Hijack()
	if err != nil {
		return a.spoiled(fault.Wrap(fault.Internal, "internal", "", err))
	}
	defer func() { _ = agent.Close() }()
	defer a.discard()
	a.shim.count.streams.Add(1)
	defer a.shim.count.streams.Add(-1)
	a.outlive()
	reason := "cut.caller"
	if a.greet(agent, r.Header.Get("Sec-Websocket-Key")) == nil {
		reason = string(a.exchange(agent, buffered, upstream))
	}
	outcome := audit.Allowed
	if reason != "" {
		outcome = audit.Failed
	}
	a.finish(outcome, reason)
	return nil
}

// greet tells the agent that the WebSocket is open.
func (a *answer) greet(agent net.Conn, key string) error {
	text := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		accepted(key) + "\r\n"
	if protocol, hits := a.scrub.String(a.Header.Get("Sec-Websocket-Protocol")); protocol != "" {
		a.hits += hits
		text += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	_ = agent.SetDeadline(time.Time{})
	_, err := io.WriteString(agent, text+"\r\n")
	return err
}

// exchange copies both ways, and returns why it was ended, "" if one of the two sides ended it.
func (a *answer) exchange(agent net.Conn, buffered io.Reader, upstream io.ReadWriteCloser) cutoff {
	idle := a.grant.timeouts().idle
	silent := time.AfterFunc(idle, func() { a.end(cutIdle) })
	defer silent.Stop()
	touch := func() { silent.Reset(idle) }
	stop := context.AfterFunc(a.ctx, func() { // which wakes both copies
		_ = agent.Close()
		_ = upstream.Close()
	})
	defer stop()
	var copying sync.WaitGroup
	copying.Go(func() {
		sent, _ := io.Copy(upstream, touched{buffered, touch}) // either side may end it
		a.sent.Add(sent)
		a.end(nil)
	})
	frames := a.scrub.Frames(touched{upstream, touch}, maxMessage)
	received, err := io.Copy(agent, frames)
	a.received, a.hits = received, a.hits+frames.Hits()
	if errors.Is(err, scrub.ErrFrames) || errors.Is(err, scrub.ErrMessage) {
		a.end(cutUnscrubbable)
	}
	a.end(nil)
	copying.Wait()
	why, cut := causeOf(a.ctx)
	if cut {
		a.shim.count.cut.Add(1)
	}
	return why
}

// touched tells of each read.
type touched struct {
	io.Reader
	touch func()
}

func (t touched) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	t.touch()
	return n, err
}

// handshake puts the opening of a WebSocket on an outgoing request. No extension is offered: what is compressed cannot
// be searched.
func handshake(out, from *http.Request) {
	for _, name := range []string{"Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol"} {
		if values := from.Header[name]; len(values) > 0 {
			out.Header[name] = values
		}
	}
	out.Header.Set("Upgrade", "websocket")
	out.Header.Set("Connection", "Upgrade")
}
