package tools

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/scopes"
)

// checkRules lists the mistakes of the rules, and prepares them for Route, the most specific first.
func (u *Upstream) checkRules(p *problems, t *Tool) {
	if len(u.Allow) == 0 {
		p.add("allow", "lists nothing, so that nothing could be called")
	}
	if len(u.Allow) > maxRules {
		p.add("allow", fmt.Sprintf("has %d rules; at most %d are allowed", len(u.Allow), maxRules))
		return
	}
	u.routes = make([]route, 0, len(u.Allow))
	for i := range u.Allow {
		r, path := &u.Allow[i], fmt.Sprintf("allow[%d]", i)
		p.under(path, u.checkRule(r, t))
		parsed, err := u.template(r)
		if err != nil {
			continue
		}
		u.checkHoles(p, path, parsed)
		u.checkTies(p, i, parsed)
		u.routes = append(u.routes, route{i, r, parsed, queryNames(r.Query), t.Scope(scopes.Actions(t.Name, r.Action))})
	}
	slices.SortStableFunc(u.routes, func(a, b route) int { return a.path.compare(b.path) })
}

// checkRule lists the mistakes that a rule has by itself.
func (u *Upstream) checkRule(r *Rule, t *Tool) []string {
	var p problems
	if !slices.Contains(t.Actions, r.Action) {
		p.add("action", "is not an action of tool "+t.Name)
	}
	if len(r.Methods) == 0 {
		p.add("methods", "lists nothing; name at least one method")
	}
	for i, m := range r.Methods {
		switch path := fmt.Sprintf("methods[%d]", i); {
		case !slices.Contains(Methods, m):
			p.add(path, "must be one of "+strings.Join(Methods, ", "))
		case slices.Contains(r.Methods[:i], m):
			p.add(path, "is listed twice")
		}
	}
	_, err := u.template(r)
	p.err("path", err)
	u.checkQuery(&p, r)
	u.checkBodies(&p, r)
	p.under("json", checkConstraints(r.JSON))
	return p
}

func (u *Upstream) checkQuery(p *problems, r *Rule) {
	for i, name := range r.Query {
		path := fmt.Sprintf("query[%d]", i)
		plain := strings.TrimSuffix(name, more)
		switch same := func(x string) bool { return strings.TrimSuffix(x, more) == plain }; {
		case !isParameter(plain):
			p.add(path, "must be the name of a query parameter, as it is when it is decoded: letters, digits and -._~$@:[]")
		case strings.EqualFold(plain, methodField):
			p.add(path, "would let an agent say that its call is another method's")
		case slices.ContainsFunc(r.Query[:i], same):
			p.add(path, "is listed twice")
		case slices.ContainsFunc(u.Inject, func(x Injection) bool {
			return x.In == InQuery && strings.EqualFold(x.Name,
				plain)
		}):
			p.add(path, "is a parameter that a secret is put in")
		}
	}
	if len(r.Query) > maxList {
		p.add("query", fmt.Sprintf("has more than %d names", maxList))
	}
}

// isParameter reports whether s can be the decoded name of a query parameter or form field.
func isParameter(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(c rune) bool {
		return c > '~' || !isUnreserved(byte(c)) && !strings.ContainsRune("$@:[]", c)
	})
}

func (u *Upstream) checkBodies(p *problems, r *Rule) {
	bodies := slices.ContainsFunc(r.Methods, hasBody) || r.MaxBody != 0 && slices.ContainsFunc(r.Methods, takesBody)
	switch {
	case r.MaxBody != 0 && !bodies:
		p.add("max_body", "is for calls with a body, and GET and HEAD have none")
	case len(r.ContentTypes) > 0 && !bodies:
		p.add("content_types", "is for calls with a body, and the rule allows none")
	case len(r.JSON) > 0 && (!bodies || !slices.ContainsFunc(r.mediaTypes(), isJSON)):
		p.add("json", "is for calls with a JSON body, and the rule allows none")
	case len(r.JSON) > 0 && slices.ContainsFunc(r.Methods, func(m string) bool { return !takesBody(m) }):
		p.add("json", "is for calls with a body, and GET and HEAD have none; write a rule of their own for them")
	}
	for i, text := range r.ContentTypes {
		media, params, err := mime.ParseMediaType(text)
		if err != nil || len(params) > 0 || media != text || !strings.Contains(text, "/") || strings.Contains(text, "*") {
			p.add(fmt.Sprintf("content_types[%d]", i), "must be one media type in small letters, such as application/json")
		} else if slices.Contains(r.ContentTypes[:i], text) {
			p.add(fmt.Sprintf("content_types[%d]", i), "is listed twice")
		}
	}
	if len(r.ContentTypes) > maxList {
		p.add("content_types", fmt.Sprintf("has more than %d types", maxList))
	}
	media := u.fillsBody()
	if media != "" && (slices.ContainsFunc(r.Methods, func(m string) bool { return !hasBody(m) }) ||
		!slices.Equal(r.mediaTypes(), []string{media})) {
		p.add("", "must be for POST, PUT or PATCH and for content_types ["+media+"] alone, "+
			"because a secret is put in the body")
	}
}

