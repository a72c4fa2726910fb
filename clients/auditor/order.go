package auditor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// maxWriters bounds the servers of a log whose state is kept. A server is a new one with each start.
const maxWriters = 1 << 20

// order follows the count that each writer keeps of its events (wsn): a number that is missing is an event that is.
type order struct {
	report  *Report
	pruned  bool // the log does not begin with its first entry
	writers map[string]*writer
	gaps    []*gap
	damaged []int64 // entries whose number cannot be believed, and that may be one that is missed
	deleted []int64 // entries that are known to be missing, by the tree
	full    bool    // there are more writers than can be followed
}

type writer struct {
	last    int64 // number of its newest event
	index   int64 // of the entry that has it
	issued  int64 // iat of that
	doubted bool  // that entry may not be the one that has the number
	gaps    bool  // it passed over numbers
	back    int64 // how often its clock went back, by how much at most, and first in which entry
	most    int64
	backAt  int64
}

// gap is a run of numbers that a writer passed over.
type gap struct {
	writer      string
	first, last int64 // the numbers
	after, at   int64 // entries: the one before the gap, and the one that shows it; after is -1 for the log's beginning
	late        int64 // an entry that came later with one of the numbers; 0 if none did
	found       int64 // how many of them did
}

// damage notes an entry that is not what its writer wrote, and so may be any.
func (o *order) damage(index int64, set *SET) {
	if set != nil {
		if w := o.writers[set.Writer]; w != nil && set.Sequence == w.last+1 {
			w.last, w.index, w.doubted = set.Sequence, index, true // the number at least is in its place
			return
		}
	}
	o.damaged = append(o.damaged, index)
}

// see takes the next event, in the order of the log.
func (o *order) see(index int64, set *SET) {
	w := o.writers[set.Writer]
	if w == nil {
		if len(o.writers) >= maxWriters {
			o.full = true
			return
		}
		w = &writer{index: -1}
		if o.pruned {
			w.last = set.Sequence - 1
		}
		o.writers[set.Writer] = w
	}
	switch {
	case set.Sequence == w.last && w.doubted: // this one has it
	case set.Sequence <= w.last:
		o.late(w, index, set)
		return
	case set.Sequence > w.last+1:
		o.gaps = append(o.gaps, &gap{writer: set.Writer, first: w.last + 1, last: set.Sequence - 1,
			after: w.index, at: index})
		w.gaps = true
	}
	if set.IssuedAt < w.issued {
		if w.back++; w.back == 1 {
			w.backAt = index
		}
		w.most = max(w.most, w.issued-set.IssuedAt)
	}
	w.last, w.index, w.issued, w.doubted = set.Sequence, index, set.IssuedAt, false
}

// late takes an event whose number is not above its writer's last one.
func (o *order) late(w *writer, index int64, set *SET) {
	if w.gaps {
		for _, g := range o.gaps {
			if g.writer == set.Writer && set.Sequence >= g.first && set.Sequence <= g.last && g.found <= g.last-g.first {
				g.late = index
				g.found++
				return
			}
		}
	}
	o.report.fail(ReplayedEvent, Replayed, index, "event %s is number %d of writer %s, which has been before: "+
		"the writer's last number was %d, in entry %d", set.ID, set.Sequence, set.Writer, w.last, w.index)
}

// maxClocks bounds the warnings about clocks.
const maxClocks = 20

func (o *order) clocks() {
	var names []string
	for name, w := range o.writers {
		if w.back > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(o.writers[a].backAt, o.writers[b].backAt) })
	for _, name := range names[:min(len(names), maxClocks)] {
		w := o.writers[name]
		o.report.warn(ClockBack, Clock, w.backAt, "the clock of writer %s goes back here, %d times in all and by up to "+
			"%d s: the times that it gives are not reliable; the order of its events is", name, w.back, w.most)
	}
}

// conclude reports the gaps that nothing explains, and returns how many events are missing in them.
func (o *order) conclude() (missing int64) {
	o.clocks()
	for _, g := range o.gaps {
		missed := g.last - g.first + 1 - g.found
		if g.found > 0 {
			o.report.failAmong(MissingEvent, Reordered, g.at, g.late, "events of writer %s are not in their order: "+
				"number %d is in entry %d, and of the number %s one is in entry %d", g.writer, g.last+1, g.at, g.numbers(), g.late)
		}
		if missed -= o.explain(g, missed); missed > 0 {
			missing += missed
			from, to := o.where(g, missed)
			o.report.failAmong(MissingEvent, Deleted, from, to, "writer %s has no event of the number %s before what "+
				"is entry %d now: %d missing", g.writer, g.numbers(), g.at, missed)
		}
	}
	if o.full {
		o.report.fail(BadEvent, Malformed, -1, "the log has events of more than %d writers, which is more than can be "+
			"followed", maxWriters)
	}
	return missing
}

func (g *gap) numbers() string {
	if g.first == g.last {
		return strconv.FormatInt(g.first, 10)
	}
	return fmt.Sprintf("%d to %d", g.first, g.last)
}

// where returns the range of entries that the missing ones of a gap were in: exactly, if the tree tells.
func (o *order) where(g *gap, missed int64) (from, to int64) {
	var inside []int64
	for i, index := range o.deleted {
		if index > g.after && index <= g.at+int64(i) { // what is after i missing ones has moved by i
			inside = append(inside, index)
		}
	}
	if int64(len(inside)) != missed {
		return g.after + 1, g.at
	}
	return inside[0], inside[len(inside)-1]
}

// explain takes as many damaged entries as were missed in a gap, and returns how many there are.
func (o *order) explain(g *gap, missed int64) (explained int64) {
	var rest []int64
	for _, index := range o.damaged {
		if explained < missed && index > g.after && index < g.at {
			explained++
			continue
		}
		rest = append(rest, index)
	}
	o.damaged = rest
	return explained
}
