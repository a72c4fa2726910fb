package tools

import (
	"fmt"
	"slices"
	"strings"
)

// Tools is one tenant's tools by name and by resource. The zero value knows none.
type Tools struct {
	byName     map[string]*Tool
	byResource map[string]*Tool
}

// New returns the tools of the tenant at a place, and lists the mistakes of all of them, each as "tools[0].name: …".
func New(all []Tool, at Place) (*Tools, []string) {
	t := &Tools{byName: map[string]*Tool{}, byResource: map[string]*Tool{}}
	var p problems
	for i := range all {
		tool, path := &all[i], fmt.Sprintf("tools[%d]", i)
		p.under(path, tool.check(at))
		if t.byName[tool.Name] != nil {
			p.add(path+".name", "is used twice")
		}
		t.byName[tool.Name] = tool
		if canonical, err := CanonicalResource(tool.Resource); err == nil {
			if other := t.byResource[canonical]; other != nil {
				p.add(path+".resource", fmt.Sprintf("is also the resource of tool %s", other.Name))
			}
			t.byResource[canonical] = tool
		}
	}
	return t, p
}

// Named returns the tool of that name.
func (t *Tools) Named(name string) (*Tool, bool) {
	tool, ok := t.byName[name]
	return tool, ok
}

// At returns the tool whose resource is the given URI, compared as CanonicalResource says.
func (t *Tools) At(resource string) (*Tool, bool) {
	if tool, ok := t.byResource[resource]; ok { // its keys are canonical
		return tool, true
	}
	canonical, err := CanonicalResource(resource)
	if err != nil {
		return nil, false
	}
	tool, ok := t.byResource[canonical]
	return tool, ok
}

// All returns the tools in the order of their names.
func (t *Tools) All() []*Tool {
	all := make([]*Tool, 0, len(t.byName))
	for _, tool := range t.byName {
		all = append(all, tool)
	}
	slices.SortFunc(all, func(a, b *Tool) int { return strings.Compare(a.Name, b.Name) })
	return all
}
