package policy

import (
	"context"
	"net/netip"
	"slices"
	"time"
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
	Tool     string
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

// Denial says why nothing was allowed: the first step that no rule passed, in the order of the constants.
type Denial string

const (
	// NoRule: no rule is about this client at this tool.
	NoRule Denial = "no_rule"
	// NotOnBehalf: there are such rules, but none is about acting for this subject, or none about the agent as itself.
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
}

// Decide answers r. Every action asked for must be allowed by some rule, or nothing is; every rule that allows one of
// them takes part, so the lifetime is the smallest of theirs. A rule takes part only if its condition is true: one that
// fails to be judged, runs into its limits, or finds ctx done is not.
func (p *Policy) Decide(ctx context.Context, r Request) Decision {
	if p == nil {
		return refuse(NoRule, nil)
	}
	d := p.decide(ctx, &r)
	d.Revision = p.revision
	return d
}

func (p *Policy) decide(ctx context.Context, r *Request) Decision {
	rules := p.rules[target{r.Client, r.Tool}]
	if len(rules) == 0 {
		return refuse(NoRule, nil)
	}
	able := keep(rules, func(x *rule) bool { return x.speaksOf(r) })
	switch {
	case len(able) == 0:
		return refuse(NotOnBehalf, rules)
	case r.Actions == nil:
		return decideDefaults(ctx, r, able)
	}
	return decideActions(ctx, r, able)
}

// decideActions allows all of r.Actions or none.
func decideActions(ctx context.Context, r *Request, rules []*rule) Decision {
	asked := set(r.Actions)
	able := keep(rules, func(x *rule) bool { return x.lists(asked) })
	if len(asked) == 0 || !cover(able, asked) {
		return refuse(NotAction, rules)
	}
	var used, failed []*rule
	for _, x := range able {
		if x.holds(ctx, r, asked) {
			used = append(used, x)
		} else {
			failed = append(failed, x)
		}
	}
	if !cover(used, asked) {
		return refuse(NotCondition, failed)
	}
	return allow(asked, used)
}

// decideDefaults allows the defaults of the rules whose conditions hold. A condition may speak of the actions, so when
// a rule drops out, the others are judged again by the actions that are left: nobody receives by silence what the
// same rules would refuse to a request that names it.
func decideDefaults(ctx context.Context, r *Request, rules []*rule) Decision {
	able := keep(rules, func(x *rule) bool { return len(x.defaults) > 0 })
	if len(able) == 0 {
		return refuse(NoDefault, rules)
	}
	for {
		var all []string
		for _, x := range able {
			all = append(all, x.defaults...)
		}
		asked := set(all)
		used := keep(able, func(x *rule) bool { return x.holds(ctx, r, asked) })
		switch len(used) {
		case 0:
			return refuse(NotCondition, able)
		case len(able):
			return allow(asked, used)
		}
		able = used
	}
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

// cover reports whether each of the actions is allowed by one of the rules.
func cover(rules []*rule, asked []string) bool {
	for _, a := range asked {
		if !slices.ContainsFunc(rules, func(x *rule) bool { return slices.Contains(x.actions, a) }) {
			return false
		}
	}
	return true
}

func allow(actions []string, used []*rule) Decision {
	ttl := MaxTTL
	for _, x := range used {
		ttl = min(ttl, x.ttl)
	}
	return Decision{Allowed: true, Actions: actions, TTL: ttl, Rules: ids(used)}
}

func refuse(why Denial, by []*rule) Decision { return Decision{Denial: why, Rules: ids(by)} }

func ids(rules []*rule) []string {
	var ids []string
	for _, x := range rules {
		ids = append(ids, x.id)
	}
	return ids
}

func keep(rules []*rule, ok func(*rule) bool) []*rule {
	var kept []*rule
	for _, x := range rules {
		if ok(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

// set returns the words sorted, each once.
func set(words []string) []string { return slices.Compact(slices.Sorted(slices.Values(words))) }
