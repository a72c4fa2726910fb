package config

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

	"github.com/bursar-sts/bursar/server/limit"
)

// reader fills a struct from YAML and gathers every mistake on the way.
type reader struct {
	mistakes []Mistake
	lines    map[string]int // of every path that the file has
	bad      []string       // paths whose values could not be read
}

// document reads the only document of data.
func (r *reader) document(data []byte, target any) {
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
func (r *reader) value(n *yaml.Node, v reflect.Value, path string) {
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
		r.spoil(path, n.Line, "must be "+want(v))
	}
}

// fields reads a mapping into a struct.
func (r *reader) fields(n *yaml.Node, v reflect.Value, path string) {
	known := make(map[string]reflect.Value, v.NumField())
	for field, value := range v.Fields() {
		known[field.Tag.Get("yaml")] = value
	}
	r.pairs(n, path, func(key, item *yaml.Node, at string) {
		switch field, ok := known[key.Value]; {
		case ok:
			r.value(item, field, at)
		case path == "" && later[key.Value]:
			r.spoil(at, key.Line, "is not available in this version; remove it")
		default:
			r.spoil(at, key.Line, "is not a known field")
		}
	})
}

// entries reads a mapping into a map of string keys.
func (r *reader) entries(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	r.pairs(n, path, func(key, item *yaml.Node, at string) {
		elem := reflect.New(v.Type().Elem()).Elem()
		r.value(item, elem, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
	})
}

// pairs calls visit for every key of a mapping and reports those that are there twice.
func (r *reader) pairs(n *yaml.Node, path string, visit func(key, item *yaml.Node, at string)) {
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
func (r *reader) scalar(n *yaml.Node, v reflect.Value, path string) {
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if text.UnmarshalText([]byte(n.Value)) != nil {
			r.spoil(path, n.Line, "must be "+want(v))
		}
		return
	}
	if n.Decode(v.Addr().Interface()) != nil {
		r.spoil(path, n.Line, "must be "+want(v))
	}
}

func isScalar(v reflect.Value) bool {
	_, text := v.Addr().Interface().(encoding.TextUnmarshaler)
	return text || v.Kind() != reflect.Struct && v.Kind() != reflect.Map && v.Kind() != reflect.Slice
}

// want describes what may stand in v.
func want(v reflect.Value) string {
	switch v.Interface().(type) {
	case netip.Prefix:
		return "an address range such as 10.2.0.0/16"
	case time.Duration:
		return "a duration such as 720h"
	case Age:
		return "a number of days such as 90d, or a duration such as 36h"
	case limit.Rate:
		return "a rate such as 200/s, 10/m or off"
	case Source:
		return "file:PATH, env:NAME or credential:NAME"
	case MasterKey:
		return "file:PATH, env:NAME, credential:NAME or openbao-transit:KEY"
	}
	switch v.Kind() {
	case reflect.Pointer:
		return want(reflect.Zero(v.Type().Elem()))
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
func (r *reader) add(path, text string) {
	line := 0
	for p := path; p != "" && line == 0; p = parent(p) {
		line = r.lines[p]
	}
	r.mistakes = append(r.mistakes, Mistake{path, line, text})
}

// spoil reports a value that could not be read.
func (r *reader) spoil(path string, line int, text string) {
	r.mistakes = append(r.mistakes, Mistake{path, line, text})
	r.bad = append(r.bad, path)
}

// marred reports whether what the path names, or something around it, could not be read.
func (r *reader) marred(path string) bool {
	for ; path != ""; path = parent(path) {
		if slices.Contains(r.bad, path) {
			return true
		}
	}
	return slices.Contains(r.bad, "")
}

// mentions reports whether something is said already about what the path names, or about a part of it.
func (r *reader) mentions(path string) bool {
	return r.marred(path) || slices.ContainsFunc(r.mistakes, func(m Mistake) bool {
		return m.Path == path || strings.HasPrefix(m.Path, path+".")
	})
}

// sorted returns the mistakes in the order of the file; what is missing from it comes first.
func (r *reader) sorted() []Mistake {
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
