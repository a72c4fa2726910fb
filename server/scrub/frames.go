package scrub

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// ErrFrames means that a server broke the WebSocket protocol (RFC 6455), or used an extension: nobody asked for one.
var ErrFrames = errors.New("not a WebSocket stream of a server")

// ErrMessage means that a WebSocket message was longer than allowed.
var ErrMessage = errors.New("WebSocket message too long")

// Frames reads what a WebSocket server sends, with the values masked in each message and in each control frame. A
// message is read whole, however many fragments it has, and becomes one frame; a control frame between them goes first.
// Where the stream cannot go on, the last that is read is a close frame which says so to the client, with nothing of
// the server's in it; then comes the error.
type Frames struct {
	src     *bufio.Reader
	scrub   *Scrubber
	limit   int64
	ready   []byte // to be read, in frame
	frame   []byte
	message []byte // the fragments so far
	opcode  byte   // of the message, 0 if none has begun
	hits    int
	err     error
}

// The opcodes of RFC 6455 §5.2, and the bits before one.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa

	bitFinal    = 0x80
	bitsRFU     = 0x70
	bitMasked   = 0x80
	controlSize = 125
)

// The reasons to close (RFC 6455 §7.4.1).
const (
	closeProtocol = 1002
	closeTooBig   = 1009
)

// Frames returns a reader of the frames that r has after the handshake. A message may have limit bytes.
func (s *Scrubber) Frames(r io.Reader, limit int64) *Frames {
	return &Frames{src: bufio.NewReader(r), scrub: s, limit: limit}
}

// Hits returns how many values have been masked so far.
func (f *Frames) Hits() int { return f.hits }

// Read reads as io.Reader says. Its errors are ErrFrames, ErrMessage, io.EOF between two frames, and those of the
// source; io.ErrUnexpectedEOF if that ends within one.
func (f *Frames) Read(p []byte) (int, error) {
	for len(f.ready) == 0 && f.err == nil {
		f.err = f.next()
		switch {
		case errors.Is(f.err, ErrFrames):
			f.emit(opClose, binary.BigEndian.AppendUint16(nil, closeProtocol))
		case errors.Is(f.err, ErrMessage):
			f.emit(opClose, binary.BigEndian.AppendUint16(nil, closeTooBig))
		}
	}
	if len(f.ready) == 0 {
		return 0, f.err
	}
	n := copy(p, f.ready)
	f.ready = f.ready[n:]
	return n, nil
}

// next reads one frame. What it completes is ready then.
func (f *Frames) next() error {
	head, size, err := f.head()
	if err != nil {
		return err
	}
	opcode, final := head&0x0f, head&bitFinal != 0
	switch {
	case opcode == opClose || opcode == opPing || opcode == opPong:
		if !final || size > controlSize {
			return ErrFrames
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(f.src, payload); err != nil {
			return cutShort(err)
		}
		f.emit(opcode, payload)
		return nil
	case opcode == opContinue && f.opcode == 0, opcode != opContinue && f.opcode != 0, opcode > opBinary:
		return ErrFrames
	case size > f.limit-int64(len(f.message)):
		return ErrMessage
	case opcode != opContinue:
		f.opcode = opcode
	}
	if err := f.fragment(size); err != nil || !final {
		return err
	}
	f.emit(f.opcode, f.message)
	f.opcode, f.message = 0, f.message[:0]
	if cap(f.message) > roomy {
		f.message, f.frame = nil, nil
	}
	return nil
}

// roomy is the longest message whose memory is kept for the next one.
const roomy = 64 << 10

// head reads the head of a frame (RFC 6455 §5.2).
func (f *Frames) head() (first byte, size int64, err error) {
	if first, err = f.src.ReadByte(); err != nil {
		return 0, 0, err
	}
	second, err := f.src.ReadByte()
	if err != nil {
		return 0, 0, cutShort(err)
	}
	if first&bitsRFU != 0 || second&bitMasked != 0 {
		return 0, 0, ErrFrames
	}
	var more [8]byte
	switch n := second &^ bitMasked; {
	case n < 126:
		return first, int64(n), nil
	case n == 126:
		_, err = io.ReadFull(f.src, more[6:])
	default:
		_, err = io.ReadFull(f.src, more[:])
	}
	if err != nil {
		return 0, 0, cutShort(err)
	}
	if size = int64(binary.BigEndian.Uint64(more[:])); size < 126 || second == 127 && size < 1<<16 {
		return 0, 0, ErrFrames // negative, or longer than it need be
	}
	return first, size, nil
}

// fragment reads the next size bytes of the message. It makes room for what comes, and not for what is announced.
func (f *Frames) fragment(size int64) error {
	for size > 0 {
		n := int(min(size, roomy))
		at := len(f.message)
		f.message = append(f.message, make([]byte, n)...)
		if _, err := io.ReadFull(f.src, f.message[at:]); err != nil {
			return cutShort(err)
		}
		size -= int64(n)
	}
	return nil
}

// emit makes one unfragmented frame ready, with the values in its payload masked.
func (f *Frames) emit(opcode byte, payload []byte) {
	f.hits += f.scrub.Mask(payload)
	head := append(f.frame[:0], bitFinal|opcode)
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	f.frame = append(head, payload...)
	f.ready = f.frame
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
