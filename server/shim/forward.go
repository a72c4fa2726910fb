package shim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/dial"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/inject"
	"github.com/bursar-sts/bursar/server/scrub"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// serve makes the call of a grant and passes its answer on. An error has not been answered.
func (s *Shim) serve(w http.ResponseWriter, r *http.Request, g *Grant) error {
	leave, err := s.gates.enter(g)
	if err != nil {
		return s.deny(r.Context(), g, err)
	}
	defer leave()
	socket := asksForWebSocket(r)
	if socket && !g.tool.Upstream.WebSocket {
		return s.deny(r.Context(), g, malformedRequest("upgrade.not_allowed", "The tool takes no WebSocket."))
	}
	body, err := g.body(w, r)
	if err != nil {
		return s.deny(r.Context(), g, err)
	}
	g.fits = func(next *Grant) error { return next.takes(r, body, g.match.MaxBody()) }
	call := s.watch.begin(r.Context(), g)
	defer s.watch.done(call)
	a, err := s.call(call, r, body)
	if err != nil {
		return err
	}
	if socket {
		return a.tunnel(w, r)
	}
	return a.pass(w, r)
}

// answer is what an upstream answered, and what must not be in it.
type answer struct {
	*http.Response
	*watched
	shim  *Shim
	body  payload
	scrub *scrub.Scrubber

	hits     int          // how often the key was found
	sent     atomic.Int64 // bytes of messages
	received int64        // bytes of the body, or of messages
}

// call sends a call, each time after a record of its own, and again only where that is harmless.
func (s *Shim) call(c *watched, r *http.Request, body payload) (*answer, error) {
	g := c.grant
	for turn := 0; ; turn++ {
		if err := g.Intend(c.ctx); err != nil {
			return nil, err
		}
		c.judged.Store(g.copy())
		a, err := s.send(c, r, body)
		if err == nil && a.StatusCode == http.StatusUnauthorized && turn == 0 && g.renews(body) {
			// The upstream takes its token for bad before we do: a new one is fetched, once.
			a.discard()
			a.finish(audit.Failed, "upstream.token")
			continue
		}
		if err == nil {
			return a, nil
		}
		if why, cut := causeOf(c.ctx); cut {
			err = why.refusal()
		}
		err = g.abandon(err)
		if turn >= g.tool.Upstream.Retries || !g.repeatable(body) || fault.As(err).Reason != "upstream.unreachable" {
			return nil, err
		}
	}
}

// guessed counts that a part of an answer ended with the beginning of a key, and ends the call if that was once too
// often.
func (s *Shim) guessed(c *watched) {
	g := c.judged.Load()
	s.cfg.Logger.Warn("an answer ended with the beginning of a key; it was masked", "tenant", g.view.Slug,
		"tool", g.tool.Name, "client", g.claims.ClientID, "decision_id", g.id)
	s.guesses.note(agentAt(g))
	if s.guesses.check(agentAt(g)) != nil {
		c.end(cutGuesses)
	}
}

// repeatable reports whether a call may be sent twice: it changes nothing (RFC 9110 §9.2.1), and has no body.
func (g *Grant) repeatable(body payload) bool {
	safe := g.call.Method == http.MethodGet || g.call.Method == http.MethodHead || g.call.Method == http.MethodOptions
	return safe && body.size == 0
}

// renews reports whether a refused call may be sent again with a fresh token of the upstream's own.
func (g *Grant) renews(body payload) bool {
	if !g.repeatable(body) {
		return false
	}
	dropped := false
	for i, injection := range g.tool.Upstream.Inject {
		if injection.In == tools.InOAuth2 {
			g.shim.injector.Drop(g.view.ID, injection, g.refs[i])
			dropped = true
		}
	}
	return dropped
}

// send opens the keys, puts them on the request, and sends it. Nothing of it leaves before Intend.
func (s *Shim) send(c *watched, r *http.Request, body payload) (*answer, error) {
	out := c.grant.request(c.ctx, r, body)
	with, err := s.inject(c.ctx, c.grant, out, body)
	if err != nil {
		return nil, err
	}
	response, err := with.transport.RoundTrip(out)
	if err != nil {
		return nil, failure(err, body)
	}
	found := with.scrub.Cuts(func() { s.guessed(c) })
	return &answer{Response: response, watched: c, shim: s, body: body, scrub: found}, nil
}