// checkConstraints lists the mistakes of JSON constraints, in the order of their places.
func checkConstraints(constraints map[string][]any) []string {
	var p problems
	for _, text := range slices.Sorted(maps.Keys(constraints)) {
		path, allowed := fmt.Sprintf("[%q]", text), constraints[text]
		if _, err := parsePointer(text); err != nil {
			p.err(path, err)
		}
		if len(allowed) == 0 || len(allowed) > maxList {
			p.add(path, fmt.Sprintf("must list from 1 to %d values", maxList))
		}
		for i, value := range allowed {
			if _, ok := scalar(value); !ok || !isExact(value) {
				p.add(fmt.Sprintf("%s[%d]", path, i), "must be a string, a number that is exact in 53 bits, true, false or null")
			}
		}
	}
	if len(constraints) > maxList {
		p.add("", fmt.Sprintf("has more than %d places", maxList))
	}
	return p
}

// isExact reports whether a number is one that came through a float64 unchanged.
func isExact(value any) bool {
	switch n := value.(type) {
	case float64:
		return -1<<53 < n && n < 1<<53
	case json.Number:
		f, err := n.Float64()
		return err == nil && isExact(f)
	}
	return true
}

// template reads the path of a rule, and marks where it has secrets.
func (u *Upstream) template(r *Rule) (template, error) {
	if len(r.Path) > maxTemplate {
		return nil, fmt.Errorf("is longer than %d bytes", maxTemplate)
	}
	t, err := parseTemplate(r.Path, u.AllowEncodedSlash)
	for i, p := range t {
		if p.kind == param && u.injects(InPath, p.text) {
			t[i] = part{kind: literal, text: p.text, hole: true}
		}
	}
	return t, err
}

// checkHoles finds the secrets for which a template has no place.
func (u *Upstream) checkHoles(p *problems, path string, t template) {
	for _, x := range u.Inject {
		if x.In == InPath && !slices.Contains(t, part{literal, x.Name, true}) {
			p.add(path+".path", "must have the segment {"+x.Name+"}, in which a secret is put")
		}
	}
}

// checkTies finds the earlier rules that match a path and method that rule i matches, without one of the two being the
// more specific, unless a third rule is for exactly what both match.
func (u *Upstream) checkTies(p *problems, i int, t template) {
	path, r := fmt.Sprintf("allow[%d]", i), &u.Allow[i]
	for _, other := range u.routes {
		both, overlap := t.meet(other.path)
		if !overlap {
			continue
		}
		for _, method := range r.Methods {
			if !slices.Contains(other.rule.Methods, method) {
				continue
			}
			if t.same(other.path) {
				p.add(path, fmt.Sprintf("allows %s to the same paths as allow[%d]", method, other.index))
				break
			}
			if !both.same(t) && !both.same(other.path) && !u.decides(method, both) {
				p.add(path, fmt.Sprintf("and allow[%d] both have %s of %s, and neither is more specific; write a rule for that",
					other.index, method, both))
				break
			}
		}
	}
}

// decides reports whether some rule is for a method and exactly the paths of a template.
func (u *Upstream) decides(method string, paths template) bool {
	return slices.ContainsFunc(u.Allow, func(r Rule) bool {
		t, err := u.template(&r)
		return err == nil && slices.Contains(r.Methods, method) && t.same(paths)
	})
}
