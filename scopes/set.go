package scopes

import (
	"slices"
	"strings"
)

// Set is an immutable set of scopes. The zero Set grants nothing.
type Set struct {
	sorted []Scope
}

// NewSet returns the set of the given scopes.
func NewSet(all ...Scope) Set {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, Scope.compare)
	return Set{slices.Compact(sorted)}
}

// Actions returns the set of the given actions at one tool.
func Actions(tool string, actions ...string) Set {
	all := make([]Scope, len(actions))
	for i, a := range actions {
		all[i] = Scope{tool, a}
	}
	return NewSet(all...)
}

// Has reports whether the set holds x. No set holds the zero Scope, not even one that was made of it.
func (s Set) Has(x Scope) bool {
	_, ok := slices.BinarySearchFunc(s.sorted, x, Scope.compare)
	return ok && x != Scope{}
}

// Covers reports whether every scope of t is in s. Every set covers the empty one, so whoever decides by Covers asks
// whether t is Empty first.
func (s Set) Covers(t Set) bool {
	for _, x := range t.sorted {
		if !s.Has(x) {
			return false
		}
	}
	return true
}

// Meet returns what both sets hold.
func (s Set) Meet(t Set) Set {
	var both []Scope
	for _, x := range s.sorted {
		if t.Has(x) {
			both = append(both, x)
		}
	}
	return Set{both}
}

// Empty reports whether the set grants nothing.
func (s Set) Empty() bool { return len(s.sorted) == 0 }

// Names returns the actions of the set, in order, without their tools; of a set about more tools than one an action may
// come twice.
func (s Set) Names() []string {
	names := make([]string, len(s.sorted))
	for i, x := range s.sorted {
		names[i] = x.Action
	}
	return names
}

// String returns the scopes in wire form, separated by spaces, in order.
func (s Set) String() string {
	var b strings.Builder
	for i, x := range s.sorted {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(x.Tool)
		b.WriteByte(':')
		b.WriteString(x.Action)
	}
	return b.String()
}
