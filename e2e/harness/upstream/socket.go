package upstream

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"
)

// The opcodes of frames (RFC 6455 §5.2).
const (
	OpContinuation = 0
	OpText         = 1
	OpBinary       = 2
	OpClose        = 8
	OpPing         = 9
	OpPong         = 10
)

// Frame is a frame of a WebSocket.
type Frame struct {
	Final   bool
	Op      byte
	Payload []byte
}

// Append writes a frame, masked as a client's has to be, or not.
func (f Frame) Append(b []byte, masked bool) []byte {
	first := f.Op
	if f.Final {
		first |= 0x80
	}
	b = append(b, first)
	var mark byte
	if masked {
		mark = 0x80
	}
	switch n := len(f.Payload); {
	case n < 126:
		b = append(b, mark|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mark|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mark|127), uint64(n))
	}
	if !masked {
		return append(b, f.Payload...)
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // never fails
	b = append(b, key[:]...)
	for i, c := range f.Payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// ReadFrame reads a frame, and undoes its mask.
func ReadFrame(r *bufio.Reader) (f Frame, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f.Final, f.Op = head[0]&0x80 != 0, head[0]&0x0f
	size := uint64(head[1] & 0x7f)
	switch size {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(r, b[:])
		size = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(r, b[:])
		size = binary.BigEndian.Uint64(b[:])
	}
	if err == nil && size > maxBody {
		err = errors.New("the frame is too long")
	}
	var key [4]byte
	if err == nil && head[1]&0x80 != 0 {
		_, err = io.ReadFull(r, key[:])
	}
	if err != nil {
		return f, err
	}
	f.Payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return f, err
	}
	for i := range f.Payload {
		f.Payload[i] ^= key[i%4]
	}
	return f, nil
}

// AcceptKey is the answer to a Sec-WebSocket-Key (RFC 6455 §4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Sockets are what a WebSocket does.
func Sockets() []string {
	return []string{"echo", "key", "drip", "accept", "extension", "protocol", "smuggle"}
}

// socket answers a handshake:
//
//	echo       every message comes back
//	key        the key comes in messages of every kind, and piecewise; then the socket closes with it
//	drip       messages until the client leaves
//	accept     the handshake is forged: its Sec-WebSocket-Accept is not of the client's key
//	extension  an extension that nobody offered is accepted
//	protocol   the chosen protocol is the key
//	smuggle    the 101 is followed by an answer of HTTP
func socket(x *Exchange, rest []string) bool {
	accept, more := AcceptKey(strings.Join(x.Get("Sec-WebSocket-Key"), "")), ""
	switch rest[0] {
	case "echo", "key", "drip", "smuggle":
	case "accept":
		accept = AcceptKey("something else")
	case "extension":
		more = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	case "protocol":
		more = "Sec-WebSocket-Protocol: " + word(x.Key) + "\r\n"
	default:
		return false
	}
	x.Close = true
	x.Print("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		accept + "\r\nX-Echo: " + line(x.Key) + "\r\n" + more + "\r\n")
	switch rest[0] {
	case "key":
		x.tell()
	case "drip":
		for ok := true; ok; time.Sleep(tick) {
			ok = x.frames(Frame{true, OpText, []byte("still here, " + x.Key)})
		}
	case "smuggle":
		x.Print("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + x.Key)
		x.Gone()
	default:
		x.echo()
	}
	return true
}

func (x *Exchange) frames(all ...Frame) bool {
	var b []byte
	for _, f := range all {
		b = f.Append(b, false)
	}
	_, err := x.Write(b)
	return err == nil
}

func (x *Exchange) echo() {
	frames := bufio.NewReader(x.Rest())
	for {
		f, err := ReadFrame(frames)
		if err != nil {
			return
		}
		if f.Op == OpPing {
			f.Op = OpPong
		}
		if !x.frames(f) || f.Op == OpClose {
			return
		}
	}
}

// tell sends the key in every way that frames have.
func (x *Exchange) tell() {
	key := []byte(x.Key)
	half := len(key) / 2
	x.frames(Frame{true, OpText, key}, Frame{true, OpBinary, key}, Frame{true, OpPing, key[:min(len(key), 125)]})
	for _, form := range Forms() {
		x.frames(Frame{true, OpText, []byte(`{"is": "` + form.Encode(x.Key) + `"}`)})
	}
	x.frames(Frame{false, OpText, key[:half]}, Frame{true, OpPing, []byte("between")},
		Frame{true, OpContinuation, key[half:]})
	for i, c := range key { // a byte a frame
		op := byte(OpContinuation)
		if i == 0 {
			op = OpBinary
		}
		x.frames(Frame{i == len(key)-1, op, []byte{c}})
	}
	whole := Frame{true, OpText, []byte("slowly " + x.Key)}.Append(nil, false)
	for _, c := range whole { // a byte a write
		if _, err := x.Write([]byte{c}); err != nil {
			return
		}
	}
	x.frames(Frame{true, OpClose, append([]byte{0x03, 0xe8}, key[:min(len(key), 123)]...)})
	x.Gone()
}
