package audit

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
)

// maxFloods bounds the windows that are open at once.
const maxFloods = 1024

// floodWindow is how long refusals alike are counted before they are recorded.
const floodWindow = time.Second

// floods counts the refusals of callers that nobody knows, so that they cannot fill a log.
type floods struct {
	log   *Log
	mu    sync.Mutex // guards what follows
	open  map[floodKey]flood
	timer *time.Timer // runs while a window is open
	done  bool
}

type floodKey struct {
	origin Origin
	reason string
}

type flood struct {
	count      int64
	start, end int64      // Unix seconds
	ip         netip.Addr // of the first
}

// Refuse notes an unauthenticated refusal. Those of one tenant and reason within a second become one event, with their
// number and the address of the first. It never blocks; nothing depends on it, and what a crash or more than 1024
// kinds at once lose of it is only counts.
func (l *Log) Refuse(o Origin, reason string, ip netip.Addr) {
	now := l.cfg.Now().Unix()
	l.floods.add(floodKey{o, slug(reason)}, flood{count: 1, start: now, end: now, ip: ip})
}

// add counts f under key, in the open window or in a new one.
func (s *floods) add(key floodKey, f flood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.open[key]
	if s.done || !ok && len(s.open) >= maxFloods {
		s.log.count.lost.Add(f.count)
		return
	}
	if ok {
		f = flood{count: w.count + f.count, start: min(w.start, f.start), end: max(w.end, f.end), ip: w.ip}
	}
	if s.open == nil {
		s.open = make(map[floodKey]flood)
	}
	s.open[key] = f
	if s.timer == nil {
		s.timer = time.AfterFunc(floodWindow, s.flush)
	}
}

// flush records all open windows. What the log does not accept now is counted on.
func (s *floods) flush() {
	s.mu.Lock()
	open := s.open
	s.open, s.timer = nil, nil
	s.mu.Unlock()
	for key, f := range open {
		body := Body{Outcome: Denied, Reason: key.reason, Count: f.count, Start: f.start, End: f.end}
		body.Request.IP = f.ip
		err := s.log.post(key.origin, Event{Name: DenyFlood, Body: body})
		switch {
		case errors.Is(err, fault.ErrUnavailable):
			s.add(key, f)
		case err != nil:
			s.log.count.lost.Add(f.count)
		}
	}
}

func (s *floods) close() {
	s.mu.Lock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.flush()
}
