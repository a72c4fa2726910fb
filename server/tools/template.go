package tools

import (
	"errors"
	"strings"
)

// template is the path of a rule, segment by segment.
type template []part

// part is one segment of a template.
type part struct {
	kind partKind
	text string // of a literal, decoded; of the others the name
	hole bool   // a literal that stands where a secret is put
}

// partKind orders parts: what matches less comes first.
type partKind int

const (
	literal partKind = iota // that segment
	param                   // any one segment
	rest                    // all that follows, at least a segment
)

// parseTemplate reads the path of a rule. Errors are the end of a sentence.
func parseTemplate(text string, slash bool) (template, error) {
	if text == "" || text[0] != '/' {
		return nil, errPathStart
	}
	raw := strings.Split(text[1:], "/")
	parsed := make(template, len(raw))
	seen := map[string]bool{}
	for i, s := range raw {
		inner, opened := strings.CutPrefix(s, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		if !opened || !closed {
			if strings.ContainsAny(s, "{}") {
				return nil, errors.New("may have a parameter only as a whole segment, such as /v1/refunds/{id}")
			}
			parsed[i] = part{kind: literal, text: s}
			continue
		}
		name, all := strings.CutSuffix(inner, "...")
		switch {
		case !isParamName(name):
			return nil, errors.New("has a parameter whose name is not letters, digits, hyphens and underscores")
		case seen[name]:
			return nil, errors.New("has two parameters of one name")
		case all && i < len(raw)-1:
			return nil, errors.New("may have {name...} only at its end")
		}
		seen[name] = true
		parsed[i] = part{kind: param, text: name}
		if all {
			parsed[i].kind = rest
		}
	}
	return parsed, parsed.decode(slash)
}

// decode checks the literals and undoes their escapes.
func (t template) decode(slash bool) error {
	shape := make([]string, len(t))
	for i, p := range t {
		if shape[i] = "x"; p.kind == literal {
			shape[i] = p.text
		}
	}
	decoded, err := segments("/"+strings.Join(shape, "/"), slash)
	if err != nil {
		return err
	}
	for i := range t {
		if t[i].kind == literal {
			t[i].text = decoded[i]
		}
	}
	return nil
}

func isParamName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// matches reports whether the segments of a path are of the template.
func (t template) matches(path []string) bool {
	for i, p := range t {
		switch {
		case i == len(path):
			return false
		case p.kind == rest:
			return path[i] != ""
		case p.kind == param && path[i] == "", p.kind == literal && path[i] != p.text:
			return false
		}
	}
	return len(path) == len(t)
}

// meet returns the template of the paths that both match; false if there are none. The one of two that is itself the
// meet is the more specific.
func (t template) meet(u template) (template, bool) {
	var both template
	for i := 0; ; i++ {
		switch {
		case i == len(t) || i == len(u):
			return both, len(t) == len(u)
		case t[i].kind == rest:
			return append(both, u[i:]...), u[i] != part{}
		case u[i].kind == rest:
			return append(both, t[i:]...), t[i] != part{}
		}
		less, more := t[i], u[i]
		if less.kind > more.kind {
			less, more = more, less
		}
		if more.kind == literal && less.text != more.text || more.kind == param && less == (part{}) {
			return nil, false
		}
		both = append(both, less)
	}
}

// same reports whether two templates match the same paths.
func (t template) same(u template) bool { return t.compare(u) == 0 }

// compare orders templates so that of two that match one path, and of which one is the more specific, that comes first.
func (t template) compare(u template) int {
	for i := range min(len(t), len(u)) {
		if t[i].kind != u[i].kind {
			return int(t[i].kind) - int(u[i].kind)
		}
		if c := strings.Compare(t[i].text, u[i].text); c != 0 && t[i].kind == literal {
			return c
		}
	}
	return len(t) - len(u)
}

// String returns the template as a rule has it, but for the escapes of its literals.
func (t template) String() string {
	var b strings.Builder
	for _, p := range t {
		switch b.WriteByte('/'); p.kind {
		case literal:
			b.WriteString(p.text)
		case param:
			b.WriteString("{" + p.text + "}")
		default:
			b.WriteString("{" + p.text + "...}")
		}
	}
	return b.String()
}
