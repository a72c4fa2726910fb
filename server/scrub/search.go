package scrub

// cutFrom is how many characters of a form make it known where the text ends before the form does.
const cutFrom = 12

// crowd bounds the readings of a text that are followed at once. Only a value that repeats itself within an escape
// could have more; then those that know least of a form are given up.
const crowd = 64

// search follows a machine through a text that comes in parts. One reading takes the text as it is. Wherever an escape
// begins, a line breaks within a form, or a byte can stand for another, a further one branches off that takes it for
// what it means. It is followed for as long as the form that it is in includes what it branched off for: from there on
// the first reading knows as much.
//
// Places are counted from the start of the part that run was given.
type search struct {
	m      *machine
	state  uint32 // of the first reading
	pos    int    // up to where the text was read
	masked int    // up to where it was masked last
	hits   int
	cuts   func() // is told of a form that the end of the text has cut short; may be nil
	others []reading
	turns  []turn
	room   int // how many turns there may be, beyond a thousand, before some are forgotten
}

// reading is one way to read the text.
type reading struct {
	state uint32
	at    int   // it has read the text up to here, pos or later
	since int32 // characters since its last turn
	turn  int32 // its last one, in turns
}

// turn is a place where a reading took one character for another.
type turn struct {
	from, to int   // what it took
	size     int   // for how many characters
	before   int32 // the turn before it, or -1
}

// run reads the rest of b, masks what it finds, and returns how much of b is settled: nothing of it can belong to a
// value. What is not settled must be given again, with what follows, after advance. last tells that nothing follows.
func (e *search) run(b []byte, last bool) (settled int) {
	for e.pos < len(b) {
		if len(e.others) == 0 {
			if e.turns = e.turns[:0]; e.stride(b) {
				break
			}
		}
		if !e.step(b, last) {
			break
		}
	}
	if last {
		e.cut(b)
		return len(b)
	}
	return e.settled()
}

// advance tells the search that the first n bytes, which were settled, are gone.
func (e *search) advance(n int) {
	e.pos -= n
	e.masked = max(e.masked-n, 0)
	for i := range e.others {
		e.others[i].at -= n
	}
	for i := range e.turns {
		e.turns[i].from -= n
		e.turns[i].to -= n
	}
}

// stride reads on for as long as there is only one way to. It reports whether it came to the end of b.
func (e *search) stride(b []byte) bool {
	m, s, i := e.m, e.state, e.pos
	rows, swift := m.rows, m.swift
	for i < len(b) {
		if s < swift {
			for i < len(b) {
				t := rows[s<<8|uint32(b[i])]
				if t >= swift { // a deep state, or something special
					break
				}
				s = t
				i++
			}
			if i == len(b) {
				break
			}
		}
		if m.special(s, b[i]) {
			e.state, e.pos = s, i
			return false
		}
		s = m.next(s, b[i])
		i++
		if found := int(m.states[s].found); found > 0 {
			e.mask(b, i-found, i)
		}
	}
	e.state, e.pos = s, i
	return true
}

// special reports whether there is more than one way to read c in state s.
func (m *machine) special(s uint32, c byte) bool {
	return escapes(c) || isBreak(c) && m.states[s].hold > dropped || m.stands(s, c) != 0
}

// step reads one byte in every way. It reports false if it cannot know them all before more of the text has come.
func (e *search) step(b []byte, last bool) bool {
	if len(e.turns) > 1000+e.room {
		e.forget()
	}
	i, c := e.pos, b[e.pos]
	var us units
	if escapes(c) {
		if us.read(b, i, nested); us.short && !last {
			return false
		}
	}
	end := 0
	if (isBreak(c) || us.n > 0) && e.within() {
		var short bool
		if end, short = breakEnd(b, i); short && !last {
			return false
		} else if short {
			end = len(b)
		}
	}
	for k := range len(e.others) {
		if r := e.others[k]; r.at == i {
			e.branch(b, r, &us, end)
			e.others[k] = reading{e.m.next(r.state, c), i + 1, r.since + 1, r.turn}
		}
	}
	e.branch(b, reading{state: e.state, at: i, turn: -1}, &us, end) // the last: others may know as much already
	e.state, e.pos = e.m.next(e.state, c), i+1
	if found := int(e.m.states[e.state].found); found > 0 {
		e.mask(b, e.pos-found, e.pos)
	}
	e.arrive(b)
	return true
}

// within reports whether a reading at pos is far enough in a form to look past a line break.
func (e *search) within() bool {
	if e.m.states[e.state].hold > dropped {
		return true
	}
	for _, r := range e.others {
		if r.at == e.pos && e.m.states[r.state].hold > dropped {
			return true
		}
	}
	return false
}

