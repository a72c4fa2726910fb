package deliver

import (
	"encoding/json"
	"slices"
	"strings"
)

// wants reports whether the target is given a log.
func (t *Target) wants(l Log) bool {
	if l.Slug == "" {
		return t.Platform
	}
	return t.All || slices.Contains(t.Tenants, l.Slug)
}

// takes reports whether the target is given events of a name.
func (t *Target) takes(name string) bool {
	return t.Events == nil || slices.ContainsFunc(t.Events, func(e string) bool {
		return e == name || strings.HasSuffix(e, ".") && strings.HasPrefix(name, e)
	})
}

// nameOf returns the name of an event by its claims, empty if it has none of ours.
func nameOf(claims json.RawMessage) string {
	var set struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	if json.Unmarshal(claims, &set) != nil {
		return ""
	}
	for uri := range set.Events {
		rest, ours := strings.CutPrefix(uri, "urn:bursar:event:")
		if name, _, versioned := strings.Cut(rest, ":"); ours && versioned {
			return name
		}
	}
	return ""
}
