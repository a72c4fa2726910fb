package scrub

import "io"

// least is how many bytes are asked of a source at a time, at the least.
const least = 512

// Reader reads what it is made of with the values masked. It waits with a byte only if that can be part of a value that
// goes on: the end of an event or of a message never can. For most of a text it keeps no buffer.
type Reader struct {
	src    io.Reader
	before *Reader // src itself, if that looks for further values
	search search  // its machine is nil if there is nothing to find
	held   []byte  // read and not settled
	ready  []byte  // settled and not yet given away, in spare
	spare  []byte
	err    error // of src
}

// Reader returns a reader of r with the values masked. What ends r, with io.EOF or another error, ends a value too: the
// beginning of one that is left is masked.
func (s *Scrubber) Reader(r io.Reader) *Reader {
	out := &Reader{src: r}
	if s == nil {
		return out
	}
	out.search.m, out.search.cuts = &s.machine, s.cuts
	if s.also != nil {
		out.before = s.also.Reader(r)
		out.src = out.before
	}
	return out
}

// Hits returns how many values have been masked so far.
func (r *Reader) Hits() int {
	if r.before != nil {
		return r.search.hits + r.before.Hits()
	}
	return r.search.hits
}

// Read reads as io.Reader says. An error of the source comes after all that was read before it.
func (r *Reader) Read(p []byte) (int, error) {
	if r.search.m == nil {
		return r.src.Read(p)
	}
	for {
		if len(r.ready) > 0 || len(p) == 0 {
			n := copy(p, r.ready)
			r.ready = r.ready[n:]
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		if len(p) >= len(r.held)+least {
			if n := len(r.fill(p)); n > 0 {
				return n, nil
			}
			continue
		}
		if cap(r.spare) < len(r.held)+least {
			r.spare = make([]byte, 2*len(r.held)+least)
		}
		r.ready = r.fill(r.spare[:cap(r.spare)])
	}
}

// fill reads into b, which has room for least bytes beside what is held, and returns what of it is settled.
func (r *Reader) fill(b []byte) []byte {
	n := copy(b, r.held)
	more, err := r.src.Read(b[n:])
	r.err = err
	b = b[:n+more]
	settled := r.search.run(b, err != nil)
	r.search.advance(settled)
	r.held = append(r.held[:0], b[settled:]...)
	return b[:settled]
}
