package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// attackRows is how many rows each part of the list has.
var attackRows = map[string]int{"A": 15, "B": 12, "C": 10, "D": 11, "E": 11, "F": 9}

// TestEachAttackHasItsTest holds docs/attacks.md against the sources: it has every row of the list once, each row has a
// test here, and every test that it names exists.
func TestEachAttackHasItsTest(t *testing.T) {
	tests := testsIn(t, ".")
	found := map[string]bool{}
	name := regexp.MustCompile("`([^`]*)`")
	for line := range strings.Lines(readPage(t, "../docs/attacks.md").text) {
		cells := strings.SplitN(line, " |", 4) // of which the last has what is left
		if len(cells) != 4 || !regexp.MustCompile(`^\| [A-F][0-9]+$`).MatchString(cells[0]) {
			continue
		}
		id := strings.TrimPrefix(cells[0], "| ")
		if found[id] {
			t.Errorf("%s has two rows", id)
		}
		found[id] = true
		if m := name.FindStringSubmatch(cells[2]); m == nil || !strings.HasSuffix(m[1], "/"+id) || !tests[m[1]] {
			t.Errorf("%s: there is no test %s", id, cells[2])
		}
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			room, test, elsewhere := strings.Cut(m[1], " ")
			if !elsewhere && !tests[m[1]] || elsewhere && !testsIn(t, filepath.Join("..", room))[test] {
				t.Errorf("%s: there is no test %s", id, m[1])
			}
		}
	}
	for part, n := range attackRows {
		for i := range n {
			if id := fmt.Sprintf("%s%d", part, i+1); !found[id] {
				t.Errorf("docs/attacks.md has no row %s", id)
			}
		}
	}
	for test := range tests {
		if _, id, is := strings.Cut(test, "/"); is && !found[id] {
			t.Errorf("docs/attacks.md does not have %s", test)
		}
	}
}

// testsIn returns the tests of a folder, and those of rows of the list as Test/row.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", dir, err)
	}
	tests := map[string]bool{}
	line := regexp.MustCompile(`(?m)^func (Test\w+)\(|^\t+against\(t, "([A-F][0-9]+)", `)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		within := ""
		for _, m := range line.FindAllStringSubmatch(string(source), -1) {
			if m[1] != "" {
				within = m[1]
				tests[within] = true
			} else {
				tests[within+"/"+m[2]] = true
			}
		}
	}
	return tests
}
