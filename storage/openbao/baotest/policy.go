package baotest

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// policy is what a policy allows: for each path, which may end in * and have + in the place of one segment, what may be
// done there.
type policy []grant

type grant struct {
	path         string
	capabilities []string
}

var (
	blocks  = regexp.MustCompile(`(?s)path\s+"([^"]+)"\s*\{(.*?)\}`)
	allowed = regexp.MustCompile(`(?s)capabilities\s*=\s*\[(.*?)\]`)
	quoted  = regexp.MustCompile(`"([a-z]+)"`)
	comment = regexp.MustCompile(`(?m)#.*$`)
)

// readPolicy reads the blocks of a policy in HCL that name paths and capabilities, which is all that these have.
func readPolicy(text string) (p policy, err error) {
	text = comment.ReplaceAllString(text, "")
	for _, block := range blocks.FindAllStringSubmatch(text, -1) {
		list := allowed.FindStringSubmatch(block[2])
		if list == nil {
			return nil, errors.New("failed to parse policy: a path without capabilities")
		}
		g := grant{path: block[1]}
		for _, c := range quoted.FindAllStringSubmatch(list[1], -1) {
			g.capabilities = append(g.capabilities, c[1])
		}
		p = append(p, g)
	}
	if strings.TrimSpace(blocks.ReplaceAllString(text, "")) != "" {
		return nil, errors.New("failed to parse policy: invalid key")
	}
	return p, nil
}

// allowed reports whether the holder of a token may do something at a path, which begins with the namespace. Of the
// paths that match, the most specific one decides; what several policies say of the same path is added up.
func (s *Server) allowed(h *issued, path, operation string) bool {
	if slices.Contains(h.policies, "root") {
		return true
	}
	path, below := strings.CutPrefix(path, h.namespace)
	if !below {
		return false
	}
	var best string
	var may []string
	for _, name := range h.policies {
		for _, g := range s.namespaces[h.namespace].policies[name] {
			switch {
			case !matches(g.path, path):
			case g.path == best:
				may = append(may, g.capabilities...)
			case best == "" || more(g.path, best):
				best, may = g.path, slices.Clone(g.capabilities)
			}
		}
	}
	return slices.Contains(may, operation) && !slices.Contains(may, "deny")
}

func matches(pattern, path string) bool {
	prefix, glob := strings.CutSuffix(pattern, "*")
	want, have := strings.Split(prefix, "/"), strings.Split(path, "/")
	if len(have) < len(want) || !glob && len(have) != len(want) {
		return false
	}
	for i, segment := range want {
		last := glob && i == len(want)-1
		if segment != "+" && segment != have[i] && !(last && strings.HasPrefix(have[i], segment)) {
			return false
		}
	}
	return true
}

// more reports whether a path is more specific than another one: the first of them that has a wildcard is not.
func more(a, b string) bool {
	first := func(s string) int {
		if i := strings.IndexAny(s, "+*"); i >= 0 {
			return i
		}
		return len(s) + 1
	}
	return first(a) > first(b)
}
