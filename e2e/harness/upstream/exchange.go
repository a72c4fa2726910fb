package upstream

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Exchange is one request and what is answered to it.
type Exchange struct {
	*Request
	Key   string // the accepted key that the request carries; empty if it carries none
	Close bool   // the connection ends after this exchange

	upstream *Upstream
	wire     *wire
	rest     *reader // what the client sends after the request
	err      error   // of the first write that failed
}

// Origin returns the origin under which the upstream is reached.
func (x *Exchange) Origin() string { return x.upstream.URL }

// Write sends bytes as they are. After an error it sends nothing more.
func (x *Exchange) Write(b []byte) (int, error) {
	if x.err != nil {
		return 0, x.err
	}
	n, err := x.wire.Write(b)
	x.err = err
	return n, err
}

// Print sends text as it is.
func (x *Exchange) Print(text string) bool {
	_, err := io.WriteString(x, text)
	return err == nil
}

// Rest are the bytes that the client sends after the request, as after an upgrade.
func (x *Exchange) Rest() io.Reader { return x.rest }

// Gone waits until the client has closed the connection.
func (x *Exchange) Gone() {
	_, _ = io.Copy(io.Discard, x.rest)
	x.Close = true
}

// Framing is how the end of a body is told.
type Framing int

// The framings of RFC 9112 §6.
const (
	ByLength Framing = iota
	Chunked
	ByClose
)

// Response is an answer.
type Response struct {
	Status  int           // default 200
	Reason  string        // default none
	Early   []Field       // headers of a 103 that comes first (RFC 8297); nil for none
	Header  []Field       // besides those of the framing
	Body    []byte        // as it is sent: encoded, if Header says so
	Framing Framing       // of the body
	Trailer []Field       // after a chunked body
	Pieces  []int         // sizes of the writes that the body is sent in, and of its chunks; what is left is sent at once
	Pause   time.Duration // between the pieces
}

// Send answers.
func (x *Exchange) Send(r Response) {
	if r.Status == 0 {
		r.Status = 200
	}
	var head bytes.Buffer
	if r.Early != nil {
		head.WriteString("HTTP/1.1 103 Early Hints\r\n")
		writeFields(&head, r.Early)
		head.WriteString("\r\n")
	}
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", r.Status, r.Reason)
	writeFields(&head, r.Header)
	empty := r.Status == 204 || r.Status == 304 || x.Method == "HEAD"
	switch {
	case r.Status == 204:
	case r.Framing == ByLength:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(r.Body))
	case r.Framing == Chunked:
		head.WriteString("Transfer-Encoding: chunked\r\n")
		for _, f := range r.Trailer {
			fmt.Fprintf(&head, "Trailer: %s\r\n", f.Name)
		}
	case r.Framing == ByClose:
		head.WriteString("Connection: close\r\n")
		x.Close = true
	}
	head.WriteString("\r\n")
	_, _ = x.Write(head.Bytes())
	if !empty {
		x.body(r)
	}
}

func writeFields(w *bytes.Buffer, fields []Field) {
	for _, f := range fields {
		w.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
}

// body sends a body piece by piece.
func (x *Exchange) body(r Response) {
	rest := r.Body
	for _, size := range r.Pieces {
		size = min(size, len(rest))
		x.piece(r, rest[:size])
		rest = rest[size:]
		if len(rest) == 0 {
			break
		}
		time.Sleep(r.Pause)
	}
	x.piece(r, rest)
	if r.Framing == Chunked {
		var end bytes.Buffer
		end.WriteString("0\r\n")
		writeFields(&end, r.Trailer)
		end.WriteString("\r\n")
		_, _ = x.Write(end.Bytes())
	}
}

func (x *Exchange) piece(r Response, b []byte) {
	if len(b) == 0 {
		return
	}
	if r.Framing == Chunked {
		b = []byte(strconv.FormatInt(int64(len(b)), 16) + "\r\n" + string(b) + "\r\n")
	}
	_, _ = x.Write(b)
}

// segments returns what follows a prefix in the request's path, taken apart.
func (x *Exchange) segments(prefix string) []string {
	rest, ok := strings.CutPrefix(x.Path(), prefix)
	if !ok {
		return nil
	}
	return strings.Split(rest, "/")
}
