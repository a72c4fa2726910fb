package configdoc

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/bursar-sts/bursar/"

// loader reads packages from source, each once. It needs no build, so that it works on code that does not compile yet.
type loader struct {
	root  string
	rooms map[string]*room
}

// room is one package as far as documentation needs it.
type room struct {
	dir       string
	types     map[string]ast.Expr
	imports   map[string]string  // of the whole package: name → directory in the module, or import path
	constants map[string]string  // string constants
	enums     map[string][]value // their values, by type, in the order of the source
}

type value struct{ value, text string }

func (l *loader) room(dir string) (*room, error) {
	if r := l.rooms[dir]; r != nil {
		return r, nil
	}
	r := &room{dir: dir, types: make(map[string]ast.Expr), imports: make(map[string]string),
		constants: make(map[string]string), enums: make(map[string][]value)}
	entries, err := os.ReadDir(filepath.Join(l.root, dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(l.root, dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if err := r.read(file); err != nil {
			return nil, err
		}
	}
	l.rooms[dir] = r
	return r, nil
}

func (r *room) read(file *ast.File) error {
	for _, spec := range file.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		name := path.Base(full)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		r.imports[name] = strings.TrimPrefix(full, module)
	}
	for _, decl := range file.Decls {
		general, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				r.types[s.Name.Name] = s.Type
			case *ast.ValueSpec:
				if general.Tok == token.CONST {
					r.constant(s)
				}
			}
		}
	}
	return nil
}

// constant notes a constant whose value is a string literal.
func (r *room) constant(s *ast.ValueSpec) {
	if len(s.Names) != 1 || len(s.Values) != 1 {
		return
	}
	literal, ok := s.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil || !s.Names[0].IsExported() {
		return
	}
	r.constants[s.Names[0].Name] = text
	if kind, ok := s.Type.(*ast.Ident); ok {
		about := strings.Join(strings.Fields(cmp.Or(s.Comment.Text(), s.Doc.Text())), " ")
		r.enums[kind.Name] = append(r.enums[kind.Name], value{text, about})
	}
}

// form is how the value of a field is written.
type form struct {
	text   string
	values []value // the only ones that are allowed
	inner  *Type   // the struct that it is made of
}

// wellKnown are types that are written as one text.
var wellKnown = map[string]string{
	"netip.Prefix":    "address range",
	"time.Duration":   "duration",
	"json.RawMessage": "any",
}

func (l *loader) form(r *room, e ast.Expr) (form, error) {
	switch t := e.(type) {
	case *ast.StarExpr:
		return l.form(r, t.X)
	case *ast.ArrayType:
		f, err := l.form(r, t.Elt)
		f.text = "list of " + plural(f.text)
		return f, err
	case *ast.MapType:
		f, err := l.form(r, t.Value)
		f.text = "by name, each a " + f.text
		return f, err
	case *ast.Ident:
		return l.named(r, t.Name)
	case *ast.SelectorExpr:
		pkg, ok := t.X.(*ast.Ident)
		if !ok {
			break
		}
		if text, ok := wellKnown[pkg.Name+"."+t.Sel.Name]; ok {
			return form{text: text}, nil
		}
		other, err := l.room(r.imports[pkg.Name])
		if err != nil {
			return form{}, err
		}
		return l.named(other, t.Sel.Name)
	}
	return form{}, fmt.Errorf("has a form that cannot be documented")
}

func plural(form string) string {
	switch form {
	case "one of these":
		return "these"
	case "true or false", "any":
		return form
	case "place of a secret":
		return "places of secrets"
	}
	return form + "s"
}

func (l *loader) named(r *room, name string) (form, error) {
	switch name {
	case "string":
		return form{text: "text"}, nil
	case "bool":
		return form{text: "true or false"}, nil
	case "int", "int64", "float64":
		return form{text: "number"}, nil
	case "Duration", "Age":
		return form{text: "duration"}, nil
	case "Rate":
		return form{text: "rate"}, nil
	case "Size":
		return form{text: "size"}, nil
	case "any":
		return form{text: "value"}, nil
	case "Source", "MasterKey":
		return form{text: "place of a secret"}, nil
	}
	if values := r.enums[name]; len(values) > 0 {
		return form{text: "one of these", values: slices.Clone(values)}, nil
	}
	switch t := r.types[name].(type) {
	case *ast.StructType:
		return form{text: "mapping", inner: &Type{r.dir, name}}, nil
	case nil:
		return form{}, fmt.Errorf("is of the unknown type %s.%s", r.dir, name)
	default:
		return l.form(r, t)
	}
}
