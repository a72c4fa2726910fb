package audit

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
)

// How many events refusals can become. One log gets at most floodBurst of them at once, and another one with every
// floodPause: however many reasons somebody finds to be refused for, no more than 240 and 1,200 an hour.
const (
	floodWindow = time.Second // how long refusals alike are counted, at least, before they are recorded
	floodBurst  = 240
	floodPause  = 3 * time.Second
	floodRound  = 1024 // how many all logs get together in a floodWindow; the others wait
)

// maxReasons bounds the reasons that are counted apart in one log, of which we have fewer; what comes beyond them is
// counted together, as reasonOther.
const (
	maxReasons  = 256
	reasonOther = "other"
)

// floods counts the refusals of callers that nobody knows, so that they cannot fill a log. Those of one log do not
// touch the others': each has its own windows, and its own room.
type floods struct {
	log     *Log
	writing sync.Mutex // held by flush, so that close waits for one that is under way
	mu      sync.Mutex // guards what follows
	logs    map[Origin]*tally
	timer   *time.Timer // runs while a window is open
	done    bool
}

// tally is what is counted for one log.
type tally struct {
	open map[string]flood // by reason
	full time.Time        // when there is room for floodBurst events again
}

type flood struct {
	count      int64
	start, end int64      // Unix seconds
	ip         netip.Addr // of the first
}

// ripe is a flood whose window has ended.
type ripe struct {
	origin Origin
	reason string
	flood
}

// Refuse notes an unauthenticated refusal. Those of one log and reason become one event, with their number and the
// address of the first: a second's worth at first, and more the longer it goes on. It never blocks; nothing depends on
// it, and what a crash loses of it is only counts.
func (l *Log) Refuse(o Origin, reason string, ip netip.Addr) {
	now := l.cfg.Now().Unix()
	l.floods.add(ripe{o, slug(reason), flood{count: 1, start: now, end: now, ip: ip}})
}

// add counts r, in the open window or in a new one.
func (s *floods) add(r ripe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		s.log.count.lost.Add(r.count)
		return
	}
	t := s.logs[r.origin]
	if t == nil {
		t = &tally{open: make(map[string]flood)}
		s.logs[r.origin] = t
	}
	w, ok := t.open[r.reason]
	if !ok && len(t.open) >= maxReasons {
		r.reason = reasonOther
		w, ok = t.open[r.reason]
	}
	if ok {
		r.flood = flood{count: w.count + r.count, start: min(w.start, r.start), end: max(w.end, r.end), ip: w.ip}
	}
	t.open[r.reason] = r.flood
	s.schedule()
}

// schedule has the open windows looked at. The caller holds the lock.
func (s *floods) schedule() {
	if s.timer == nil {
		s.timer = time.AfterFunc(floodWindow, s.flush)
	}
}

// flush records the windows that there is room for. What the log does not accept now is counted on, and takes no room.
func (s *floods) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, r := range s.take(time.Now()) {
		body := Body{Outcome: Denied, Reason: r.reason, Count: r.count, Start: r.start, End: r.end}
		body.Request.IP = r.ip
		err := s.log.post(r.origin, Event{Name: DenyFlood, Body: body}, false)
		switch {
		case errors.Is(err, fault.ErrUnavailable):
			s.yield(r.origin)
			s.add(r)
		case err != nil:
			s.log.count.lost.Add(r.count)
		}
	}
}

// take closes the windows that there is room for; at the end, all of them.
func (s *floods) take(now time.Time) (all []ripe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	for origin, t := range s.logs { // in another order each time, so that all have their turn
		n := len(t.open)
		if !s.done {
			n = min(n, t.room(now), floodRound-len(all))
		}
		for _, reason := range t.oldest(n) {
			all = append(all, ripe{origin, reason, t.open[reason]})
			delete(t.open, reason)
		}
		t.spend(now, n)
		switch {
		case len(t.open) > 0:
			s.schedule()
		case !t.full.After(now):
			delete(s.logs, origin)
		}
	}
	return all
}

// yield gives back the room of an event that was not recorded.
func (s *floods) yield(o Origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.logs[o]; t != nil {
		t.full = t.full.Add(-floodPause)
	}
}

// close records what was counted. What is refused from now on is not.
func (s *floods) close() {
	s.mu.Lock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.flush()
}

// room returns how many events the log can have.
func (t *tally) room(now time.Time) int {
	return int((floodBurst*floodPause - max(t.full.Sub(now), 0)) / floodPause)
}

// spend takes the room of n events.
func (t *tally) spend(now time.Time, n int) {
	if n > 0 {
		t.full = now.Add(max(t.full.Sub(now), 0) + time.Duration(n)*floodPause)
	}
}

// oldest returns the reasons of the n windows that have been open for the longest.
func (t *tally) oldest(n int) []string {
	if n <= 0 {
		return nil
	}
	reasons := slices.Collect(maps.Keys(t.open))
	if n < len(reasons) {
		slices.SortFunc(reasons, func(a, b string) int { return cmp.Compare(t.open[a].start, t.open[b].start) })
	}
	return reasons[:n]
}
