// Package configdoc writes docs/configuration.md from the comments of the types that the configuration is read into, so
// that the document cannot differ from the code. Its test compares the two:
//
//	go generate ./cmd/internal/configdoc
package configdoc

//go:generate go test -run TestDocumentIsCurrent -update .

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// Type names a struct type in the source tree.
type Type struct {
	Dir  string // relative to the root of the module
	Name string
}

// Fields writes the fields of a struct as a nested list: name, form, comment. Names of Go fields and constants in the
// comments become the names and values that people write.
func Fields(root string, t Type) (string, error) {
	l := &loader{root: root, rooms: make(map[string]*room)}
	var b strings.Builder
	if err := l.fields(&b, t, 0); err != nil {
		return "", fmt.Errorf("document %s.%s: %w", t.Dir, t.Name, err)
	}
	return b.String(), nil
}

// maxDepth bounds nesting, so that a type that holds itself is an error and not an endless document.
const maxDepth = 8

func (l *loader) fields(b *strings.Builder, t Type, depth int) error {
	r, err := l.room(t.Dir)
	if err != nil {
		return err
	}
	spec, ok := r.types[t.Name].(*ast.StructType)
	if !ok || depth > maxDepth {
		return fmt.Errorf("%s.%s is no struct that can be documented", t.Dir, t.Name)
	}
	words := r.words(spec)
	for _, field := range spec.Fields.List {
		name := tagName(field)
		if name == "" {
			continue
		}
		f, err := l.form(r, field.Type)
		if err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		indent := strings.Repeat("  ", depth)
		fmt.Fprintf(b, "%s- `%s` (%s)%s\n", indent, name, f.text, words.explain(field))
		for _, v := range f.values {
			fmt.Fprintf(b, "%s  - `%s`%s\n", indent, v.value, colon(words.in(v.text)))
		}
		if f.inner != nil {
			if err := l.fields(b, *f.inner, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// explain returns the comment of a field as it follows the field's name, which the comment may repeat as Go's do.
func (w vocabulary) explain(field *ast.Field) string {
	text := comment(field)
	for _, name := range field.Names {
		if rest, ok := strings.CutPrefix(text, name.Name+" "); ok {
			return " " + w.in(rest)
		}
	}
	return colon(w.in(text))
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// tagName returns the name of a field in YAML or JSON; empty if it is in neither.
func tagName(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	for _, key := range []string{`yaml:"`, `json:"`} {
		_, rest, ok := strings.Cut(field.Tag.Value, key)
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(rest, `"`)
		name, _, _ := strings.Cut(rest, ",")
		if name != "" && name != "-" {
			return name
		}
	}
	return ""
}

// comment returns what stands above a field, or else beside it, on one line.
func comment(field *ast.Field) string {
	text := field.Doc.Text()
	if text == "" {
		text = field.Comment.Text()
	}
	return strings.Join(strings.Fields(text), " ")
}

// vocabulary maps Go names to what stands in a file.
type vocabulary map[string]string

// words returns the names of a struct's fields and of the package's constants.
func (r *room) words(spec *ast.StructType) vocabulary {
	words := make(vocabulary)
	for name, value := range r.constants {
		words[name] = value
	}
	for _, field := range spec.Fields.List {
		for _, name := range field.Names {
			if tag := tagName(field); tag != "" {
				words[name.Name] = tag
			}
		}
	}
	return words
}

var (
	quoted     = regexp.MustCompile("`[^`]*`|\"[^\"]*\"|[A-Za-z0-9_./:-]+")
	identifier = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
)

// in replaces Go names in a comment. What is quoted stays as it is, and so does a name that differs from what it stands
// for in capitals alone: it may be an ordinary word.
func (w vocabulary) in(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(word string) string {
		bare := strings.TrimRight(word, ".:")
		value, known := w[bare]
		if !known || strings.EqualFold(bare, value) || !identifier.MatchString(bare) {
			return word
		}
		return "`" + value + "`" + word[len(bare):]
	})
}
