// Package policy decides what a client may do at a tool, for whom and for how long. Rules only allow: what no rule
// allows is refused, no rule takes back what another allows, and a condition that cannot be judged allows nothing.
//
// A rule without on_behalf_of is about the agent as itself, a rule with it is about acting for those subjects and for
// nobody else; an agent that may do both has two rules. A token of ours that is traded in is a ceiling: a rule may pass
// it on (delegates) or lead to another tool (from), and never gives back what the token does not allow. Whether the
// clients, tools and trusted issuers that rules name exist is the caller's to check.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// Lifetimes that a rule may give.
const (
	DefaultTTL = 5 * time.Minute
	MinTTL     = time.Second
	MaxTTL     = scopes.MaxLife
)

// Rule is one policy as it is written in a tenant file and kept in the store.
type Rule struct {
	// ID is a slug, unique in the tenant; the log names a decision's policies by it. Required.
	ID string `json:"id"`
	// Clients are the ids of those that it allows something, at least one.
	Clients []string `json:"clients"`
	// Tool is the name of the one tool that it is about. Required.
	Tool string `json:"tool"`
	// Actions are what it allows there, at least one, each of the tool's own.
	Actions []string `json:"actions"`
	// DefaultActions are what a request that names no scope receives, each one of `actions`. Without any, such a request
	// is refused.
	DefaultActions []string `json:"default_actions,omitempty"`
	// TTL bounds the life of a token, from 1s to 15m; 5m unless given.
	TTL scopes.Duration `json:"ttl,omitzero"`
	// OnBehalfOf lists the subjects that the clients may act for. Without it the policy is about the client as itself
	// only, with it about acting for these only.
	OnBehalfOf []Match `json:"on_behalf_of,omitempty"`
	// Delegates are the ids of clients that may trade in a token of the tool which was issued to one of `clients`, or of
	// these, and receive what this policy allows. By themselves they are allowed nothing.
	Delegates []string `json:"delegates,omitempty"`
	// From are scopes of other tools, each tool:action. With them the policy is only about trading in a token that allows
	// at least one of them, for one of this tool. Without it a token is traded in for the same tool alone.
	From []string `json:"from,omitempty"`
	// Condition is a CEL expression over subject, actor, client, tool, actions, run, depth and request that must be true.
	// Without one the policy always applies.
	Condition string `json:"condition,omitempty"`
}

// Match describes subjects of one trusted issuer, by exactly one of Subject and SubjectGlob.
type Match struct {
	// Issuer is the trusted issuer's name in the tenant, not its URL. Required.
	Issuer string `json:"issuer"`
	// Subject is the sub of the subject's tokens, character by character.
	Subject string `json:"subject,omitempty"`
	// SubjectGlob is a pattern for sub, instead of `subject`. A * stands for one or more characters other than / and :,
	// and so never for more than one segment; everything else stands for itself.
	SubjectGlob string `json:"subject_glob,omitempty"`
}

// Policy is a compiled set of rules, immutable and safe for concurrent use. The zero Policy, and a nil one, refuse.
type Policy struct {
	rules    map[target][]*rule // each list sorted by id
	compiled map[string]*rule   // by id
	revision string
}

// target is what rules are found by.
type target struct{ client, tool string }

// rule is a Rule that was checked.
type rule struct {
	source            string // the Rule as JSON
	id                string
	actions, defaults []string
	ttl               time.Duration
	clients           []string
	delegates         []string
	from              []scopes.Scope
	onBehalfOf        []Match
	condition         *Condition // nil: none was written
}

