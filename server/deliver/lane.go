package deliver

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// workers bounds how many logs are copied to one sink at once.
const workers = 8

// lane is the way to one sink: the logs that are copied to it, and those of them that wait for a worker. A worker lives
// while there is something to do, so that a log without news costs a few bytes.
type lane struct {
	d      *Deliverer
	target Target

	delivered, retries, dead atomic.Int64

	mu      sync.Mutex // guards what follows, and all feeds of the lane
	feeds   []*feed
	queue   []*feed
	workers int
	closed  bool
	warned  time.Time
}

// feed is one log on its way to one sink.
type feed struct {
	lane *lane
	log  Log

	covered Covered
	next    ledger.Mark // where the sink stands, as this process knows
	busy    bool        // it is queued or worked on
	rest    *time.Timer // after a failure, or while somebody else copies; nil if it does not rest
	failed  int         // attempts in a row that failed
	held    int         // attempts in a row in which somebody else copied
}

// add returns the feed of a log that is new.
func (l *lane) add(log Log) *feed {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &feed{lane: l, log: log}
	l.feeds = append(l.feeds, f)
	return f
}

// advance notes that more of a log is covered.
func (l *lane) advance(f *feed, c Covered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.after(f.covered) {
		f.covered = c
	}
	l.consider(f)
}

// learn notes how far a log is covered, and its sink has come.
func (l *lane) learn(f *feed, c Covered, next ledger.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.after(f.covered) {
		f.covered = c
	}
	f.heard(next)
	l.consider(f)
}

// heard notes where the store says that the sink stands. If it came further than this process knew, then somebody got
// through to it. The caller holds the lock.
func (f *feed) heard(next ledger.Mark) {
	if f.moved(next) {
		f.failed = 0
	}
}

// moved notes where the sink stands, and reports whether that is further. What is learned late is not taken for a step
// back. The caller holds the lock.
func (f *feed) moved(next ledger.Mark) bool {
	if next.Epoch > f.next.Epoch || next.Epoch == f.next.Epoch && next.Index > f.next.Index {
		f.next = next
		return true
	}
	return false
}

// consider queues a feed that has something to do. The caller holds the lock.
func (l *lane) consider(f *feed) {
	if l.closed || f.busy || f.rest != nil || f.covered.behind(f.next) == 0 {
		return
	}
	f.busy = true
	l.queue = append(l.queue, f)
	if l.workers < workers {
		l.workers++
		l.d.running.Go(l.work)
	}
}

// work takes turns with the feeds that wait.
func (l *lane) work() {
	for f := l.pop(); f != nil; f = l.pop() {
		l.done(f, l.turn(f))
	}
}

// pop returns who has waited longest; nil, and the worker ends, if nobody has.
func (l *lane) pop() *feed {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.closed {
		l.queue = nil
		l.workers--
		return nil
	}
	f := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return f
}

// done ends a turn of a feed, which then rests for a while.
func (l *lane) done(f *feed, rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.busy = false
	if rest <= 0 || l.closed {
		l.consider(f)
		return
	}
	f.rest = time.AfterFunc(rest, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.rest = nil
		l.consider(f)
	})
}

// close lets no turn begin any more.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, f := range l.feeds {
		if f.rest != nil {
			f.rest.Stop()
		}
	}
}

// state returns how far a feed's log is covered.
func (l *lane) state(f *feed) Covered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.covered
}

func (l *lane) status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Name: l.target.Name, Delivered: l.delivered.Load(), Retries: l.retries.Load(), Dead: l.dead.Load()}
	for _, f := range l.feeds {
		s.Behind += f.covered.behind(f.next)
		if f.failed > 0 {
			s.Waiting++
		}
	}
	return s
}

// Pauses while somebody else copies; each is twice the one before.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
)

// doubled returns first, doubled so many times, at most most, and of that between half and all of it: those who wait
// for the same thing do not come at the same time.
func doubled(first, most time.Duration, times int) time.Duration {
	d := most
	if times < 32 && first<<times > 0 {
		d = min(first<<times, most)
	}
	return d/2 + rand.N(d/2+1)
}
