package operator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// All is the After of a StreamQuery that wants everything that the log still has.
const All = -1 << 53

// StreamQuery says which events of a log are wanted. The zero value asks for all that a signed checkpoint covers; what
// has pruned events then ends in gone. An event must have all that is named.
type StreamQuery struct {
	// After is how many events of the log are already known: the first one that can be wanted has this index. A negative
	// number counts from the end.
	After int64
	// Limit, unless zero, is how many events are wanted.
	Limit int64
	// Follow waits for events that are yet to come, until the context ends. It survives a server that is away.
	Follow bool
	// Uncovered asks also for the newest events, which no signed checkpoint covers yet: they could still vanish.
	Uncovered bool

	Events   []string // names such as "token.exchange", or what they begin with, such as "admin.client"; one is enough
	Outcome  string   // allowed, denied or error
	Client   string   // that asked, or was changed or revoked
	Tool     string   // likewise
	JTI      string   // of the event, or of a token that it is about
	Decision string
	Txn      string    // the run
	Subject  string    // who acted, or for whom
	Since    time.Time // whole seconds
	Until    time.Time // not with Follow

	// Lost, if set, is told why the connection of a follower ended, before it is made again.
	Lost func(error)
}

func (q *StreamQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("after", strconv.FormatInt(q.After, 10))
	for name, n := range map[string]int64{"limit": q.Limit, "since": seconds(q.Since), "until": seconds(q.Until)} {
		if n != 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	for name, given := range map[string]bool{"follow": q.Follow, "uncovered": q.Uncovered} {
		if given {
			v.Set(name, "true")
		}
	}
	for _, name := range q.Events {
		v.Add("event", name)
	}
	set("outcome", q.Outcome)
	set("client", q.Client)
	set("tool", q.Tool)
	set("jti", q.JTI)
	set("decision", q.Decision)
	set("txn", q.Txn)
	set("subject", q.Subject)
	return v
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Stream is a reading of a log's events. It must not be used by several goroutines at once.
type Stream struct {
	log   *Log
	query StreamQuery
	begun bool // the server has answered once
}

// Stream returns a reading of events. It asks for nothing yet.
//
//	GET events?after=N&limit=N&follow=true&uncovered=true&event=…&… → 200 application/x-ndjson
//	400 invalid_request: a parameter is none; or the log has less events than are known
//	429 too_many_requests: too many read this log's events
func (l *Log) Stream(q StreamQuery) *Stream { return &Stream{log: l, query: q} }

// Next returns how many events of the log are known by now, wanted or not: the After of a query that goes on here. It
// is negative while that is not known.
func (s *Stream) Next() int64 { return s.query.After }

// Events yields the events that are wanted, in the order of the log, none of them twice. An error ends it; it may then
// be called again, and goes on where it was. A reader that follows goes on by itself once it was answered, unless the
// server refuses for good.
func (s *Stream) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for pause := firstPause; ; pause = min(2*pause, longestPause) {
			at := s.query.After
			more, err := s.read(ctx, yield)
			switch {
			case !more:
				return
			case err == nil && !s.query.Follow:
				return
			case err == nil: // the server ended in order
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case !s.query.Follow || !s.begun || !passes(err):
				yield(Event{}, err)
				return
			case s.query.Lost != nil:
				s.query.Lost(err)
			}
			if s.query.After != at {
				pause = firstPause
			}
			timer := time.NewTimer(max(pause, retryAfter(err)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

const (
	firstPause   = 100 * time.Millisecond // before a connection is made again
	longestPause = 5 * time.Second
	// silence is how long a server may say nothing. It says something every 15 s.
	silence = 45 * time.Second
	maxLine = 1 << 20 // bytes
)

// passes reports whether a call that ended so may succeed later.
func passes(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError
	}
	return errors.Is(err, ErrNoAnswer)
}

// retryAfter is how long the server asks to wait.
func retryAfter(err error) time.Duration {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.RetryAfter
	}
	return 0
}

// read makes one connection. It reports whether more events are wanted.
func (s *Stream) read(ctx context.Context, yield func(Event, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("the server said nothing for too long")) })
	defer quiet.Stop()
	k := s.log.base.below("events")
	k.query, k.accept = s.query.values(), lineMedia
	body, err := s.log.client.stream(ctx, k)
	if err != nil {
		return true, err
	}
	defer body.Close()
	s.begun = true
	lines, whole := bufio.NewScanner(body), false
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		quiet.Reset(silence)
		var e *Event
		if e, whole, err = s.line(lines.Bytes()); err != nil {
			return true, err
		}
		if e == nil {
			continue
		}
		last := s.query.Limit == 1
		s.query.Limit = max(s.query.Limit-1, 0)
		if !yield(*e, nil) || last {
			return false, nil
		}
	}
	switch {
	case lines.Err() != nil && context.Cause(ctx) != nil:
		return true, fmt.Errorf("%w: read events: %w", ErrNoAnswer, context.Cause(ctx))
	case lines.Err() != nil:
		return true, fmt.Errorf("%w: read events: %w", ErrNoAnswer, lines.Err())
	case !whole:
		return true, fmt.Errorf("%w: read events: the response is not whole", ErrNoAnswer)
	}
	return true, nil
}

// line reads one line of an answer: an event, how many events are known, which ends what is whole, or why no more come.
func (s *Stream) line(text []byte) (e *Event, whole bool, err error) {
	var l struct {
		Event
		Index   *int64   `json:"index"`
		Next    *int64   `json:"next"`
		Problem *Problem `json:"problem"`
	}
	switch err := json.Unmarshal(text, &l); {
	case err != nil:
		return nil, false, fmt.Errorf("%w: read events: %w", ErrNoAnswer, err)
	case l.Problem != nil:
		return nil, false, l.Problem
	case l.Next != nil && *l.Next >= s.query.After:
		s.query.After = *l.Next
		return nil, true, nil
	case l.Index != nil && *l.Index >= s.query.After && l.Next == nil:
		l.Event.Index, s.query.After = *l.Index, *l.Index+1
		return &l.Event, false, nil
	}
	return nil, false, fmt.Errorf("%w: read events: a line is not what follows", ErrNoAnswer)
}

// stream sends the call and returns the body of a successful answer as it comes. It lasts as long as ctx.
func (c *Client) stream(ctx context.Context, k call) (io.ReadCloser, error) {
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	sender := c.sender()
	sender.Timeout = 0
	resp, err := sender.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, err := readAnswer(resp)
		if err != nil {
			return nil, err
		}
		return nil, problem(resp, text)
	}
	if !isMedia(resp, k.accept) {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: the response is not %s; is this a bursar server?", ErrNoAnswer, k.accept)
	}
	return resp.Body, nil
}
