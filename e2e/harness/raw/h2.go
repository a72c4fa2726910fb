package raw

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"time"
)

// The types and flags of frames (RFC 9113 §6).
const (
	FrameData         = 0
	FrameHeaders      = 1
	FrameReset        = 3
	FrameSettings     = 4
	FramePing         = 6
	FrameGoAway       = 7
	FrameContinuation = 9

	FlagEndStream  = 1
	FlagAck        = 1
	FlagEndHeaders = 4
)

// H2 is a connection that speaks HTTP/2 frame by frame.
type H2 struct {
	conn net.Conn
	in   *bufio.Reader
}

// Frame is a frame of HTTP/2.
type Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// OpenH2 connects to the origin of an https URL, and begins HTTP/2. Its error is, among others, of a server that does
// not speak it.
func OpenH2(target string) (*H2, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	raw, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	_ = conn.SetDeadline(time.Now().Add(patience))
	err = conn.Handshake()
	if err == nil && conn.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("the server does not speak HTTP/2")
	}
	c := &H2{conn, bufio.NewReader(conn)}
	if err == nil {
		_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	}
	if err == nil {
		err = c.Send(Frame{Type: FrameSettings})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection.
func (c *H2) Close() { _ = c.conn.Close() }

// Send sends frames.
func (c *H2) Send(all ...Frame) error {
	var b []byte
	for _, f := range all {
		n := len(f.Payload)
		b = append(b, byte(n>>16), byte(n>>8), byte(n), f.Type, f.Flags)
		b = binary.BigEndian.AppendUint32(b, f.Stream)
		b = append(b, f.Payload...)
	}
	_, err := c.conn.Write(b)
	return err
}

// Receive returns the next frame.
func (c *H2) Receive() (f Frame, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return f, err
	}
	f.Type, f.Flags, f.Stream = head[3], head[4], binary.BigEndian.Uint32(head[5:])&^(1<<31)
	f.Payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c.in, f.Payload)
	return f, err
}

// Block encodes headers, each as a literal that is not indexed (RFC 7541 §6.2.2).
func Block(fields ...Field) (b []byte) {
	text := func(s string) { b = append(appendInteger(b, 7, len(s)), s...) }
	for _, f := range fields {
		b = append(b, 0)
		text(f.Name)
		text(f.Value)
	}
	return b
}

// appendInteger appends n with a prefix of so many bits (RFC 7541 §5.1).
func appendInteger(b []byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, byte(n))
	}
	b = append(b, byte(most))
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n&127|128))
	}
	return append(b, byte(n))
}
