package tree_test

import (
	"bytes"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/tree"
)

// clock is one that can be set.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) set(by time.Duration) { c.ahead.Add(int64(by)) }

// startBy starts a process that has the time from a clock.
func (w *world) startBy(c *clock) *process {
	p := &process{w: w, said: new(bytes.Buffer)}
	logger := slog.New(slog.NewTextHandler(p.said, nil))
	p.trees = tree.New(tree.Config{Store: w.store, Master: w.master, Anchors: w.anchors, Interval: time.Millisecond,
		Now: c.now, Logger: logger})
	p.log = audit.New(audit.Config{Store: w.store, Master: w.master, Deadline: time.Minute, Node: "r1", Now: c.now,
		Logger: logger, Appended: p.trees.Appended, Gate: p.trees.Gate})
	w.t.Cleanup(p.kill)
	return p
}

// A clock that goes backwards, to before the log and its keys were made, stops nothing: events are recorded and heads
// signed, in a process that runs and in one that is started then. The log verifies, and says where the clock went back.
func TestAClockThatGoesBackwardsStopsNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		c := new(clock)
		p := w.startBy(c)
		p.append(30)
		before := p.head()
		c.set(-time.Hour)
		p.append(30)
		after := p.head()
		if after.Size != before.Size+30 {
			t.Errorf("the head covers %d entries, want %d", after.Size, before.Size+30)
		}
		next := w.startBy(c)
		next.append(30)
		size := next.head().Size
		for _, p := range []*process{p, next} {
			p.passes(size, before.Note, after.Note)
		}
		r := w.verify(next.export(), next.vkeys(), before.Note, after.Note)
		if len(r.Findings) != 1 || r.Completeness != auditor.OK {
			t.Fatalf("found %+v, completeness %s", r.Findings, r.Completeness)
		}
		f := r.Findings[0]
		if f.Severity != auditor.Warning || f.Code != auditor.ClockBack || f.Index != before.Size {
			t.Errorf("found %+v, want a warning at entry %d", f, before.Size)
		}
		c.set(2 * time.Hour) // and set right, beyond where it was
		p.append(1)
		p.passes(size + 1)
	})
}
