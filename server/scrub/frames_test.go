package scrub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bursar-sts/bursar/server/scrub"
)

// frame is a frame of RFC 6455 §5.2, as a test writes and reads it.
type frame struct {
	first   byte // FIN, RSV, opcode
	payload string
}

func (f frame) wire() []byte {
	b := []byte{f.first}
	switch n := len(f.payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, f.payload...)
}

func stream(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f.wire()...)
	}
	return b
}

// parse reads frames, and fails on anything that a client would refuse.
func parse(t *testing.T, b []byte) (frames []frame) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 2 || b[1]&0x80 != 0 {
			t.Fatalf("no frame of a server: %x", b)
		}
		first, n, head := b[0], uint64(b[1]), 2
		switch {
		case n == 126 && len(b) >= 4:
			n, head = uint64(binary.BigEndian.Uint16(b[2:])), 4
		case n == 127 && len(b) >= 10:
			n, head = binary.BigEndian.Uint64(b[2:]), 10
		}
		if uint64(len(b)-head) < n {
			t.Fatalf("frame cut short: %x", b)
		}
		frames = append(frames, frame{first, string(b[head : head+int(n)])})
		b = b[head+int(n):]
	}
	return frames
}

// TestAMessageIsScrubbedAcrossItsFragments puts a key across frames, with a ping in between.
func TestAMessageIsScrubbedAcrossItsFragments(t *testing.T) {
	text := "the key is " + key + ", keep it"
	stars := strings.Repeat("*", len(key))
	large := strings.Repeat("x", 70_000) + key
	f := scrub.New(key).Frames(iotest.OneByteReader(bytes.NewReader(stream(
		frame{0x01, text[:20]}, frame{0x89, "ping " + key}, frame{0x00, text[20:21]}, frame{0x00, ""},
		frame{0x80, text[21:]},
		frame{0x82, base64.StdEncoding.EncodeToString([]byte(key))},
		frame{0x81, large},
		frame{0x81, ""},
		frame{0x88, "\x03\xe8bye " + key},
	))), 1<<20)
	out, err := io.ReadAll(f)
	if err != nil || f.Hits() != 5 {
		t.Fatalf("%d hits, %v", f.Hits(), err)
	}
	want := []frame{
		{0x89, "ping " + stars},
		{0x81, "the key is " + stars + ", keep it"},
		{0x82, strings.Repeat("*", 48)},
		{0x81, strings.Repeat("x", 70_000) + stars},
		{0x81, ""},
		{0x88, "\x03\xe8bye " + stars},
	}
	if got := parse(t, out); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%.400q\nwant\n%.400q", got, want)
	}
}

// TestFramesOfABrokenServer are refused, and the client is told so with a close frame.
func TestFramesOfABrokenServer(t *testing.T) {
	tests := []struct {
		name string
		wire []byte
		err  error
	}{
		{"RSV1", stream(frame{0xc1, "compressed"}), scrub.ErrFrames},
		{"RSV2", stream(frame{0xa1, "x"}), scrub.ErrFrames},
		{"RSV3 on a control frame", stream(frame{0x99, "x"}), scrub.ErrFrames},
		{"reserved opcode", stream(frame{0x83, "x"}), scrub.ErrFrames},
		{"reserved control opcode", stream(frame{0x8b, "x"}), scrub.ErrFrames},
		{"masked", []byte{0x81, 0x81, 1, 2, 3, 4, 'x'}, scrub.ErrFrames},
		{"continuation of nothing", stream(frame{0x80, "x"}), scrub.ErrFrames},
		{"message within a message", stream(frame{0x01, "x"}, frame{0x81, "y"}), scrub.ErrFrames},
		{"fragmented ping", stream(frame{0x09, "x"}), scrub.ErrFrames},
		{"long ping", stream(frame{0x89, strings.Repeat("x", 126)}), scrub.ErrFrames},
		{"length written longer than it is", []byte{0x81, 126, 0, 1, 'x'}, scrub.ErrFrames},
		{"length of 64 bits for less", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 200}, scrub.ErrFrames},
		{"negative length", []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, scrub.ErrFrames},
		{"long message", stream(frame{0x81, strings.Repeat("x", 1001)}), scrub.ErrMessage},
		{"long in fragments", stream(frame{0x01, strings.Repeat("x", 600)}, frame{0x80, strings.Repeat("x", 401)}),
			scrub.ErrMessage},
		{"longer than memory", []byte{0x81, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}, scrub.ErrMessage},
		{"cut in the head", []byte{0x81}, io.ErrUnexpectedEOF},
		{"cut in the length", []byte{0x81, 126, 1}, io.ErrUnexpectedEOF},
		{"cut in the payload", []byte{0x81, 2, 'x'}, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		f := scrub.New(key).Frames(bytes.NewReader(append(stream(frame{0x81, "first"}), tt.wire...)), 1000)
		out, err := io.ReadAll(f)
		want := []frame{{0x81, "first"}}
		switch tt.err {
		case scrub.ErrFrames:
			want = append(want, frame{0x88, "\x03\xea"})
		case scrub.ErrMessage:
			want = append(want, frame{0x88, "\x03\xf1"})
		}
		if got := parse(t, out); !errors.Is(err, tt.err) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q and %v, want %q and %v", tt.name, got, err, want, tt.err)
		}
		if _, again := f.Read(make([]byte, 9)); !errors.Is(again, tt.err) {
			t.Errorf("%s: goes on with %v", tt.name, again)
		}
	}
}

// FuzzFrames feeds whatever bytes. What comes out is frames that a client accepts, without the key.
func FuzzFrames(f *testing.F) {
	f.Add(stream(frame{0x01, "the key "}, frame{0x80, key}, frame{0x89, key}, frame{0x88, "\x03\xe8"}), uint64(1))
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, uint64(2))
	f.Add([]byte{0x82, 126, 0xff, 0xff}, uint64(3))
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		frames := scrub.New(key).Frames(parts(r, string(wire)), 1<<16)
		var out []byte
		p := make([]byte, 1+r.IntN(5000))
		for {
			n, err := frames.Read(p)
			if out = append(out, p[:n]...); err != nil {
				break
			}
		}
		for _, got := range parse(t, out) {
			if opcode := got.first & 0x0f; got.first&0xf0 != 0x80 || opcode&7 > 2 || opcode == 0 ||
				opcode >= 8 && len(got.payload) > 125 {
				t.Errorf("frame %x of %d bytes", got.first, len(got.payload))
			}
			if strings.Contains(got.payload, key) {
				t.Error("the key is left")
			}
		}
	})
}
