package logapi

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/fault"
)

// maxWait bounds how long a reader may ask to wait for the first event.
const maxWait = 30 * time.Second

// wish is what a reader of events asked for.
type wish struct {
	after  int64 // how many events are known; negative: from the end
	any    bool  // where the log begins is where the reader wants to begin
	limit  int64 // 0 is none
	follow bool
	wait   time.Duration
	covers bool // only what a head covers
	filter *filter
	render render
	sse    bool
}

var eventParameters = append([]string{"after", "limit", "follow", "wait", "uncovered", "format"}, filterParameters...)

// wish reads what is asked for.
func (c *call) wish() (*wish, error) {
	q, x := c.query, &wish{sse: accepts(c.r.Header, "Accept", "text/event-stream")}
	after, given := q.number("after", -maxNumber, maxNumber)
	if id := c.r.Header.Get("Last-Event-ID"); id != "" && x.sse {
		var err error
		if after, err = strconv.ParseInt(id, 10, 64); err != nil || after < 0 || after > maxNumber {
			return nil, fault.New(fault.InvalidRequest, "query", "The Last-Event-ID is none of this log's.")
		}
		given = true
	}
	x.after, x.any = after, !given || after < 0
	x.limit, _ = q.number("limit", 1, maxNumber)
	seconds, waits := q.number("wait", 0, int64(maxWait/time.Second))
	x.wait = time.Duration(seconds) * time.Second
	x.follow = q.flag("follow", x.sse && !waits)
	x.covers = !q.flag("uncovered", false)
	x.render = renders[q.choice("format", "json", "set", "cloudevents")]
	x.filter = newFilter(q)
	if x.follow && (waits || !x.filter.until.IsZero()) {
		return nil, fault.New(fault.InvalidRequest, "query", "What is followed does not end: leave out wait and until.")
	}
	return x, q.err
}

// stream is one reader of events.
type stream struct {
	*wish
	api   *API
	call  *call
	crowd *crowd
	out   outlet

	began   time.Time
	checked time.Time // when it was known that the reader may read
	next    int64     // the event to be read next
	sent    int64     // events
	shown   int64     // size of the checkpoint that was told
}

// events answers with the events of a log, in order and without gaps, as long as the reader wants and may. Only what a
// signed head covers is shown unless the reader says otherwise, so that nothing that was shown can vanish.
func (a *API) events(c *call) error {
	wish, err := c.wish()
	if err != nil {
		return err
	}
	if a.stopped() {
		return fault.New(fault.Unavailable, "server.stopping", "The server is about to stop; try again shortly.")
	}
	crowd, leave, err := a.crowds.enter(c.origin.Tenant, a.cfg.MaxReaders)
	if err != nil {
		return err
	}
	defer leave()
	s := &stream{wish: wish, api: a, call: c, crowd: crowd, began: time.Now(), checked: time.Now(),
		out: newOutlet(c.w, wish.sse, a.cfg.Patience)}
	switch err := s.run(c.r.Context()); {
	case !s.out.begun:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && s.out.broken:
		a.cfg.Logger.InfoContext(c.r.Context(), "a reader of events was cut: it took nothing for too long",
			"log", auditor.Origin(c.origin.Issuer, 1), "next", s.next)
	case err != nil && !s.out.broken && c.r.Context().Err() == nil:
		s.out.problem(a.problem(c, err))
	}
	return nil // the answer has begun: there can be no other
}

func (a *API) stopped() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

func (s *stream) run(ctx context.Context) error {
	seen, err := s.start(ctx)
	if err == nil && s.call.r.Method == http.MethodHead {
		return s.out.flush(true)
	}
	for err == nil {
		var done bool
		if done, err = s.show(ctx, seen); err != nil {
			return err
		}
		done = done || s.api.stopped() || !s.goesOn()
		if err = s.tell(seen, done); err != nil || done {
			return err
		}
		if err = s.pause(ctx); err == nil {
			seen, err = s.api.look(ctx, s.crowd, s.call.origin, !s.covers, false)
		}
	}
	return err
}

// start finds out where to begin.
func (s *stream) start(ctx context.Context) (sight, error) {
	seen, err := s.api.look(ctx, s.crowd, s.call.origin, !s.covers, true)
	if err != nil {
		return seen, err
	}
	if s.next = s.after; s.after < 0 {
		s.next = max(0, seen.size+s.after)
	}
	if s.next > seen.size {
		return seen, fault.New(fault.InvalidRequest, "stream.after",
			"The log has less events than that: the cursor is another log's, or the log has lost events.")
	}
	if at := s.filter.from(); !at.IsZero() {
		first, err := s.api.cfg.Events.Since(ctx, s.call.origin.Tenant, at)
		if err != nil {
			return seen, err
		}
		s.next = max(s.next, min(first, seen.size))
	}
	s.out.told = s.next
	return seen, nil
}

// page is how many records are read at a time.
const page = 128

// show sends what can be seen and is wanted. It reports whether the reader has all that it asked for.
func (s *stream) show(ctx context.Context, seen sight) (done bool, err error) {
	for s.next < seen.size && !s.api.stopped() {
		limit := int(min(page, seen.size-s.next))
		records, err := s.api.cfg.Events.Read(ctx, s.call.origin.Tenant, s.next, limit)
		if err != nil {
			return false, err
		}
		if len(records) == 0 {
			return false, fault.New(fault.Unavailable, "stream.short", "The store has less of the log than it had.")
		}
		if records[0].Index != s.next && !s.any {
			return false, fault.New(fault.Gone, "stream.pruned",
				"These events were pruned; first is the index of the first one that the log still has.")
		}
		s.any = false
		for _, r := range records {
			if r.Index >= seen.size || s.filter.over(r) {
				return true, nil
			}
			s.next = r.Index + 1
			if !s.filter.match(r) {
				continue
			}
			if err := s.out.event(s.next, s.render(s.call.origin, seen.head, r)); err != nil {
				return false, err
			}
			if s.sent++; s.sent == s.limit {
				return true, nil
			}
		}
		if err := s.out.pass(s.next); err != nil {
			return false, err
		}
	}
	return false, nil
}

// tell lets the reader know where it stands: at once if that is all, else when there is something new.
func (s *stream) tell(seen sight, done bool) error {
	if s.covers && seen.size > s.shown && s.next == seen.size {
		s.shown = seen.size
		s.out.checkpoint(s.next, seen.head.Note)
	}
	if done {
		s.out.cursor(s.next)
	} else if err := s.out.pass(s.next); err != nil {
		return err
	}
	return s.out.flush(!s.out.begun)
}

// goesOn reports whether the reader wants to wait for more.
func (s *stream) goesOn() bool {
	return s.follow || s.sent == 0 && time.Since(s.began) < s.wait
}

// recheck is how often it is looked whether a follower may still read.
const recheck = time.Second

// pause waits until it is time to look again.
func (s *stream) pause(ctx context.Context) error {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.api.stopping:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(s.checked) >= recheck {
		if _, err := s.api.authorize(s.call); err != nil {
			return err
		}
		s.checked = time.Now()
	}
	if time.Since(s.out.at) >= s.api.cfg.Heartbeat {
		s.out.cursor(s.next)
		return s.out.flush(true)
	}
	return nil
}
