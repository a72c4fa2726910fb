package shim

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/inject"
)

// payload is the body of a call: whole if a rule or an injection has to see it, else as it comes.
type payload struct {
	whole  []byte // nil if there is none, or it is a stream
	stream *metered
	size   int64 // -1 if it is not known
}

// metered reads the body of an agent, no more than it may send, and not for longer than it may be silent.
type metered struct {
	from  io.ReadCloser
	until func(time.Time) // sets when the next read must have ended
	idle  time.Duration
	end   time.Time // of all of it; zero: the call has one of its own
	left  int64
	count atomic.Int64
	over  atomic.Bool // it was longer than it may be
}

func (m *metered) Read(b []byte) (int, error) {
	if m.over.Load() {
		return 0, errTooLarge
	}
	next := time.Now().Add(m.idle)
	if !m.end.IsZero() && m.end.Before(next) {
		next = m.end
	}
	m.until(next)
	n, err := m.from.Read(b[:min(int64(len(b)), m.left+1)])
	if int64(n) > m.left {
		m.over.Store(true)
		return int(m.left), errTooLarge
	}
	if err == io.EOF {
		m.until(time.Time{})
	}
	m.left -= int64(n)
	m.count.Add(int64(n))
	return n, err
}

func (m *metered) Close() error { return m.from.Close() }

var errTooLarge = fault.New(fault.TooLarge, "body.too_large", "The body is larger than the tool takes.")

// body reads and judges the body of a call, as far as it must be read before it is sent.
func (g *Grant) body(w http.ResponseWriter, r *http.Request) (payload, error) {
	kind, coding := r.Header.Get("Content-Type"), strings.Join(r.Header["Content-Encoding"], ",")
	switch {
	case r.ContentLength == 0:
		return payload{}, g.match.CheckBody(kind, nil)
	case len(r.Header["Content-Type"]) > 1:
		return payload{}, fault.New(fault.InvalidRequest, "body.ambiguous", "There must be one Content-Type header.")
	case coding != "" && coding != "identity":
		return payload{}, fault.New(fault.InvalidRequest, "body.type", "The body must not be compressed.")
	}
	if err := g.match.CheckType(kind, r.ContentLength); err != nil {
		return payload{}, err
	}
	control := http.NewResponseController(w)
	m := &metered{from: r.Body, left: g.match.MaxBody(), idle: g.timeouts().idle,
		until: func(t time.Time) { _ = control.SetReadDeadline(t) }}
	if !g.match.Whole(kind) && !inject.SignsBody(g.tool.Upstream) {
		return payload{stream: m, size: r.ContentLength}, nil
	}
	m.end = time.Now().Add(g.timeouts().total)
	whole, err := io.ReadAll(m)
	switch {
	case errors.Is(err, errTooLarge):
		return payload{}, errTooLarge
	case err != nil: // the agent has left, or sends rubbish
		return payload{}, fault.Wrap(fault.InvalidRequest, "body.ambiguous", "The body ended before its end.", err)
	}
	return payload{whole: whole, size: int64(len(whole))}, g.match.CheckBody(kind, whole)
}

// takes judges a body again that was read when the tool was another one, and could have that many bytes then.
func (g *Grant) takes(r *http.Request, body payload, most int64) error {
	kind := r.Header.Get("Content-Type")
	switch {
	case asksForWebSocket(r) && !g.tool.Upstream.WebSocket:
		return malformedRequest("upgrade.not_allowed", "The tool takes no WebSocket.")
	case body.stream == nil:
		return g.match.CheckBody(kind, body.whole)
	case g.match.Whole(kind), inject.SignsBody(g.tool.Upstream), body.size < 0 && g.match.MaxBody() < most:
		return errChanging // some of it may be on its way already
	}
	return g.match.CheckType(kind, body.size)
}

// sent is how many bytes went out.
func (p payload) sent() int64 {
	if p.stream != nil {
		return p.stream.count.Load()
	}
	return int64(len(p.whole))
}

// over reports whether a stream was longer than it may be.
func (p payload) over() bool { return p.stream != nil && p.stream.over.Load() }
