package upstream

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"strings"
)

// coded answers with the request in the body, under a content coding.
func coded(coding string) func(x *Exchange, form encode) Response {
	return func(x *Exchange, form encode) Response {
		name := coding
		if name == "zlib" { // which is what RFC 9110 §8.4.1.2 calls deflate
			name = "deflate"
		}
		header := []Field{{"Content-Type", "text/plain"}, {"Content-Encoding", name}}
		return Response{Header: header, Body: Code(coding, []byte(form(string(x.Raw))))}
	}
}

// Code encodes a body: gzip, x-gzip, deflate (without the wrapping that the standard wants, as some servers do), zlib,
// br, zstd, rot13, and lists of them. The two that the library does not have are written as blocks that are not
// compressed.
func Code(coding string, body []byte) []byte {
	for one := range strings.SplitSeq(coding, ", ") {
		body = code(one, body)
	}
	return body
}

func code(coding string, body []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "deflate":
		w, _ = flate.NewWriter(&b, flate.BestSpeed) // fails for unknown levels only
	case "br":
		return brotli(body)
	case "zstd":
		return zstd(body)
	case "rot13":
		return bytes.Map(rot13, body)
	default:
		return body
	}
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// brotli writes meta-blocks that are not compressed (RFC 7932 §9.2), in a window of 16 bits.
func brotli(body []byte) []byte {
	var bits bitWriter
	bits.put(0, 1) // WBITS: 16
	for len(body) > 0 {
		n := min(len(body), 1<<16)
		bits.put(0, 1)          // ISLAST
		bits.put(0, 2)          // MNIBBLES: 4
		bits.put(uint(n-1), 16) // MLEN - 1
		bits.put(1, 1)          // ISUNCOMPRESSED
		bits.pad()
		bits.out = append(bits.out, body[:n]...)
		body = body[n:]
	}
	bits.put(3, 2) // ISLAST, ISLASTEMPTY
	bits.pad()
	return bits.out
}

type bitWriter struct {
	out  []byte
	used uint // bits of the last byte
}

func (b *bitWriter) put(value, bits uint) {
	for i := range bits {
		if b.used%8 == 0 {
			b.out = append(b.out, 0)
		}
		b.out[len(b.out)-1] |= byte(value>>i&1) << (b.used % 8)
		b.used++
	}
}

func (b *bitWriter) pad() { b.used = 0 }

// zstd writes raw blocks (RFC 8878 §3.1.1).
func zstd(body []byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 0xFD2FB528)
	out = append(out, 0xA0) // single segment, content size in 4 bytes
	out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
	for {
		n := min(len(body), 64<<10)
		last := n == len(body)
		header := uint32(n) << 3
		if last {
			header |= 1
		}
		out = append(out, byte(header), byte(header>>8), byte(header>>16))
		out = append(out, body[:n]...)
		if body = body[n:]; last {
			return out
		}
	}
}

func rot13(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

// Bomb is a gzip of so many zeros, with a text at their end.
func Bomb(zeros int, text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	block := make([]byte, 1<<20)
	for zeros > 0 {
		n := min(zeros, len(block))
		_, _ = w.Write(block[:n])
		zeros -= n
	}
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}
