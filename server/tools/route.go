package tools

import (
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
)

// Methods are those that a rule can allow.
var Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// The refusals of a call. Each is made anew, because callers write into them.
func refuseMethod() error {
	return fault.New(fault.MethodNotAllowed, "method.not_allowed", "The tool does not take this method here.")
}

func refusePath() error {
	return fault.New(fault.Forbidden, "path.not_allowed", "No action of the tool has this method and path.")
}

func refuseForm(why error) error {
	return fault.New(fault.InvalidRequest, "path.ambiguous",
		"The path is not in its one canonical form: it "+why.Error()+".")
}

func refuseQuery() error {
	return fault.New(fault.InvalidRequest, "query.ambiguous",
		"The query repeats a parameter, or can be read in more than one way.")
}

func refuseQueryName() error {
	return fault.New(fault.Forbidden, "query.not_allowed", "The query has a parameter that is not allowed here.")
}

// route is a rule with its path and query read.
type route struct {
	index int // of the rule
	rule  *Rule
	path  template
	query map[string]bool // by name; true if the parameter may come more than once
	scope string          // of the rule's action
}

// Match is a call that a rule allows to those who hold its action.
type Match struct {
	Rule  *Rule
	Index int    // of the rule in Upstream.Allow; -1 if the rule is the probe's own
	Path  string // the bytes to send; they are the caller's own
	Query string // the bytes to send, without the question mark
	Scope string // of the rule's action; empty if the rule is the probe's own

	upstream *Upstream
	method   string
	template template
	details  []detail // what else must hold, one of them; nil if nothing
}

// Route finds the rule of a call by its method, and its path below the tool's own and query as they came, byte by byte.
// Of several rules the most specific is the one. An empty path is "/" (RFC 9110 §4.2.3).
//
// Errors are *fault.Error. Reasons: method.not_allowed, for a method that is none or that no rule has for the path;
// path.ambiguous and query.ambiguous, for what is not canonical; path.not_allowed; query.not_allowed.
func (u *Upstream) Route(method, rawPath, rawQuery string) (*Match, error) {
	if !slices.Contains(Methods, method) {
		return nil, refuseMethod()
	}
	if rawPath == "" {
		rawPath = "/"
	}
	path, err := segments(rawPath, u.AllowEncodedSlash)
	if err != nil {
		return nil, refuseForm(err)
	}
	refuse := refusePath
	for _, r := range u.routes { // the most specific first
		if !r.path.matches(path) {
			continue
		}
		if !slices.Contains(r.rule.Methods, method) {
			refuse = refuseMethod
			continue
		}
		query, err := u.agentQuery(rawQuery, r.query)
		if err != nil {
			return nil, err
		}
		return &Match{Rule: r.rule, Index: r.index, Path: rawPath, Query: query, Scope: r.scope, upstream: u, method: method,
			template: r.path}, nil
	}
	return nil, refuse()
}

// Segment returns where the match's path has the segment that an injection of kind path replaces: Path[start:end] is
// the placeholder.
func (m *Match) Segment(name string) (start, end int, ok bool) {
	index := slices.Index(m.template, part{literal, name, true})
	if index < 0 {
		return 0, 0, false
	}
	for range index + 1 { // canonical paths have as many raw slashes as segments
		start += strings.IndexByte(m.Path[start:], '/') + 1
	}
	end = len(m.Path)
	if next := strings.IndexByte(m.Path[start:], '/'); next >= 0 {
		end = start + next
	}
	return start, end, true
}

// ProbeMatch returns the call that shows whether a secret works: that of a rule if one allows it. false if there is
// none.
func (u *Upstream) ProbeMatch() (*Match, bool) {
	if u.Probe == nil {
		return nil, false
	}
	rawPath, rawQuery, _ := strings.Cut(u.Probe.Path, "?")
	path, err := segments(rawPath, u.AllowEncodedSlash)
	if err != nil {
		return nil, false
	}
	m := &Match{Path: rawPath, Query: rawQuery, upstream: u, method: u.Probe.Method}
	for _, r := range u.routes {
		if r.path.matches(path) && slices.Contains(r.rule.Methods, m.method) {
			m.Rule, m.Index, m.Scope, m.template = r.rule, r.index, r.scope, r.path
			return m, true
		}
	}
	m.Rule, m.Index = &Rule{Methods: []string{m.method}, Path: rawPath}, -1
	return m, m.method == "GET" || m.method == "HEAD"
}
