package policy

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Request is what is to be decided. Whoever fills it in has verified all of it.
type Request struct {
	// Subject is who the token will be about: the agent itself, or the one whom it acts for.
	Subject Identity
	// Actor is the identity by which the agent proved itself, also where it is the Subject too; the zero Identity
	// if it has none but its client's credentials.
	Actor  Identity
	Client string // the id of the client that asks
	// OnBehalf says that the client acts for Subject and not as itself.
	OnBehalf bool
	// Parent is the token of ours that is traded in; nil without one.
	Parent *Parent
	Tool   string
	// Actions are those asked for. Nil asks for the defaults; an empty list asks for nothing and is refused.
	Actions []string
	Run     string // the txn of the token to be issued
	Depth   int    // how many tokens of ours the token descends from
	Time    time.Time
	IP      netip.Addr // the caller's
}

// Identity is a verified token's issuer, by the name of its entry, with its subject and its claims as decoded JSON.
type Identity struct {
	Issuer, Subject string
	Claims          map[string]any
}

// Parent is a token of ours that is traded in for another.
type Parent struct {
	Client string     // whom it was issued to
	Owned  bool       // whether the client that asks is a resource server of its tool
	Scope  scopes.Set // what it allows, at its one tool
	Tool   string     // that tool's name
}

// Denial says why nothing was allowed: the first step that no rule passed, in the order of the constants.
type Denial string

const (
	// NoRule: no rule is about this client at this tool.
	NoRule Denial = "no_rule"
	// NotPresenter: there are such rules, but none by which this client may trade in that token; or all of them are about
	// trading one in, and there is none.
	NotPresenter Denial = "presenter"
	// NotFrom: none of those leads from the tool of the token that is traded in, and what it allows there, to this tool.
	NotFrom Denial = "from"
	// NotOnBehalf: none of those is about acting for this subject, or none about the agent as itself.
	NotOnBehalf Denial = "on_behalf_of"
	// NotAction: those that are list some of the actions asked for, or none.
	NotAction Denial = "action"
	// NoDefault: no action was asked for, and none of those rules has defaults.
	NoDefault Denial = "no_default"
	// NotCondition: the actions are listed, but not by rules whose condition holds.
	NotCondition Denial = "condition"
)

// Decision is the answer to a Request. The zero Decision refuses.
type Decision struct {
	Allowed bool
	Actions []string      // what is allowed, sorted: all that was asked for, or the defaults; none if refused
	TTL     time.Duration // the smallest of the rules that decided
	// Rules are the ids of the rules that decided, sorted. Of a refusal they are those that did not pass the step
	// that Denial names; where there is no rule, none.
	Rules    []string
	Denial   Denial // empty if Allowed
	Revision string // names the rules that were asked: SHA-256 in hex
	// Considered are all rules about this client at this tool, sorted, and the step that each did not pass.
	Considered []Verdict
}

// Verdict is what became of one rule.
type Verdict struct {
	Rule   string
	Denial Denial // empty if the rule passed every step that was reached
}

// Decide answers r. Every action asked for must be allowed by some rule, or nothing is; every rule that allows one of
// them takes part, so the lifetime is the smallest of theirs. A rule takes part only if its condition is true: one that
// fails to be judged, runs into its limits, or finds ctx done is not.
func (p *Policy) Decide(ctx context.Context, r Request) Decision {
	if p == nil {
		return Decision{Denial: NoRule}
	}
	rules := p.rules[target{r.Client, r.Tool}]
	s := &sieve{rules: rules, verdicts: make([]Denial, len(rules)), left: len(rules)}
	d := s.decide(ctx, &r)
	d.Revision = p.revision
	for i, x := range rules {
		d.Considered = append(d.Considered, Verdict{x.id, s.verdicts[i]})
	}
	return d
}

// sieve holds the rules about a request, and of each the step that it did not pass.
type sieve struct {
	rules    []*rule
	verdicts []Denial
	left     int // rules that passed every step so far
}

// keep lets the rules pass for which ok is true, and reports whether any did.
func (s *sieve) keep(why Denial, ok func(*rule) bool) bool {
	for i, x := range s.rules {
		if s.verdicts[i] == "" && !ok(x) {
			s.verdicts[i] = why
			s.left--
		}
	}
	return s.left > 0
}

// passed yields the rules that passed every step so far.
func (s *sieve) passed() iter.Seq[*rule] {
	return func(yield func(*rule) bool) {
		for i, x := range s.rules {
			if s.verdicts[i] == "" && !yield(x) {
				return
			}
		}
	}
}

func (s *sieve) decide(ctx context.Context, r *Request) Decision {
	switch {
	case s.left == 0:
		return s.refuse(NoRule)
	case !s.keep(NotPresenter, func(x *rule) bool { return x.admits(r) }):
		return s.refuse(NotPresenter)
	case !s.keep(NotFrom, func(x *rule) bool { return x.reaches(r) }):
		return s.refuse(NotFrom)
	case !s.keep(NotOnBehalf, func(x *rule) bool { return x.speaksOf(r) }):
		return s.refuse(NotOnBehalf)
	case r.Actions == nil:
		return s.decideDefaults(ctx, r)
	}
	return s.decideActions(ctx, r)
}