// outgoing makes a request to the destination of the tool, and to nothing else, with the bytes of path and query that
// were judged. It has no header yet but that it wants no compression: what is compressed cannot be searched.
func (g *Grant) outgoing(ctx context.Context) *http.Request {
	at := g.tool.Upstream.Address()
	out := (&http.Request{Method: g.call.Method, Host: at.Authority, ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Scheme: at.Scheme, Host: at.Authority}, Header: http.Header{}}).WithContext(ctx)
	inject.Place(out, g.match.Path, g.match.Query)
	out.Header.Set("Accept-Encoding", "identity")
	out.Header["User-Agent"] = nil // not the library's
	return out
}

// request makes the outgoing request of a call, with those of the agent's headers that are passed on.
func (g *Grant) request(ctx context.Context, r *http.Request, body payload) *http.Request {
	out := g.outgoing(ctx)
	for name, values := range r.Header {
		if tools.PassedOn(name, g.tool.Upstream.Headers) {
			out.Header[name] = append([]string(nil), values...)
		}
	}
	if asksForWebSocket(r) {
		handshake(out, r)
	}
	switch {
	case body.whole != nil:
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body.whole)), body.size
	case body.stream != nil:
		out.Body, out.ContentLength = body.stream, body.size
	default:
		out.Header.Del("Content-Type")
	}
	return out
}

// ready is what a request with its keys on it is sent by, and what its answer must not hold.
type ready struct {
	transport *http.Transport
	scrub     *scrub.Scrubber
}

// inject puts the tool's secrets on a request. They are open for as long as that takes.
func (s *Shim) inject(ctx context.Context, g *Grant, out *http.Request, body payload) (r ready, err error) {
	var client *vault.Value
	var ref vault.Ref
	target := &inject.Target{Tenant: g.view.ID, Request: out, Match: g.match, Body: body.whole, Dial: s.guard(g)}
	var texts []string
	for i, injection := range inject.Order(g.tool.Upstream.Inject) {
		value, err := g.view.Secrets.For(ctx, g.refs[i], g.tool.Upstream, injection)
		if err != nil {
			return r, err
		}
		if injection.In == tools.InMTLS {
			client, ref = value, g.refs[i]
		}
		more, err := s.injector.Apply(ctx, target, *injection, g.refs[i], value)
		if err != nil {
			return r, err
		}
		texts = append(texts, more...)
	}
	if r.transport, err = s.pool.transport(g, ref, client); err != nil {
		return r, fault.Wrap(fault.Unavailable, "upstream.unusable", "", err)
	}
	r.scrub = s.scrubber(g, texts).With(target.Once...)
	return r, nil
}

// scrubber finds texts in answers. Making one takes longer than a whole call, so that it is kept for a while.
func (s *Shim) scrubber(g *Grant, texts []string) *scrub.Scrubber {
	var room [1 << 10]byte
	all := room[:0]
	for _, text := range texts {
		all = append(append(all, text...), 0)
	}
	key, size, now := sha256.Sum256(all), len(all), s.cfg.Tenants.Now()
	clear(all)
	if known, ok := s.scrubs.Get(g.view.ID, key, now); ok {
		return known
	}
	made := scrub.New(texts...)
	s.scrubs.Put(g.view.ID, key, made, perScrubber+perByte*size, now.Add(keepScrubber), now)
	return made
}

// How long a scrubber is kept, and about what it takes, in bytes.
const (
	keepScrubber = 5 * time.Minute
	perScrubber  = 32 << 10
	perByte      = 550
)

// failure classifies what kept a call from being answered. The text of err may name addresses, so it is for the
// operator's log alone.
func failure(err error, body payload) error {
	var network net.Error
	switch {
	case body.over():
		return errTooLarge
	case errors.Is(err, dial.ErrRefused):
		return fault.Wrap(fault.InvalidTarget, "upstream.refused", "The upstream is at an address that is not allowed; "+
			"an operator can allow it.", err)
	case errors.Is(err, context.Canceled):
		return fault.Wrap(fault.Unavailable, "cut.caller", "", dial.Cause(err))
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, "upstream.timeout", "The upstream did not answer in time.", dial.Cause(err))
	}
	return fault.Wrap(fault.Unavailable, "upstream.unreachable", "The upstream cannot be reached, or its certificate is "+
		"not the expected one.", dial.Cause(err))
}
