package strict_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

type color string

func (c *color) UnmarshalText(text []byte) error {
	if string(text) != "red" {
		return os.ErrInvalid
	}
	*c = color(text)
	return nil
}

type sample struct {
	Name  string           `yaml:"name"`
	Color color            `yaml:"color"`
	Keys  []strict.Source  `yaml:"keys"`
	Parts map[string]inner `yaml:"parts"`
}

type inner struct {
	Size int `yaml:"size"`
}

var options = strict.Options{Later: []string{"future"},
	Forms: map[reflect.Type]string{reflect.TypeFor[color](): "a color, which is red"}}

func TestEverythingIsReadOrIsAMistake(t *testing.T) {
	for text, want := range map[string][]string{
		"name: x\ncolor: red\nkeys: [file:a, env:B]\nparts: {a: {size: 1}}\n": nil,
		"":                          nil,
		"name: x\nname: y\n":        {"name: is given twice (line 2)"},
		"nam: x\n":                  {"nam: is not a known field (line 1)"},
		"future: 1\n":               {"future: is not available in this version; remove it (line 1)"},
		"parts: {a: {future: 1}}\n": {"parts.a.future: is not a known field (line 1)"},
		"color: blue\n":             {"color: must be a color, which is red (line 1)"},
		"keys: [a]\n":               {"keys[0]: must be file:PATH, env:NAME or credential:NAME (line 1)"},
		"parts: {a: {size: big}}\n": {"parts.a.size: must be a text (line 1)"},
		"name: x\n---\nname: y\n":   {"must be one YAML document"},
		"name: [x\n":                {"is not YAML: line 1: did not find expected ',' or ']'"},
		"parts: 1\ncolor: 2\nname: [a]": {"parts: must be a mapping (line 1)",
			"color: must be a color, which is red (line 2)", "name: must be a text (line 3)"},
	} {
		var s sample
		var got []string
		for _, m := range strict.Read([]byte(text), &s, options).Mistakes() {
			got = append(got, m.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if want == nil && text != "" && (s.Name != "x" || s.Keys[1].Name != "B" || s.Parts["a"].Size != 1) {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

// What could not be read is not told of a second time.
func TestNothingIsSaidTwice(t *testing.T) {
	var s sample
	r := strict.Read([]byte("color: blue\nparts: {a: {size: 0}}\n"), &s, options)
	r.Check([]strict.Mistake{{Path: "color", Text: "is required"}, {Path: "name", Text: "is required"},
		{Path: "parts.a.size", Text: "must be larger"}})
	r.Beside([]strict.Mistake{{Path: "name", Text: "again"}, {Path: "parts", Text: "again"},
		{Path: "keys", Text: "other"}})
	var got []string
	for _, m := range r.Mistakes() {
		got = append(got, m.String())
	}
	want := []string{"name: is required", "keys: other", "color: must be a color, which is red (line 1)",
		"parts.a.size: must be larger (line 2)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASecretIsReadFromWhereItIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("TEST_STRICT", "of the environment")
	file := strict.Source{Kind: strict.SourceFile, Name: "key"}.Under(dir)
	env := strict.Source{Kind: strict.SourceEnv, Name: "TEST_STRICT"}.Under(dir)
	for source, want := range map[strict.Source]string{file: "of a file", env: "of the environment",
		{Kind: strict.SourceCredential, Name: "key"}: "of a file"} {
		if got, err := source.Read(); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", source, got, err)
		}
	}
	for _, source := range []strict.Source{{}, {Kind: strict.SourceFile, Name: filepath.Join(dir, "open")},
		{Kind: strict.SourceFile, Name: dir}, {Kind: strict.SourceEnv, Name: "TEST_STRICT_ABSENT"},
		{Kind: strict.SourceCredential, Name: "absent"}} {
		if got, err := source.Read(); err == nil {
			t.Errorf("%s: %q", source, got)
		}
	}
	strict.Forget(file, env, strict.Source{})
	if value, there := os.LookupEnv("TEST_STRICT"); there {
		t.Errorf("the variable still holds %q", value)
	}
	if _, err := file.Read(); err != nil {
		t.Error(err)
	}
}

func TestThePasswordIsPutIntoTheURLOnlyAtTheEnd(t *testing.T) {
	for url, fine := range map[string]bool{
		"redis://shim@127.0.0.1:6379/0": true, "rediss://r.example": true, "redis-cluster://a:1,b:2": true,
		"bolt:x": false, "redis://u:p@h": false, "redis://h?password=p": false, "redis://": false, "http://h": false,
	} {
		if err := strict.RedisURL(url); (err == nil) != fine {
			t.Errorf("%s: %v", url, err)
		}
	}
	if got := strict.WithPassword("redis://shim@h:1/0", "a@/b"); got != "redis://shim:a%40%2Fb@h:1/0" {
		t.Error(got)
	}
}

func TestAShimHasAnAddressOfItsOwn(t *testing.T) {
	const base = "https://sts.example"
	for s, want := range map[string]string{
		"https://sts.example/shim": "", "https://sts.example/a/b_c-1": "", "https://shim.example": "",
		"https://sts.example:8443": "", "http://127.0.0.1:8081": "", "https://shim.example/t": "",
		"":                             "is required",
		"https://sts.example":          "is among the server's own paths",
		"https://sts.example/t":        "is among the server's own paths",
		"https://sts.example/t/acme":   "is among the server's own paths",
		"https://sts.example/admin/x":  "is among the server's own paths",
		"https://sts.example/":         "must have a path of a-z",
		"https://sts.example/shim/":    "must have a path of a-z",
		"https://sts.example/a//b":     "must have a path of a-z",
		"https://sts.example/%73him":   "must have a path of a-z",
		"https://sts.example/../shim":  "must have a path of a-z",
		"https://sts.example/Shim":     "must have a path of a-z",
		"https://sts.example/shim?x":   "must not hold a query",
		"https://sts.example:443/shim": "must not name the port",
		"http://shim.example":          "must be https",
		"https://SHIM.example":         "must have its scheme and host in lower case",
		"shim.example":                 "must be an absolute URL",
	} {
		err := strict.ShimURL(s, base)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.HasPrefix(got, want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}
