package shim

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/scrub"
	"github.com/bursar-sts/bursar/server/tools"
)

// hopByHop are the headers of one connection (RFC 9110 §7.6.1), and those that bind an answer to one.
var hopByHop = set("Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade")

// stripped are the headers that would let an upstream act upon the agent, send it elsewhere, or have a proxy in front
// of the shim give it something else.
var stripped = set("Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info", "Proxy-Authenticate",
	"Proxy-Authentication-Info", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "Public-Key-Pins",
	"X-Accel-Redirect", "X-Sendfile", "X-Lighttpd-Send-File", "X-Reproxy-Url", "Authorization", ErrorHeader)

// set is a set of headers, in their canonical spelling.
func set(names ...string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[http.CanonicalHeaderKey(name)] = true
	}
	return all
}

// clean removes from an answer's headers, or trailers, what must not be passed on, and masks the key in the rest. It
// returns how often it was there.
func (a *answer) clean(h http.Header) (hits int) {
	if len(h) == 0 {
		return 0
	}
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for name := range h {
		alike := name // what some would take it for
		if strings.ContainsAny(name, "_.") {
			alike = http.CanonicalHeaderKey(dashes.Replace(name))
		}
		keep := name == "Www-Authenticate" && a.grant.tool.Upstream.Response.KeepChallenge
		if hopByHop[name] || stripped[alike] && !keep {
			delete(h, name)
		}
	}
	for _, name := range a.grant.tool.Upstream.Response.Strip {
		h.Del(name)
	}
	a.relocate(h)
	return a.scrub.Header(h)
}

var dashes = strings.NewReplacer("_", "-", ".", "-")

// relocate makes what leads back to the upstream lead through the shim. Where it leads elsewhere it is left: nobody
// here follows it, and the agent has no key to take there.
func (a *answer) relocate(h http.Header) {
	at := a.grant.tool.Upstream.Address()
	for _, name := range []string{"Location", "Content-Location"} {
		if h.Get(name) == "" {
			continue
		}
		target, err := url.Parse(h.Get(name))
		switch {
		case err != nil || len(h[name]) > 1:
			h.Del(name)
			continue
		case target.Host == "" && target.Scheme == "" && strings.HasPrefix(target.Path, "/"),
			target.Scheme == at.Scheme && strings.EqualFold(target.Host, at.Authority):
			rest := target.EscapedPath()
			if target.RawQuery != "" {
				rest += "?" + target.RawQuery
			}
			h.Set(name, a.grant.tool.Resource+rest)
		}
	}
}

// pass passes the answer on, without the key. Once it has begun, what goes wrong cuts it off.
func (a *answer) pass(w http.ResponseWriter, r *http.Request) error {
	body, err := a.open(r)
	if err != nil {
		return a.spoiled(err)
	}
	h := w.Header()
	a.hits += a.clean(a.Header)
	for name, values := range a.Header {
		h[name] = values
	}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // not what net/http would guess
	}
	if body.decoded {
		h.Del("Content-Encoding")
		h.Del("Content-Length")
	}
	a.hits += a.clean(a.Trailer) // which has its names by now
	for name := range a.Trailer {
		h.Add("Trailer", name)
	}
	w.WriteHeader(a.StatusCode)
	count, err := a.copy(w, body)
	a.received = count
	if body.masked != nil {
		a.hits += body.masked.Hits()
	}
	if err != nil {
		a.broken(err)
	}
	if body.decoded { // which ends before the body that it was in does: the trailer comes after that
		_, _ = io.CopyN(io.Discard, a.Body, 1)
	}
	a.hits += a.clean(a.Trailer)
	for name, values := range a.Trailer {
		h[name] = values
	}
	a.finish(audit.Allowed, "")
	return nil
}

// spoiled ends an answer of which nothing was passed on.
func (a *answer) spoiled(err error) error {
	a.discard()
	f := *fault.As(err)
	f.DecisionID = a.grant.id
	a.finish(audit.Failed, f.Reason)
	return &f
}

// broken ends an answer of which something was passed on already: the agent must see that it is not whole.
func (a *answer) broken(err error) {
	a.discard()
	why, cut := causeOf(a.ctx)
	reason := string(why)
	switch {
	case cut:
		a.shim.count.cut.Add(1)
	case a.body.over():
		reason = errTooLarge.Reason
	case fault.As(err).Kind != fault.Internal:
		reason = fault.As(err).Reason
	case a.ctx.Err() != nil:
		reason = "cut.caller"
	default:
		reason = "upstream.broken"
	}
	a.finish(audit.Failed, reason)
	panic(http.ErrAbortHandler)
}

func (a *answer) discard() { _ = a.Body.Close() }

// source is the body of an answer with the key masked.
type source struct {
	io.Reader
	masked  *scrub.Reader // nil where it is not searched
	decoded bool          // it was compressed
	stream  bool          // each piece is passed on at once
	events  bool          // it is an event stream
}

