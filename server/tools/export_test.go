package tools

import (
	"maps"
	"slices"
)

// Passed are the headers that are passed on for every tool.
func Passed() []string { return slices.Sorted(maps.Keys(passed)) }