// decideActions allows all of r.Actions or none.
func (s *sieve) decideActions(ctx context.Context, r *Request) Decision {
	asked := set(r.Actions)
	if len(asked) == 0 || !r.within(asked) || !s.cover(asked) {
		s.keep(NotAction, func(*rule) bool { return false })
		return s.refuse(NotAction)
	}
	s.keep(NotAction, func(x *rule) bool { return x.lists(asked) })
	s.keep(NotCondition, func(x *rule) bool { return x.holds(ctx, r, asked) })
	if !s.cover(asked) {
		return s.refuse(NotCondition)
	}
	return s.allow(asked)
}

// decideDefaults allows the defaults of the rules whose conditions hold, as far as a token of the same tool that is
// traded in allows them. A condition may speak of the actions, so when a rule drops out, the others are judged again by
// the actions that are left: nobody receives by silence what the same rules would refuse to a request that names it.
func (s *sieve) decideDefaults(ctx context.Context, r *Request) Decision {
	given := func(x *rule) []string {
		return slices.DeleteFunc(slices.Clone(x.defaults), func(a string) bool { return !r.within([]string{a}) })
	}
	if !s.keep(NoDefault, func(x *rule) bool { return len(given(x)) > 0 }) {
		return s.refuse(NoDefault)
	}
	for {
		var all []string
		for x := range s.passed() {
			all = append(all, given(x)...)
		}
		asked, before := set(all), s.left
		switch {
		case !s.keep(NotCondition, func(x *rule) bool { return x.holds(ctx, r, asked) }):
			return s.refuse(NotCondition)
		case s.left == before:
			return s.allow(asked)
		}
	}
}

// within reports whether the token that is traded in, if there is one and it is for the same tool, allows the actions.
func (r *Request) within(actions []string) bool {
	return r.Parent == nil || r.Parent.Tool != r.Tool || r.Parent.Scope.Covers(scopes.Actions(r.Tool, actions...))
}

// admits reports whether the rule lets the client ask, by itself or with the token that it trades in. A client of the
// rule may trade in its own token, and one that was sent to it as the resource server; a delegate, one that was issued
// to somebody else of the rule.
func (x *rule) admits(r *Request) bool {
	p := r.Parent
	switch {
	case p == nil:
		return slices.Contains(x.clients, r.Client) && len(x.from) == 0
	case slices.Contains(x.clients, r.Client) && (p.Client == r.Client || p.Owned):
		return true
	}
	return slices.Contains(x.delegates, r.Client) &&
		(slices.Contains(x.clients, p.Client) || slices.Contains(x.delegates, p.Client))
}

// reaches reports whether the rule leads to its tool from where the request comes.
func (x *rule) reaches(r *Request) bool {
	switch {
	case r.Parent == nil:
		return true
	case r.Parent.Tool == r.Tool:
		return len(x.from) == 0
	}
	return slices.ContainsFunc(x.from, r.Parent.Scope.Has)
}

// speaksOf reports whether the rule is about the subject of r.
func (x *rule) speaksOf(r *Request) bool {
	if !r.OnBehalf {
		return len(x.onBehalfOf) == 0
	}
	return slices.ContainsFunc(x.onBehalfOf, func(m Match) bool { return m.is(r.Subject) })
}

func (m Match) is(who Identity) bool {
	if m.Issuer != who.Issuer {
		return false
	}
	if m.Subject != "" {
		return m.Subject == who.Subject
	}
	return Glob(m.SubjectGlob, who.Subject)
}

// lists reports whether the rule allows any of the actions.
func (x *rule) lists(asked []string) bool {
	return slices.ContainsFunc(asked, func(a string) bool { return slices.Contains(x.actions, a) })
}

func (x *rule) holds(ctx context.Context, r *Request, asked []string) bool {
	return x.condition == nil || x.condition.holds(ctx, &facts{r, asked})
}

// cover reports whether each of the actions is allowed by one of the rules that passed.
func (s *sieve) cover(asked []string) bool {
	for _, a := range asked {
		covered := false
		for x := range s.passed() {
			covered = covered || slices.Contains(x.actions, a)
		}
		if !covered {
			return false
		}
	}
	return true
}

func (s *sieve) allow(actions []string) Decision {
	d := Decision{Allowed: true, Actions: actions, TTL: MaxTTL}
	for x := range s.passed() {
		d.TTL = min(d.TTL, x.ttl)
		d.Rules = append(d.Rules, x.id)
	}
	return d
}

func (s *sieve) refuse(why Denial) Decision {
	d := Decision{Denial: why}
	for i, x := range s.rules {
		if s.verdicts[i] == why {
			d.Rules = append(d.Rules, x.id)
		}
	}
	return d
}

// set returns the words sorted, each once.
func set(words []string) []string { return slices.Compact(slices.Sorted(slices.Values(words))) }
