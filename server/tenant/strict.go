package tenant

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/tools"
)

// reader turns YAML into Go values strictly: an unknown field, a field given twice, a field without a value, a merge
// key, an alias or a second document is a mistake, and all mistakes are found in one pass. The Go types speak JSON, so
// there is one set of field names.
//
// Aliases are refused because a short document can mean a very long one by them. A field without a value is refused
// because it is more likely a template's missing variable than a wish for the default, which may allow more.
type reader struct {
	problems problems
	bad      []string // paths of what could not be read
	depth    int
}

const (
	maxDepth    = 32  // of nesting
	maxProblems = 100 // that are reported
	topLevel    = 3   // the depth of the lists of objects, which may be empty: below the document and its mapping
)

// decode reads the single YAML document in data into target, a pointer to a struct, without what has mistakes. It
// reports whether there is a document to speak of.
func (r *reader) decode(data []byte, target any) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		r.problems.add("", "is empty")
		return false
	case err != nil:
		r.problems.add("", "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
		return false
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.problems.add("", "holds more than one document; apply one tenant at a time")
		return false
	}
	value := r.value(&doc, reflect.TypeOf(target).Elem(), "")
	if value == nil || len(r.problems) > maxProblems {
		return false
	}
	text, err := json.Marshal(value)
	if err != nil {
		r.problems.add("", "cannot be represented: "+err.Error())
		return false
	}
	if err := json.Unmarshal(text, target); err != nil {
		r.problems.add("", err.Error())
		return false
	}
	return true
}

// value converts a node that is to fill a value of the given type. typ is nil where anything may stand.
func (r *reader) value(n *yaml.Node, typ reflect.Type, path string) any {
	if r.depth == maxDepth {
		r.mistake(n, path, "is nested too deeply")
		return nil
	}
	r.depth++
	defer func() { r.depth-- }()
	for typ != nil && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ != nil && typ.Kind() == reflect.Interface {
		typ = nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], typ, path)
	case yaml.AliasNode:
		r.mistake(n, path, "is an alias; write out what it stands for")
		return nil
	case yaml.MappingNode:
		return r.mapping(n, typ, path)
	case yaml.SequenceNode:
		return r.sequence(n, typ, path)
	}
	return r.scalar(n, typ, path)
}

func (r *reader) mapping(n *yaml.Node, typ reflect.Type, path string) any {
	fields := jsonFields(typ)
	if typ != nil && fields == nil && !opaque(typ) && typ.Kind() != reflect.Map {
		r.mistake(n, path, "must be "+want(typ)+", not a mapping")
		return nil
	}
	object := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, at := n.Content[i], join(path, n.Content[i].Value)
		if typ != nil && typ.Kind() == reflect.Map {
			at = fmt.Sprintf("%s[%q]", path, key.Value) // anything may be a key, and look like a path
		}
		if _, twice := object[key.Value]; twice {
			r.mistake(key, at, "is given twice")
			continue
		}
		var next reflect.Type
		if typ != nil && typ.Kind() == reflect.Map {
			next = typ.Elem()
		}
		if fields != nil {
			field, known := fields[key.Value]
			if !known {
				r.mistake(key, at, "is not a known field")
				continue
			}
			next = field
		}
		object[key.Value] = r.value(n.Content[i+1], next, at)
	}
	return object
}

func (r *reader) sequence(n *yaml.Node, typ reflect.Type, path string) any {
	var elem reflect.Type
	switch {
	case typ == nil || opaque(typ):
	case typ.Kind() == reflect.Slice:
		elem = typ.Elem()
	default:
		r.mistake(n, path, "must be "+want(typ)+", not a list")
		return nil
	}
	if typ != nil && len(n.Content) == 0 && r.depth > topLevel {
		r.mistake(n, path, "is an empty list; leave the field out, or name something")
		return nil
	}
	list := make([]any, len(n.Content))
	for i, item := range n.Content {
		list[i] = r.value(item, elem, fmt.Sprintf("%s[%d]", path, i))
	}
	return list
}

func (r *reader) scalar(n *yaml.Node, typ reflect.Type, path string) any {
	var value any
	if n.Tag == "!!timestamp" || n.Tag == "!!binary" {
		value = n.Value
	} else if err := n.Decode(&value); err != nil {
		r.mistake(n, path, "cannot be read")
		return nil
	}
	if value == nil && r.depth == topLevel {
		return nil // a section with nothing in it
	}
	if typ != nil && (value == nil || value == "") {
		r.mistake(n, path, "has no value; leave the field out, or give it one")
		return nil
	}
	if typ == nil {
		return value
	}
	// Only the whole type can say whether it accepts the scalar; it is asked here so that each mistake gets its path.
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, reflect.New(typ).Interface())
	}
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return value
	case errors.As(err, &mismatch):
		r.mistake(n, path, "must be "+want(typ))
	default:
		r.mistake(n, path, err.Error())
	}
	return nil
}

func (r *reader) mistake(n *yaml.Node, path, what string) {
	if len(r.problems) == maxProblems {
		r.problems.add("", "there are more mistakes than are listed here")
	}
	if len(r.problems) > maxProblems {
		return
	}
	r.problems.add(path, fmt.Sprintf("%s (line %d)", what, n.Line))
	r.bad = append(r.bad, path)
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

var (
	rawMessage  = reflect.TypeFor[json.RawMessage]()
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()

	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	duration        = reflect.TypeFor[scopes.Duration]()
	size            = reflect.TypeFor[tools.Size]()
)

// opaque reports whether the type reads its JSON itself, so that its inside is not ours to check.
func opaque(typ reflect.Type) bool {
	return typ == rawMessage || reflect.PointerTo(typ).Implements(unmarshaler)
}

// jsonFields returns the JSON names of a struct's fields; nil for other types.
func jsonFields(typ reflect.Type) map[string]reflect.Type {
	if typ == nil || typ.Kind() != reflect.Struct || opaque(typ) {
		return nil
	}
	fields := make(map[string]reflect.Type, typ.NumField())
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = field.Type
		}
	}
	return fields
}

// want describes a type to somebody who writes YAML.
func want(typ reflect.Type) string {
	switch {
	case typ == duration:
		return "a duration, such as 90s or 5m"
	case typ == size:
		return "a size, such as 512B, 16KiB or 1MiB"
	case typ.Kind() == reflect.String, reflect.PointerTo(typ).Implements(textUnmarshaler):
		return "a string"
	case typ.Kind() == reflect.Bool:
		return "true or false"
	case typ.Kind() == reflect.Slice && typ != rawMessage:
		return "a list"
	case typ.Kind() == reflect.Struct && !opaque(typ), typ.Kind() == reflect.Map:
		return "a mapping"
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Float64 && !opaque(typ):
		return "a number"
	}
	return "of another form"
}
