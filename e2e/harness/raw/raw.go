// Package raw is a caller that sends any bytes, and keeps every byte of the answer: what libraries would not send, and
// what they would not show.
package raw

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for bytes that must come.
const patience = time.Minute

// Field is one header line.
type Field struct{ Name, Value string }

// Reply is an answer, and every byte of it.
type Reply struct {
	Raw     []byte // from the first interim answer to the last byte
	Interim []int  // status codes of the answers before the answer (RFC 9110 §15.2)
	Status  int
	Reason  string
	Header  []Field
	Body    []byte // without the framing
	Trailer []Field
	Whole   bool // it ended as its framing says
	Closed  bool // the connection has ended with it
}

// Get returns the first value of a header, "" if there is none.
func (r *Reply) Get(name string) string { return get(r.Header, name) }

func get(fields []Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Conn is a connection to a server.
type Conn struct {
	net.Conn
	*bufio.Reader
	kept *recorder
}

type recorder struct {
	io.Reader
	all []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.all = append(r.all, b[:n]...)
	return n, err
}

// Dial connects to the origin of a URL, over TLS if it is https; whoever answers is believed.
func Dial(t testing.TB, target string) *Conn {
	t.Helper()
	c, err := Open(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Open is Dial for any goroutine.
func Open(target string) (*Conn, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	kept := &recorder{Reader: conn}
	return &Conn{Conn: conn, Reader: bufio.NewReader(kept), kept: kept}, nil
}

// Read reads what follows the replies that were received.
func (c *Conn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

// Send sends bytes as they are.
func (c *Conn) Send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		t.Logf("sending ended early: %v", err) // a server may answer and close before it has read everything
	}
}

// Receive returns the answer to a request of the given method. Where there is none at all, its status is 0.
func (c *Conn) Receive(t testing.TB, method string) *Reply {
	t.Helper()
	r, err := c.Reply(method)
	if err != nil {
		t.Logf("no answer: %v; so far %q", err, r.Raw)
		r.Status, r.Closed = 0, true
	}
	return r
}

// Reply is Receive for any goroutine. Its error is of an answer that has not even a head.
func (c *Conn) Reply(method string) (*Reply, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	r := &Reply{}
	defer func() {
		n := len(c.kept.all) - c.Buffered()
		r.Raw = bytes.Clone(c.kept.all[:n])
		c.kept.all = append(c.kept.all[:0], c.kept.all[n:]...)
	}()
	for {
		if err := c.head(r); err != nil {
			return r, err
		}
		if r.Status < 100 || r.Status > 199 || r.Status == 101 {
			break
		}
		r.Interim = append(r.Interim, r.Status)
	}
	if r.Status == 101 {
		r.Whole = true
		return r, nil
	}
	err := c.body(r, method)
	r.Whole = err == nil
	if r.Closed = err != nil || strings.EqualFold(r.Get("Connection"), "close"); r.Closed {
		_ = c.Conn.Close()
	}
	return r, nil
}

// head reads a status line and headers.
func (c *Conn) head(r *Reply) (err error) {
	line, err := c.line()
	if err != nil {
		return err
	}
	r.Header, r.Reason = nil, ""
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok {
		if rest, ok = strings.CutPrefix(line, "HTTP/1.0 "); !ok {
			return fmt.Errorf("not a status line: %q", line)
		}
	}
	code, reason, _ := strings.Cut(rest, " ")
	if r.Status, err = strconv.Atoi(code); err != nil {
		return err
	}
	r.Reason = reason
	r.Header, err = c.fields()
	return err
}

func (c *Conn) line() (string, error) {
	line, err := c.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (c *Conn) fields() (all []Field, err error) {
	for {
		line, err := c.line()
		if err != nil || line == "" {
			return all, err
		}
		name, value, _ := strings.Cut(line, ":")
		all = append(all, Field{name, strings.TrimSpace(value)})
	}
}

// body reads a body. Its error is that it did not end as it should.
func (c *Conn) body(r *Reply, method string) error {
	length := r.Get("Content-Length")
	switch {
	case method == "HEAD" || r.Status == 204 || r.Status == 304:
		return nil
	case strings.EqualFold(r.Get("Transfer-Encoding"), "chunked"):
		return c.chunked(r)
	case length != "":
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return err
		}
		r.Body, err = io.ReadAll(io.LimitReader(c.Reader, n))
		if err == nil && int64(len(r.Body)) < n {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var err error
	r.Body, err = io.ReadAll(c.Reader)
	return err
}

func (c *Conn) chunked(r *Reply) error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return errors.Join(errors.New("not a chunk"), err)
		}
		if n == 0 {
			r.Trailer, err = c.fields()
			return err
		}
		chunk := make([]byte, n)
		got, err := io.ReadFull(c.Reader, chunk)
		r.Body = append(r.Body, chunk[:got]...)
		if err != nil {
			return err
		}
		if _, err := c.line(); err != nil {
			return err
		}
	}
}

// Ask sends a request on a connection of its own, and returns the answer.
func Ask(t testing.TB, target, text string) *Reply {
	t.Helper()
	c := Dial(t, target)
	defer func() { _ = c.Close() }()
	c.Send(t, text)
	method, _, _ := strings.Cut(text, " ")
	return c.Receive(t, method)
}
