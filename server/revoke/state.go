// Package revoke decides whether a token is revoked, from its claims and the tenant's cutoffs alone. It asks nobody and
// keeps no time: what must be known is in the State, and a State that was never told refuses.
package revoke

import (
	"iter"
	"maps"
	"time"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/ledger"
)

// State is what is known of a tenant's cutoffs at one moment. It is immutable and safe for concurrent use; With makes
// the next one. A nil State and the zero State know nothing and refuse everything.
type State struct {
	// Seq is the tenant's cutoff number up to which the state is complete, if it was fed without gaps.
	Seq int64
	// now is the latest store time it was told.
	now time.Time
	// recent and base are never written after the State is made, so that states share them. A cutoff in recent goes
	// before one in base. Only recent is copied when something changes, so that a revocation is cheap when there are
	// many already.
	recent, base map[ledger.Key]ledger.Cutoff
	told         bool // With has made it
}

// unknown is what a state that knows nothing says it is hit by.
var unknown = ledger.Key{Kind: "unknown"}

// With returns the state that also knows the given cutoffs, which were read together with pos. Nothing is forgotten
// that can still hit something: of one target the later time counts, and the change with the higher Seq says whether it
// is disabled, in whatever order they come. Cutoffs that ended before pos.Time are dropped some time later.
func (s *State) With(cutoffs []ledger.Cutoff, pos ledger.Position) *State {
	if s == nil {
		s = &State{}
	}
	next := &State{Seq: max(s.Seq, pos.Cutoffs), now: s.now, recent: s.recent, base: s.base, told: true}
	if pos.Time.After(next.now) {
		next.now = pos.Time
	}
	if len(cutoffs) == 0 {
		return next
	}
	next.recent = maps.Clone(s.recent)
	if next.recent == nil {
		next.recent = make(map[ledger.Key]ledger.Cutoff, len(cutoffs))
	}
	for _, c := range cutoffs {
		c.Key = normal(c.Key)
		if old, ok := next.find(c.Key); ok {
			c = merge(old, c)
		}
		next.recent[c.Key] = c
	}
	if len(next.recent) > 64+len(next.base)/8 {
		next.settle()
	}
	return next
}

// settle moves what is recent into a new base, without what has ended.
func (s *State) settle() {
	base := make(map[ledger.Key]ledger.Cutoff, len(s.base)+len(s.recent))
	for _, layer := range [...]map[ledger.Key]ledger.Cutoff{s.base, s.recent} {
		for k, c := range layer {
			if c.Disabled || !c.Until.Before(s.now) {
				base[k] = c
			} else {
				delete(base, k) // a layer below may hold an earlier form of it
			}
		}
	}
	s.base, s.recent = base, nil
}

func merge(a, b ledger.Cutoff) ledger.Cutoff {
	if a.Seq > b.Seq {
		a, b = b, a
	}
	if a.At.After(b.At) {
		b.At = a.At
	}
	if a.Until.After(b.Until) {
		b.Until = a.Until
	}
	return b
}

// normal gives the tenant, of which a ledger has one, one key.
func normal(k ledger.Key) ledger.Key {
	if k.Kind == string(Tenant) {
		k.ID = ""
	}
	return k
}

func (s *State) find(k ledger.Key) (ledger.Cutoff, bool) {
	if c, ok := s.recent[k]; ok {
		return c, true
	}
	c, ok := s.base[k]
	return c, ok
}

// Find returns the target's cutoff, unless there is none or it has ended.
func (s *State) Find(k ledger.Key) (ledger.Cutoff, bool) {
	if s == nil {
		return ledger.Cutoff{}, false
	}
	c, ok := s.find(normal(k))
	if !ok || !c.Disabled && c.Until.Before(s.now) {
		return ledger.Cutoff{}, false
	}
	return c, true
}

// Hits reports whether a token is revoked, and by which target. tool is the name of the tool that its aud belongs to;
// "" if there is none any more.
//
// A cutoff hits what was issued up to its time. Both are compared in whole seconds, as tokens are dated: a token of the
// cutoff's own second is revoked. While its target is disabled, and if its kind is final, a cutoff hits whatever
// the date.
func (s *State) Hits(c token.Claims, tool string) (ledger.Key, bool) {
	if s == nil || !s.told {
		return unknown, true
	}
	if len(s.recent)+len(s.base) == 0 {
		return ledger.Key{}, false
	}
	for kind, value := range targets(c, tool) {
		cutoff, ok := s.find(ledger.Key{Kind: string(kind), ID: value})
		if ok && (cutoff.Disabled || !kind.Disables() || c.IssuedAt <= cutoff.At.Unix()) {
			return cutoff.Key, true
		}
	}
	return ledger.Key{}, false
}

// targets yields everything by which a token can be revoked: itself, and what it descends from.
func targets(c token.Claims, tool string) iter.Seq2[Kind, string] {
	var lineage token.Lineage
	if c.Lineage != nil {
		lineage = *c.Lineage
	}
	return func(yield func(Kind, string) bool) {
		all := func(kind Kind, values ...string) bool {
			for _, v := range values {
				if !yield(kind, v) {
					return false
				}
			}
			return true
		}
		_ = all(Tenant, "") &&
			all(JTI, c.ID) && all(JTI, lineage.JTI...) && all(Lineage, c.ID) && all(Lineage, lineage.JTI...) &&
			all(Run, c.Txn) && all(Tool, tool, c.Audience) &&
			all(Client, c.ClientID) && all(Client, lineage.Clients...) && all(Client, actors(c)...) &&
			all(Issuer, lineage.Issuers...) && all(Subject, lineage.Subjects...) && principal(c.Subject, yield)
	}
}

// principal yields the targets in a sub.
func principal(sub string, yield func(Kind, string) bool) bool {
	issuer, id, ok := token.SplitSubject(sub)
	if ok && issuer == token.ClientIssuer {
		return yield(Client, id)
	}
	return yield(Issuer, issuer) && yield(Subject, sub)
}

// actors returns the clients in the act chain. Only our issuer's actors are clients of this tenant.
func actors(c token.Claims) []string {
	var ids []string
	for a := range c.Act.Chain() {
		issuer, id, ok := token.SplitSubject(a.Subject)
		if ok && issuer == token.ClientIssuer && a.Issuer == c.Issuer {
			ids = append(ids, id)
		}
	}
	return ids
}

// Disabled reports whether one of the targets is disabled, and which.
func (s *State) Disabled(keys ...ledger.Key) (ledger.Key, bool) {
	if s == nil || !s.told {
		return unknown, true
	}
	for _, k := range keys {
		if c, ok := s.find(normal(k)); ok && c.Disabled {
			return k, true
		}
	}
	return ledger.Key{}, false
}

// AllDisabled yields every target that is disabled, in no order.
func (s *State) AllDisabled() iter.Seq[ledger.Key] {
	return func(yield func(ledger.Key) bool) {
		if s == nil {
			return
		}
		for k, c := range s.recent {
			if c.Disabled && !yield(k) {
				return
			}
		}
		for k, c := range s.base {
			if _, newer := s.recent[k]; !newer && c.Disabled && !yield(k) {
				return
			}
		}
	}
}