// branch adds the other ways in which r can go on.
func (e *search) branch(b []byte, r reading, us *units, lineEnd int) {
	if s := e.m.stands(r.state, b[r.at]); s != 0 {
		e.turn(r, s, r.at+1, 1)
	}
	for _, u := range us.all[:us.n] {
		s := r.state
		for _, c := range u.text[:u.size] {
			s = e.m.next(s, c)
		}
		e.turn(r, s, u.end, u.size)
		if s := e.m.stands(r.state, u.text[0]); s != 0 && u.size == 1 {
			e.turn(r, s, u.end, 1)
		}
	}
	if us.short { // the text ends within an escape
		e.turn(r, r.state, len(b), 0)
	}
	if lineEnd > 0 && e.m.states[r.state].hold > dropped {
		e.turn(r, r.state, lineEnd, 0)
	}
}

// turn adds a reading that came from r, and took the bytes up to end for size characters.
func (e *search) turn(r reading, state uint32, end, size int) {
	st := &e.m.states[state]
	if st.hold == 0 && st.found == 0 {
		return
	}
	if int(st.depth) == size && e.known(r.at, end, st.char) {
		return
	}
	e.turns = append(e.turns, turn{r.at, end, size, r.turn})
	e.add(reading{state: state, at: end, turn: int32(len(e.turns) - 1)})
}

// known reports whether a reading took the same bytes for the same character, and so knows as much as one that knows
// nothing of what was before.
func (e *search) known(from, end int, char byte) bool {
	for _, r := range e.others {
		if r.at == end && r.since == 0 && r.turn >= 0 && e.turns[r.turn].from == from && e.m.states[r.state].char == char {
			return true
		}
	}
	return false
}

// add follows r as well. Of two readings that know the same one is followed, with the earlier start.
func (e *search) add(r reading) {
	least := 0
	for k := range e.others {
		other := &e.others[k]
		if other.at == r.at && other.state == r.state {
			if depth := int(e.m.states[r.state].depth); e.start(r, depth) < e.start(*other, depth) {
				*other = r
			}
			return
		}
		if e.m.states[other.state].depth < e.m.states[e.others[least].state].depth {
			least = k
		}
	}
	if len(e.others) < crowd {
		e.others = append(e.others, r)
	} else if e.m.states[r.state].depth > e.m.states[e.others[least].state].depth {
		e.others[least] = r
	}
}

// arrive masks what readings that have come to pos have found there, and gives up those of which the first reading
// knows as much.
func (e *search) arrive(b []byte) {
	kept := e.others[:0]
	for _, r := range e.others {
		st := &e.m.states[r.state]
		if r.at == e.pos && st.found > 0 {
			e.mask(b, e.start(r, int(st.found)), r.at)
		}
		if r.at > e.pos || st.hold > r.since {
			kept = append(kept, r)
		}
	}
	e.others = kept
}

// cut masks the beginnings of forms that the end of the text has cut short.
func (e *search) cut(b []byte) {
	was := e.masked
	if depth := int(e.m.states[e.state].depth); depth >= cutFrom {
		e.mask(b, len(b)-depth, len(b))
	}
	for _, r := range e.others {
		if depth := int(e.m.states[r.state].depth); depth >= cutFrom {
			e.mask(b, e.start(r, depth), len(b))
		}
	}
	if e.masked > was && e.cuts != nil {
		e.cuts()
	}
}

// start returns where the last n characters of a reading begin.
func (e *search) start(r reading, n int) int {
	at := r.at
	for next := r.turn; next >= 0; {
		t := &e.turns[next]
		if n <= at-t.to {
			break
		}
		if n -= at - t.to; n <= t.size {
			return t.from
		}
		n -= t.size
		at, next = t.from, t.before
	}
	return at - n
}

// settled returns up to where no byte can belong to a form any more.
func (e *search) settled() int {
	from := e.pos - int(e.m.states[e.state].hold)
	for _, r := range e.others {
		n := e.m.states[r.state].hold
		if r.at > e.pos { // what ends there has not been masked yet
			n = max(n, e.m.states[r.state].found)
		}
		from = min(from, e.start(r, int(n)))
	}
	return from
}

func (e *search) mask(b []byte, from, to int) {
	if from >= e.masked {
		e.hits++
	}
	e.masked = max(e.masked, to)
	for i := max(from, 0); i < to; i++ {
		b[i] = '*'
	}
}

// forget drops the turns that no reading needs, so that a long text that keeps within a form does not keep them all.
func (e *search) forget() {
	old := e.turns
	e.turns = nil
	for k := range e.others {
		r := &e.others[k]
		at, n, newer := r.at, int(e.m.states[r.state].depth), int32(-1)
		next := r.turn
		for r.turn = -1; next >= 0 && n > at-old[next].to; {
			t := old[next]
			n -= at - t.to + t.size
			at, next = t.from, t.before
			t.before = -1
			e.turns = append(e.turns, t)
			if here := int32(len(e.turns) - 1); newer < 0 {
				r.turn, newer = here, here
			} else {
				e.turns[newer].before, newer = here, here
			}
		}
	}
	e.room = 2 * len(e.turns)
}
