package scrub

// machine is an automaton that follows all forms at once (Aho and Corasick, 1975): its state is the longest end of what
// it has read that is the beginning of a form. States are numbered by depth, so the children of one follow each other,
// and the shallow ones, in which nearly all of a text is read, come first and have a table.
type machine struct {
	states []state  // the last one only ends the children of the one before it
	rows   []uint32 // by shallow state and byte: the next state, with special where the byte needs a closer look
	swift  uint32   // how many states have a row: those of depth below deep
}

type state struct {
	first uint32 // the first child; the last is before that of the next state
	fail  uint32 // the state of the longest proper end
	depth int32  // how many characters it is
	found int32  // length of the longest form that ends here, or 0
	hold  int32  // length of the longest end, itself included, that can still become a form
	kinds kind   // of the forms of which it, or an end of it, is a beginning
	char  byte   // the last one
}

const (
	deep    = 3
	special = 1 << 31
)

// build returns the machine of some forms; without any it finds nothing.
func build(forms []form) machine {
	t := newTrie(forms)
	m := machine{states: make([]state, 1, len(t.nodes)+1)}
	order := make([]int32, 1, len(t.nodes)) // by state, its node
	for s := 0; s < len(order); s++ {
		m.states[s].first = uint32(len(order))
		for n := t.nodes[order[s]].child; n != 0; n = t.nodes[n].sibling {
			node := t.nodes[n]
			child := state{depth: m.states[s].depth + 1, char: node.char, kinds: node.kinds}
			if node.ends {
				child.found = child.depth
			}
			order = append(order, n)
			m.states = append(m.states, child)
		}
	}
	m.states = append(m.states, state{first: uint32(len(order))})
	m.link()
	m.tabulate()
	return m
}

// link finds the failure of each state, and what follows from it. A state comes after its failure.
func (m *machine) link() {
	for s := range len(m.states) - 1 {
		st := &m.states[s]
		for c := st.first; c < m.states[s+1].first; c++ {
			child := &m.states[c]
			if s != 0 {
				child.fail = m.follow(st.fail, child.char)
			}
		}
		if s == 0 {
			continue
		}
		end := m.states[st.fail]
		st.kinds |= end.kinds
		if st.found == 0 {
			st.found = end.found
		}
		st.hold = end.hold
		if st.first < m.states[s+1].first {
			st.hold = st.depth
		}
	}
}

// follow returns the state after c in state s, without the table.
func (m *machine) follow(s uint32, c byte) uint32 {
	for {
		for child := m.states[s].first; child < m.states[s+1].first; child++ {
			if m.states[child].char == c {
				return child
			}
		}
		if s == 0 {
			return 0
		}
		s = m.states[s].fail
	}
}

// tabulate makes the rows of the shallow states.
func (m *machine) tabulate() {
	for int(m.swift) < len(m.states)-1 && m.states[m.swift].depth < deep {
		m.swift++
	}
	m.rows = make([]uint32, m.swift<<8)
	for s := range m.swift {
		row := m.rows[s<<8:][:256]
		if s != 0 {
			copy(row, m.rows[m.states[s].fail<<8:][:256])
		}
		for c := m.states[s].first; c < m.states[s+1].first; c++ {
			row[m.states[c].char] = c
		}
	}
	for s := range m.swift { // only now, so that no row is copied with it
		for _, c := range ambiguous {
			if escapes(c) || m.stands(s, c) != 0 {
				m.rows[s<<8|uint32(c)] |= special
			}
		}
	}
}

// ambiguous are the bytes that can be more than themselves in a shallow state.
var ambiguous = func() (all []byte) {
	for c := range 256 {
		if escapes(byte(c)) || stands[c].kind != 0 {
			all = append(all, byte(c))
		}
	}
	return all
}()

// next returns the state after c in state s.
func (m *machine) next(s uint32, c byte) uint32 {
	for s >= m.swift {
		for child := m.states[s].first; child < m.states[s+1].first; child++ {
			if m.states[child].char == c {
				return child
			}
		}
		s = m.states[s].fail
	}
	return m.rows[s<<8|uint32(c)] &^ special
}

// stands returns the state after c in state s if c is taken for what it can stand for, or 0.
func (m *machine) stands(s uint32, c byte) uint32 {
	other := stands[c]
	if other.kind == 0 {
		return 0
	}
	if t := m.next(s, other.for_); m.states[t].kinds&other.kind != 0 {
		return t
	}
	return 0
}

// trie is what a machine is made of: the beginnings of all forms, each once. The first node is the empty one.
type trie struct{ nodes []node }

type node struct {
	child, sibling int32
	char           byte
	kinds          kind
	ends           bool
}

func newTrie(forms []form) trie {
	size := 1
	for _, f := range forms {
		size += len(f.text)
	}
	t := trie{nodes: make([]node, 1, size)}
	for _, f := range forms {
		at := int32(0)
		for _, c := range f.text {
			at = t.child(at, c)
			t.nodes[at].kinds |= f.kind
		}
		t.nodes[at].ends = true
	}
	return t
}

func (t *trie) child(at int32, c byte) int32 {
	for n := t.nodes[at].child; n != 0; n = t.nodes[n].sibling {
		if t.nodes[n].char == c {
			return n
		}
	}
	n := int32(len(t.nodes))
	t.nodes = append(t.nodes, node{sibling: t.nodes[at].child, char: c})
	t.nodes[at].child = n
	return n
}
