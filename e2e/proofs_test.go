package e2e_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// proof names the tests that show a row of the table which no request to a healthy server can.
type proof struct {
	Says string   `yaml:"says"`
	By   []string `yaml:"by"` // folder.TestName
}

// required are the ids that the table must account for. What they say is in acceptance.yaml; those between them are
// about what is not built: client certificates (B27 to B29), tokens bound to a key (D-25, D-27), authorization_details
// (F19 to F22), DPoP (all of G) and quotas of live tokens (H4).
var required = slices.Concat(
	ids("A", 1, 21), []string{"A22a", "A22b"}, ids("A", 23, 24), ids("B", 1, 26), ids("B", 30, 32), ids("C", 1, 9),
	ids("D-", 1, 24), ids("D-", 26, 26), ids("D-", 28, 33), ids("E", 1, 10), ids("F", 1, 18), ids("H", 1, 3),
	ids("H", 5, 9))

// attacks are the known attacks on servers of this kind that a test must show to fail: all but those on what is not
// built, such as cluster reviews of tokens, DPoP, client certificates, and the shim.
var attacks = slices.Concat(ids("T-0", 1, 9), ids("T-", 10, 47), ids("T-", 51, 51), ids("T-", 53, 61))

func ids(prefix string, first, last int) (all []string) {
	for n := first; n <= last; n++ {
		all = append(all, prefix+strconv.Itoa(n))
	}
	return all
}

// TestTheTableIsWhole: every id has its row in acceptance.yaml, or a test elsewhere that exists.
func TestTheTableIsWhole(t *testing.T) {
	var whole table
	strict(t, []byte(read(t, "acceptance.yaml")), &whole)
	shown := map[string]bool{}
	for _, r := range whole.rows(t) {
		shown[r.ID] = true
	}
	known := texts(t)
	for id, p := range whole.Elsewhere {
		if !slices.Contains(required, id) || p.Says == "" || len(p.By) == 0 {
			t.Errorf("%s: %+v shows nothing that must be shown", id, p)
		}
		for _, name := range p.By {
			if _, exists := known[name]; !exists {
				t.Errorf("%s: there is no test %s", id, name)
			}
		}
		shown[id] = true
	}
	for _, id := range required {
		if !shown[id] {
			t.Errorf("%s has no row and no test", id)
		}
	}
}

// mark is how a test names an attack.
var mark = regexp.MustCompile(`\bT-\d\d\b`)

// TestEveryAttackHasItsTest: every attack is named by a test, in its doc comment or in one of its rows, or by a row of
// acceptance.yaml.
func TestEveryAttackHasItsTest(t *testing.T) {
	var whole table
	strict(t, []byte(read(t, "acceptance.yaml")), &whole)
	places := texts(t)
	for _, r := range whole.rows(t) {
		places["acceptance.yaml "+r.ID] += r.Says + "\n" + r.Name + "\n"
	}
	named := map[string][]string{}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		for _, attack := range mark.FindAllString(places[place], -1) {
			if !slices.Contains(named[attack], place) {
				named[attack] = append(named[attack], place)
			}
		}
	}
	for _, attack := range attacks {
		if len(named[attack]) == 0 {
			t.Errorf("no test is about %s", attack)
		}
		t.Logf("%s: %s", attack, strings.Join(named[attack], ", "))
	}
}

// texts returns every test of the repository, as folder.TestName, with its doc comment and the strings in it.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".") && name != ".."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
		for _, decl := range parsed.Decls {
			f, isFunc := decl.(*ast.FuncDecl)
			if isFunc && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				all[folder+"."+f.Name.Name] = f.Doc.Text() + literals(f)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// literals returns the strings that stand in a function.
func literals(f *ast.FuncDecl) string {
	var all strings.Builder
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			all.WriteString(lit.Value + "\n")
		}
		return true
	})
	return all.String()
}
