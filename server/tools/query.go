package tools

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// more behind a query parameter's name in a rule says that it may come more than once.
const more = "..."

// queryName returns the decoded name of one parameter of a raw query. It refuses what two parsers could read
// differently: an empty parameter, a semicolon, a bad escape, what is not UTF-8, and NUL.
func queryName(pair string) (name string, ok bool) {
	for i := range len(pair) {
		if c := pair[i]; !isPathByte(c) && strings.IndexByte("%/?[]", c) < 0 {
			return "", false
		}
	}
	raw, value, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(raw)
	if err != nil || name == "" || !isQueryText(name) {
		return "", false
	}
	value, err = url.QueryUnescape(value)
	return name, err == nil && isQueryText(value)
}

func isQueryText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// queryNames reads the query of a rule.
func queryNames(listed []string) map[string]bool {
	names := make(map[string]bool, len(listed))
	for _, name := range listed {
		plain, repeats := strings.CutSuffix(name, more)
		names[plain] = repeats
	}
	return names
}

// agentQuery judges the raw query of an agent and returns what is sent of it: its bytes, but for the agent's own copies
// of injected parameters.
func (u *Upstream) agentQuery(raw string, allowed map[string]bool) (string, error) {
	if raw == "" {
		return "", nil
	}
	pairs := strings.Split(raw, "&")
	kept, seen := make([]string, 0, len(pairs)), make(map[string]bool, len(pairs))
	for _, pair := range pairs {
		name, ok := queryName(pair)
		repeats, listed := allowed[name]
		switch {
		case !ok || seen[name] && !repeats:
			return "", refuseQuery()
		case u.injects(InQuery, name):
		case !listed:
			return "", refuseQueryName()
		default:
			kept = append(kept, pair)
		}
		seen[name] = true
	}
	return strings.Join(kept, "&"), nil
}

// injects reports whether the upstream has an injection of that kind and name.
func (u *Upstream) injects(kind Kind, name string) bool {
	return slices.ContainsFunc(u.Inject, func(i Injection) bool { return i.In == kind && i.Name == name })
}