// Compile returns the policy of the rules, in whatever order they come, or all their mistakes, each with its path in a
// tenant file ("policies[2].ttl: …"), and then no policy. Rules that old, if there is one, has unchanged are not
// compiled again.
func Compile(rules []Rule, old *Policy) (*Policy, []string) {
	p := &Policy{rules: map[target][]*rule{}, compiled: map[string]*rule{}, revision: revision(rules)}
	var wrong []string
	first := map[string]int{}
	for i, r := range rules {
		at := fmt.Sprintf("policies[%d].", i)
		if j, dup := first[r.ID]; dup {
			wrong = append(wrong, fmt.Sprintf("%sid: is also the id of policies[%d]", at, j))
		} else {
			first[r.ID] = i
		}
		compiled, mistakes := old.again(r)
		for _, m := range mistakes {
			wrong = append(wrong, at+m)
		}
		p.compiled[r.ID] = compiled
		for _, c := range r.parties() {
			t := target{c, r.Tool}
			p.rules[t] = append(p.rules[t], compiled)
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	for _, list := range p.rules {
		slices.SortFunc(list, func(a, b *rule) int { return strings.Compare(a.id, b.id) })
	}
	return p, nil
}

// parties are all clients that the rule allows something, each once.
func (r Rule) parties() []string { return set(slices.Concat(r.Clients, r.Delegates)) }

// again returns the compiled rule, from p if it has the very same one.
func (p *Policy) again(r Rule) (*rule, []string) {
	source := marshal(r)
	if p != nil && p.compiled[r.ID] != nil && p.compiled[r.ID].source == source {
		return p.compiled[r.ID], nil
	}
	compiled, mistakes := r.compile()
	if compiled != nil {
		compiled.source = source
	}
	return compiled, mistakes
}

// revision names a set of rules: the SHA-256, in hex, of their JSON in the order of their ids.
func revision(rules []Rule) string {
	sorted := append([]Rule{}, rules...)
	slices.SortStableFunc(sorted, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	sum := sha256.Sum256([]byte(marshal(sorted)))
	return hex.EncodeToString(sum[:])
}

// marshal returns rules as JSON.
func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a Rule is strings, lists of strings and a duration, which always have a JSON form
	}
	return string(text)
}

// mistakes collects what is wrong, with paths.
type mistakes []string

func (m *mistakes) add(path, format string, args ...any) {
	*m = append(*m, path+": "+fmt.Sprintf(format, args...))
}

// err adds an error, if there is one.
func (m *mistakes) err(path string, err error) {
	if err != nil {
		m.add(path, "%v", err)
	}
}

// names checks a list: every entry by check, and none twice.
func (m *mistakes) names(path string, list []string, check func(string) error) {
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		m.err(at, check(s))
		if j := slices.Index(list, s); j < i {
			m.add(at, "repeats %s[%d]", path, j)
		}
	}
}

func (r Rule) compile() (*rule, []string) {
	var wrong mistakes
	wrong.err("id", scopes.CheckSlug(r.ID))
	if len(r.Clients) == 0 {
		wrong.add("clients", "is empty; name at least one client")
	}
	wrong.names("clients", r.Clients, scopes.CheckSlug)
	wrong.err("tool", scopes.CheckSlug(r.Tool))
	if len(r.Actions) == 0 {
		wrong.add("actions", "is empty; name at least one action of the tool")
	}
	wrong.names("actions", r.Actions, scopes.CheckAction)
	wrong.names("default_actions", r.DefaultActions, func(a string) error {
		if !slices.Contains(r.Actions, a) {
			return fmt.Errorf("is not among the actions of this policy")
		}
		return nil
	})
	wrong.names("delegates", r.Delegates, scopes.CheckSlug)
	from := make([]scopes.Scope, len(r.From))
	wrong.names("from", r.From, func(s string) (err error) {
		from[slices.Index(r.From, s)], err = scopes.Parse(s)
		if tool, _, _ := strings.Cut(s, ":"); err == nil && tool == r.Tool {
			return errors.New("is of the policy's own tool, where a token never gains anything")
		}
		return err
	})
	ttl := time.Duration(r.TTL)
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if ttl < MinTTL || ttl > MaxTTL {
		wrong.add("ttl", "must be from %s to %s; leave it out for %s",
			scopes.Duration(MinTTL), scopes.Duration(MaxTTL), scopes.Duration(DefaultTTL))
	}
	for i, m := range r.OnBehalfOf {
		m.check(fmt.Sprintf("on_behalf_of[%d]", i), &wrong)
	}
	var condition *Condition
	if r.Condition != "" {
		c, bad := compileCondition(ruleEnv, r.Condition)
		for _, b := range bad {
			wrong.add("condition", "%s", b)
		}
		condition = c
	}
	return &rule{
		id: r.ID, actions: slices.Clone(r.Actions), defaults: slices.Clone(r.DefaultActions), ttl: ttl,
		clients: slices.Clone(r.Clients), delegates: slices.Clone(r.Delegates), from: from,
		onBehalfOf: slices.Clone(r.OnBehalfOf), condition: condition,
	}, wrong
}

func (m Match) check(path string, wrong *mistakes) {
	wrong.err(path+".issuer", scopes.CheckSlug(m.Issuer))
	switch {
	case (m.Subject == "") == (m.SubjectGlob == ""):
		wrong.add(path, "needs exactly one of subject and subject_glob")
	case m.SubjectGlob != "":
		wrong.err(path+".subject_glob", CheckGlob(m.SubjectGlob))
	}
}
