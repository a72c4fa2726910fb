package strict

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Options say how a configuration is read.
type Options struct {
	// Forms describe the values of types that this room does not know, as the end of the sentence "must be".
	Forms map[reflect.Type]string
	// Later are fields of the whole that later versions have: they are refused by name, so that nobody believes that they
	// work.
	Later []string
}

// Reading is what was found out about a file while a struct was filled from it.
type Reading struct {
	options  Options
	mistakes []Mistake
	lines    map[string]int // of every path that the file has
	bad      []string       // paths whose values could not be read
}

// Read fills the struct that target points to from the only YAML document of data, by the yaml tags of its fields, as
// far as it can be read, and gathers every mistake on the way. An unknown field, a field given twice and a value of the
// wrong form are mistakes. It touches nothing but its arguments.
func Read(data []byte, target any, o Options) *Reading {
	r := &Reading{options: o, lines: make(map[string]int)}
	r.document(data, target)
	return r
}

// Check adds what is wrong with what was read. A value that could not be read is as good as absent, so that nobody is
// told twice.
func (r *Reading) Check(found []Mistake) {
	for _, m := range found {
		if !r.marred(m.Path) {
			r.add(m.Path, m.Text)
		}
	}
}

// Beside adds what is wrong with what the file names, of whatever nothing is said yet.
func (r *Reading) Beside(found []Mistake) {
	for _, m := range found {
		if !r.mentions(m.Path) {
			r.add(m.Path, m.Text)
		}
	}
}

func (r *Reading) document(data []byte, target any) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file: what is required is reported as missing
	case err != nil:
		r.spoil("", 0, "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.spoil("", 0, "must be one YAML document")
		return
	}
	r.value(doc.Content[0], reflect.ValueOf(target).Elem(), "")
}

// value reads a node into v. The types of a configuration are not recursive, so that neither is this, whatever the
// file's aliases do.
func (r *Reading) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	scalar := isScalar(v)
	switch {
	case !scalar && v.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		r.fields(n, v, path)
	case !scalar && v.Kind() == reflect.Map && n.Kind == yaml.MappingNode:
		r.entries(n, v, path)
	case !scalar && v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			r.lines[at] = item.Line
			r.value(item, v.Index(i), at)
		}
	case scalar && n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		r.scalar(n, v, path)
	default:
		r.spoil(path, n.Line, "must be "+r.want(v))
	}
}

// fields reads a mapping into a struct.
func (r *Reading) fields(n *yaml.Node, v reflect.Value, path string) {
	known := make(map[string]reflect.Value, v.NumField())
	for field, value := range v.Fields() {
		known[field.Tag.Get("yaml")] = value
	}
	r.pairs(n, path, func(key, item *yaml.Node, at string) {
		switch field, ok := known[key.Value]; {
		case ok:
			r.value(item, field, at)
		case path == "" && slices.Contains(r.options.Later, key.Value):
			r.spoil(at, key.Line, "is not available in this version; remove it")
		default:
			r.spoil(at, key.Line, "is not a known field")
		}
	})
}

// entries reads a mapping into a map of string keys.
func (r *Reading) entries(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	r.pairs(n, path, func(key, item *yaml.Node, at string) {
		elem := reflect.New(v.Type().Elem()).Elem()
		r.value(item, elem, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
	})
}

// pairs calls visit for every key of a mapping and reports those that are there twice.
func (r *Reading) pairs(n *yaml.Node, path string, visit func(key, item *yaml.Node, at string)) {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, item := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if seen[key.Value] {
			r.spoil(at, key.Line, "is given twice")
			continue
		}
		seen[key.Value] = true
		r.lines[at] = key.Line
		visit(key, item, at)
	}
}

// scalar reads a single value.
func (r *Reading) scalar(n *yaml.Node, v reflect.Value, path string) {
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if text.UnmarshalText([]byte(n.Value)) != nil {
			r.spoil(path, n.Line, "must be "+r.want(v))
		}
		return
	}
	if n.Decode(v.Addr().Interface()) != nil {
		r.spoil(path, n.Line, "must be "+r.want(v))
	}
}

func isScalar(v reflect.Value) bool {
	_, text := v.Addr().Interface().(encoding.TextUnmarshaler)
	return text || v.Kind() != reflect.Struct && v.Kind() != reflect.Map && v.Kind() != reflect.Slice
}

// want describes what may stand in v.
func (r *Reading) want(v reflect.Value) string {
	if form, ok := r.options.Forms[v.Type()]; ok {
		return form
	}
	switch v.Interface().(type) {
	case netip.Prefix:
		return "an address range such as 10.2.0.0/16"
	case time.Duration:
		return "a duration such as 720h"
	case Source:
		return "file:PATH, env:NAME or credential:NAME"
	}
	switch v.Kind() {
	case reflect.Pointer:
		return r.want(reflect.Zero(v.Type().Elem()))
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number such as 0.05"
	}
	return "a text"
}

// add reports a mistake at a path, on the line of the path or of the nearest one around it.
func (r *Reading) add(path, text string) {
	line := 0
	for p := path; p != "" && line == 0; p = parent(p) {
		line = r.lines[p]
	}
	r.mistakes = append(r.mistakes, Mistake{path, line, text})
}

// spoil reports a value that could not be read.
func (r *Reading) spoil(path string, line int, text string) {
	r.mistakes = append(r.mistakes, Mistake{path, line, text})
	r.bad = append(r.bad, path)
}

// marred reports whether what the path names, or something around it, could not be read.
func (r *Reading) marred(path string) bool {
	for ; path != ""; path = parent(path) {
		if slices.Contains(r.bad, path) {
			return true
		}
	}
	return slices.Contains(r.bad, "")
}

// mentions reports whether something is said already about what the path names, or about a part of it.
func (r *Reading) mentions(path string) bool {
	return r.marred(path) || slices.ContainsFunc(r.mistakes, func(m Mistake) bool {
		return m.Path == path || strings.HasPrefix(m.Path, path+".")
	})
}

// Mistakes returns all of them in the order of the file; what is missing from it comes first.
func (r *Reading) Mistakes() []Mistake {
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return a.Line - b.Line })
	return r.mistakes
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}
