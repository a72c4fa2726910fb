package scrub

import (
	"bufio"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
)

// ErrUnscrubbable means that a body cannot be read, and so not be searched: it is in an encoding that is not undone
// here, is not what its encoding says, or is larger than allowed. Nothing of it may be passed on.
var ErrUnscrubbable = errors.New("body cannot be scrubbed")

// Limit bounds what a body may become.
type Limit struct {
	Bytes int64 // of the body as it is passed on; 0 is 64 MiB for one that was encoded, and no limit for others
	Ratio int64 // how many bytes one byte of an encoded body may become, beyond the first slack bytes; 0 is 100
}

// slack is how many bytes every encoded body may become.
const slack = 64 << 10

// Decode returns r without its content coding, which is what the fields Content-Encoding say (RFC 9110 §8.4): nothing,
// identity, gzip or deflate. Others are ErrUnscrubbable at once, and so are several: who asks for identity has no right
// to expect them. What goes wrong later is ErrUnscrubbable of a Read, which comes instead of the first byte over the
// limit. Closing what it returns closes r.
func Decode(encodings []string, r io.ReadCloser, limit Limit) (io.ReadCloser, error) {
	coding := ""
	for name := range strings.SplitSeq(strings.Join(encodings, ","), ",") {
		name = strings.ToLower(strings.Trim(name, " \t"))
		if name == "" || name == "identity" {
			continue
		}
		if coding != "" {
			return nil, ErrUnscrubbable
		}
		coding = name
	}
	b := &body{src: r, coded: &counter{r: r}, limit: limit}
	b.limit.Ratio = cmp.Or(limit.Ratio, 100)
	switch coding {
	case "":
		if limit.Bytes == 0 {
			return r, nil
		}
		b.plain = b.coded
		return b, nil
	case "gzip", "x-gzip":
		b.open = func(r *bufio.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "deflate":
		b.open = inflate
	default:
		return nil, ErrUnscrubbable
	}
	b.limit.Bytes = cmp.Or(limit.Bytes, 64<<20)
	return b, nil
}

// inflate reads deflate as it is defined (RFC 9110 §8.4.1.2: within zlib), and as many servers have it, without that.
func inflate(r *bufio.Reader) (io.Reader, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// body is a body under a limit.
type body struct {
	src   io.Closer
	coded *counter
	open  func(*bufio.Reader) (io.Reader, error)
	plain io.Reader // opened at the first Read, so that nobody waits for a body before its head is passed on
	limit Limit
	size  int64 // so far
	err   error
}

// Read reads as io.Reader says.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	b.size += int64(n)
	if b.over() {
		n, err = 0, ErrUnscrubbable
	}
	b.err = err
	return n, err
}

func (b *body) read(p []byte) (n int, err error) {
	if b.plain == nil {
		if b.plain, err = b.open(bufio.NewReader(b.coded)); err != nil {
			return 0, b.broken(err)
		}
	}
	n, err = b.plain.Read(p)
	if err != nil && err != io.EOF {
		err = b.broken(err)
	}
	return n, err
}

// broken tells a body that could not be read, or ended too early, from one that is not what its encoding says.
func (b *body) broken(err error) error {
	switch {
	case b.coded.err != nil && b.coded.err != io.EOF:
		return b.coded.err
	case err == io.EOF && b.coded.n == 0: // nothing at all, encoded
		return io.EOF
	case b.open == nil || errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return ErrUnscrubbable
}

func (b *body) over() bool {
	inflated := b.open != nil && b.size > slack && b.size/b.limit.Ratio > b.coded.n
	return inflated || b.size > b.limit.Bytes
}

// Close closes the source.
func (b *body) Close() error { return b.src.Close() }

// counter counts what is read from r.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
