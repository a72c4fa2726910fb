package upstream

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Request is a request as it came over the wire.
type Request struct {
	Raw    []byte // every byte: head, and body with its chunks
	Line   string // the request line
	Method string
	Target string // as it was written
	Header []Field
	Body   []byte // without the framing
	SNI    string // the name that was asked for in the TLS handshake
	Peer   []*x509.Certificate
	Remote string // the address that it came from
}

// Field is one header line, in the letters in which it came.
type Field struct{ Name, Value string }

// Get returns the values of a header, in order.
func (r *Request) Get(name string) (values []string) {
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return values
}

// Head returns the request line and the headers, without the empty line.
func (r *Request) Head() []byte {
	head, _, _ := bytes.Cut(r.Raw, []byte("\r\n\r\n"))
	return head
}

// Path returns the target's path, as it was written.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// Query returns the target's query, decoded, as far as it can be.
func (r *Request) Query() url.Values {
	_, query, _ := strings.Cut(r.Target, "?")
	values, _ := url.ParseQuery(query) // what a careless API does
	return values
}

// carries reports whether a request holds a key, as it is or as its place wants it.
func (r *Request) carries(key string) bool {
	if key == "" {
		return false
	}
	forms := []string{key, url.QueryEscape(key), url.PathEscape(key)}
	if quoted, err := json.Marshal(key); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, form := range forms {
		if bytes.Contains(r.Raw, []byte(form)) {
			return true
		}
	}
	for _, value := range r.Get("Authorization") {
		if pair, ok := strings.CutPrefix(value, "Basic "); ok {
			text, err := base64.StdEncoding.DecodeString(pair)
			if err == nil && strings.Contains(string(text), key) {
				return true
			}
		}
	}
	return false
}

// Bounds of a request.
const (
	maxHead = 1 << 20
	maxBody = 64 << 20
)

var errRequest = errors.New("not a request")

// reader reads requests, and keeps their bytes.
type reader struct {
	*bufio.Reader
	kept *recorder
}

type recorder struct {
	io.Reader
	mu  sync.Mutex
	all []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.mu.Lock()
	r.all = append(r.all, b[:n]...)
	r.mu.Unlock()
	return n, err
}

func newReader(from io.Reader) *reader {
	kept := &recorder{Reader: from}
	return &reader{bufio.NewReader(kept), kept}
}

// take returns the bytes that were read since the last take, without those that are only buffered.
func (r *reader) take() []byte {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	n := len(r.kept.all) - r.Buffered()
	taken := append([]byte(nil), r.kept.all[:n]...)
	r.kept.all = append(r.kept.all[:0], r.kept.all[n:]...)
	return taken
}

// next reads a request whole. It asks for the body if the client waits to be asked (RFC 9110 §10.1.1).
func (r *reader) next(w *wire) (*Request, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	request := &Request{Line: line}
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return nil, errRequest
	}
	request.Method, request.Target = parts[0], parts[1]
	if request.Header, err = r.fields(); err != nil {
		return nil, err
	}
	w.upstream.begin()
	if strings.EqualFold(strings.Join(request.Get("Expect"), ","), "100-continue") {
		if _, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, err
		}
	}
	request.Body, err = r.body(request)
	request.Raw = r.take()
	return request, err
}

func (r *reader) line() (string, error) {
	var line []byte
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return "", err
		}
		if line = append(line, part...); len(line) > maxHead {
			return "", errRequest
		}
		if !more {
			return string(line), nil
		}
	}
}

func (r *reader) fields() (all []Field, err error) {
	for {
		line, err := r.line()
		if err != nil || line == "" {
			return all, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errRequest
		}
		all = append(all, Field{name, strings.Trim(value, " \t")})
	}
}

func (r *reader) body(request *Request) ([]byte, error) {
	if strings.EqualFold(strings.Join(request.Get("Transfer-Encoding"), ","), "chunked") {
		return r.chunked()
	}
	lengths := request.Get("Content-Length")
	if len(lengths) == 0 {
		return nil, nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 32)
	if err != nil || n > maxBody || len(lengths) > 1 {
		return nil, errRequest
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	return body, err
}

func (r *reader) chunked() (body []byte, err error) {
	for {
		line, err := r.line()
		if err != nil {
			return body, err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 32)
		if err != nil || len(body)+int(n) > maxBody {
			return body, errRequest
		}
		if n == 0 {
			_, err := r.fields() // trailers
			return body, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return body, err
		}
		body = append(body, chunk[:n]...)
	}
}