// open returns the body of an answer as it may be passed on. What cannot be searched is refused.
func (a *answer) open(r *http.Request) (s source, err error) {
	if a.StatusCode < 200 || a.StatusCode > 599 {
		return s, fault.New(fault.Unavailable, "answer.status", "The upstream's status means nothing here.")
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	s.events = strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
	s.stream = a.ContentLength < 0 || s.events
	s.Reader = a.Body
	empty := r.Method == http.MethodHead || a.StatusCode == 204 || a.StatusCode == 304
	if a.grant.tool.Upstream.Response.Scrub == tools.ScrubHeaders || empty {
		return s, nil
	}
	if !searchable(a.Header["Content-Type"]) {
		return s, fault.New(fault.Unavailable, "answer.unscrubbable",
			"The upstream's answer is in characters that cannot be searched for the key.")
	}
	limit := int64(a.grant.tool.Upstream.Response.MaxBody)
	if coding := a.Header["Content-Encoding"]; len(coding) > 0 {
		if s.Reader, err = scrub.Decode(coding, a.Body, scrub.Limit{Bytes: limit}); err != nil {
			return s, fault.Wrap(fault.Unavailable, "answer.unscrubbable",
				"The upstream's answer is compressed in a way that cannot be searched for the key.", err)
		}
		s.decoded = true
	}
	s.masked = a.scrub.Reader(s.Reader)
	s.Reader = s.masked
	return s, nil
}

// charsets are the beginnings of names of charsets in which ASCII is itself.
var charsets = []string{"utf-8", "utf8", "us-ascii", "ascii", "iso-8859", "iso8859", "iso-2022", "latin", "windows-125",
	"cp125", "windows-31j", "koi8", "shift_jis", "sjis", "euc-", "gb", "big5", "tis-620", "macintosh"}

// searchable reports whether the characters of a body are the bytes that a key is searched for, as in nearly all
// charsets. An agent can ask many servers for one in which they are not, such as UTF-16, within Accept.
func searchable(contentTypes []string) bool {
	for _, text := range contentTypes {
		for i, rest := range strings.Split(strings.ToLower(text), "charset") {
			name := strings.TrimLeft(rest, " \t=\"'*")
			begins := func(known string) bool { return strings.HasPrefix(name, known) }
			if i > 0 && name != "" && !slices.ContainsFunc(charsets, begins) {
				return false
			}
		}
	}
	return true
}

// copy passes a body on, piece by piece. The agent must read, and the upstream must write, within the idle time.
func (a *answer) copy(w http.ResponseWriter, from source) (count int64, err error) {
	control := http.NewResponseController(w)
	u := a.grant.tool.Upstream
	idle, limit := a.grant.timeouts().idle, int64(u.Response.MaxBody)
	stalled := time.AfterFunc(idle, func() { _ = a.Body.Close() })
	defer stalled.Stop()
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // of the connection, which others use after this
	if from.stream {
		a.outlive()
	}
	pool := &buffers
	if from.events {
		pool = &smallBuffers
	}
	buffer := pool.Get().(*[]byte)
	defer pool.Put(buffer)
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			stalled.Reset(idle)
			if count += int64(n); limit > 0 && count > limit {
				return count, fault.New(fault.Unavailable, "answer.too_large", "")
			}
			_ = control.SetWriteDeadline(time.Now().Add(idle))
			if _, err := w.Write((*buffer)[:n]); err != nil {
				return count, err
			}
			if from.stream {
				_ = control.Flush()
			}
		}
		switch {
		case err == io.EOF:
			// The transport may take its own end of a call that was cut for the end of the body.
			if why, cut := causeOf(a.ctx); cut {
				return count, why
			}
			return count, nil
		case errors.Is(err, scrub.ErrUnscrubbable):
			return count, fault.Wrap(fault.Unavailable, "answer.unscrubbable", "", err)
		case err != nil:
			return count, err
		}
	}
}

// buffers are those of copies under way. Event streams have small ones: there can be thousands, which have nothing to
// say for most of the time.
var buffers, smallBuffers = pooled(32 << 10), pooled(4 << 10)

func pooled(size int) sync.Pool {
	return sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// finish records how the call ended.
func (a *answer) finish(outcome audit.Outcome, reason string) {
	e := a.grant.event(outcome, reason, audit.UseOutcome)
	e.Body.Use.Status, e.Body.Use.Sent, e.Body.Use.Received = int64(a.StatusCode), a.body.sent()+a.sent.Load(), a.received
	e.Body.Use.Scrubbed = int64(a.hits)
	e.Body.Use.Duration = max(time.Since(a.grant.began).Milliseconds(), 1)
	a.grant.post(e)
	a.shim.count.scrubbed.Add(int64(a.hits))
	if outcome == audit.Allowed {
		a.shim.count.answered.Add(1)
	} else {
		a.shim.count.failed.Add(1)
	}
	if a.hits > 0 {
		a.shim.cfg.Logger.Warn("the upstream sent the key back; it was masked", "tenant", a.grant.view.Slug,
			"tool", a.grant.tool.Name, "decision_id", a.grant.id, "times", a.hits)
	}
}
