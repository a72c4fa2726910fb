package e2e_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
)

// TestTheReadmesStory does what "The same by hand" says, beside a real bursar dev.
func TestTheReadmesStory(t *testing.T) {
	section, _, _ := strings.Cut(after(t, readPage(t, "../README.md").text, "\n## The same by hand\n"), "\n## ")
	follow(t, section)
}

// TestTheStoryOfMCP does what the page about MCP says, beside a real bursar dev.
func TestTheStoryOfMCP(t *testing.T) {
	story, _, _ := strings.Cut(readPage(t, "../docs/mcp.md").text, "\n## ")
	follow(t, story, "--demo", "mcp")
}

// follow runs the shell blocks of a text in one shell, beside the bursar dev that the first one starts, and compares
// what they print with the block that follows each. In the documentation … stands for whatever was left out.
func follow(t *testing.T, story string, dev ...string) {
	t.Helper()
	all := fences(story)
	start := strings.Join(append([]string{"bursar dev"}, dev...), " ") + " --data /tmp/acme\n"
	if len(all) == 0 || !strings.Contains(all[0].text, start) {
		t.Fatalf("the story does not begin with %s", start)
	}
	here := harness.Dev(t, t.TempDir(), dev...).Here()
	var script strings.Builder
	var blocks, expected []string
	for _, f := range all[1:] {
		text := here.Replace(f.text)
		if f.lang == "sh" {
			script.WriteString(text + "printf '\\036'\n")
			blocks, expected = append(blocks, text), append(expected, "")
		} else if len(expected) > 0 {
			expected[len(expected)-1] = text
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	printed := strings.Split(string(out), "\x1e")
	for i, want := range expected {
		if i < len(printed)-1 && !pattern(want).MatchString(strings.TrimSpace(printed[i])) {
			t.Errorf("this block:\n%s\nprints:\n%s\nand not:\n%s", blocks[i], printed[i], want)
		}
	}
	if err != nil || len(printed) != len(expected)+1 {
		t.Errorf("block %d of %d: %v\n%s", len(printed), len(expected), err, printed[len(printed)-1])
	}
	if len(expected) < 6 {
		t.Errorf("the story has only %d blocks", len(expected))
	}
}

// pattern matches a text in which … stands for anything.
func pattern(text string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(strings.TrimSpace(text))
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(quoted, "…", ".*") + `$`)
}

// TestTenantFilesInTheDocumentation applies every complete tenant file to a real server, each as a tenant of its own.
func TestTenantFilesInTheDocumentation(t *testing.T) {
	demo, found := harness.Dev(t, t.TempDir()), 0
	for _, p := range readPages(t) {
		for _, f := range p.fences {
			if f.lang != "yaml" || !strings.HasPrefix(f.text, "apiVersion: bursar/v1\n") {
				continue
			}
			found++
			name := fmt.Sprintf("page-%d", found)
			text := strings.NewReplacer("\ntenant: acme\n", "\ntenant: "+name+"\n",
				"https://sts.example/shim/t/acme/", demo.Shim+"/t/"+name+"/").Replace(f.text)
			cmd := exec.Command(harness.Program(t), "apply", "--dry-run", "-f", "-", "--server", demo.Server,
				"--token-file", filepath.Join(demo.Dir, "admin.token"))
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "would be created") {
				t.Errorf("%s: %v\n%s\n%s", p.path, err, out, f.text)
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d tenant files were found", found)
	}
}

// TestLinksInTheDocumentation follows every relative link to its file and heading.
func TestLinksInTheDocumentation(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range readPages(t) {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := p.path
			if file != "" {
				target = filepath.Join(filepath.Dir(p.path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link %s: %v", p.path, m[1], err)
			} else if anchor != "" && !slices.Contains(readPage(t, target).anchors(), anchor) {
				t.Errorf("%s: link %s: there is no such heading", p.path, m[1])
			}
		}
	}
}

// TestRefusalsInTheDocumentation finds every code by which the shim refuses, with its status, in the page about it.
func TestRefusalsInTheDocumentation(t *testing.T) {
	page := readPage(t, "../docs/shim.md").text
	source := readFile(t, "../server/shim/problem.go")
	codes := regexp.MustCompile(`= surface\{(\d+), "(\w+)"`).FindAllStringSubmatch(source, -1)
	for _, m := range codes {
		if !strings.Contains(page, "\n| "+m[1]+" | `"+m[2]+"` |") {
			t.Errorf("docs/shim.md has no line for %s %s", m[1], m[2])
		}
	}
	rows := regexp.MustCompile(`(?m)^\| [45]\d\d \|`).FindAllString(page, -1)
	if len(rows) != len(codes) || len(codes) < 20 {
		t.Errorf("docs/shim.md has %d refusals, the shim %d", len(rows), len(codes))
	}
}

// TestPlacesInTheDocumentation looks up every file, folder and test of this repository that the documentation names.
func TestPlacesInTheDocumentation(t *testing.T) {
	place := regexp.MustCompile("`((?:server|storage|scopes|clients|cmd|e2e|web)(?:/[^`\\s]*)?|Test[A-Z]\\w+)`")
	tests, found := testNames(t), 0
	for _, p := range readPages(t) {
		for _, m := range place.FindAllStringSubmatch(p.prose, -1) {
			found++
			if strings.HasPrefix(m[1], "Test") {
				if !tests[m[1]] {
					t.Errorf("%s: there is no %s", p.path, m[1])
				}
			} else if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s: %v", p.path, err)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d places were found", found)
	}
}

// testNames are the names of the repository's tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCommandsInTheDocumentation looks up every bursar command and each of its flags in the program's own help.
func TestCommandsInTheDocumentation(t *testing.T) {
	shown := regexp.MustCompile("(?m)(?:^\\s*|[|;&(]\\s*)bursar +([^\n|;&)]*)")
	inline := regexp.MustCompile("`bursar +([^`]+)`")
	found := 0
	for _, p := range readPages(t) {
		all := inline.FindAllStringSubmatch(p.prose, -1)
		for _, f := range p.fences {
			if f.lang == "sh" || f.lang == "yaml" {
				all = append(all, shown.FindAllStringSubmatch(strings.ReplaceAll(f.text, "\\\n", " "), -1)...)
			}
		}
		for _, m := range all {
			found++
			if err := checkCommand(t, strings.Fields(m[1])); err != nil {
				t.Errorf("%s: bursar %s: %v", p.path, m[1], err)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands were found", found)
	}
}

// checkCommand reports what of a command line the program does not know.
func checkCommand(t *testing.T, words []string) error {
	var path []string
	help := helpOf(t, path)
	for len(words) > 0 && strings.Contains(help, "\nAvailable Commands:\n") && !strings.HasPrefix(words[0], "-") {
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(words[0]) + ` `).MatchString(help) {
			return fmt.Errorf("there is no command %s", words[0])
		}
		path, words = append(path, words[0]), words[1:]
		help = helpOf(t, path)
	}
	for _, word := range words {
		flag, _, _ := strings.Cut(word, "=")
		known := regexp.MustCompile(`(?m)^ +(-., )?` + regexp.QuoteMeta(flag) + `(,| |$)`)
		if strings.HasPrefix(word, "-") && word != "-" && !known.MatchString(help) {
			return fmt.Errorf("there is no flag %s", flag)
		}
	}
	return nil
}

var helps sync.Map // what the program's --help says, by command

func helpOf(t *testing.T, path []string) string {
	t.Helper()
	key := strings.Join(path, " ")
	if text, ok := helps.Load(key); ok {
		return text.(string)
	}
	out, err := exec.Command(harness.Program(t), append(slices.Clone(path), "--help")...).Output()
	if err != nil {
		t.Fatalf("bursar %s --help: %v", key, err)
	}
	helps.Store(key, string(out))
	return string(out)
}

// page is one file of the documentation.
type page struct {
	path, text string
	prose      string // without the fenced blocks
	fences     []fence
}

// fence is a fenced block.
type fence struct{ lang, text string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func fences(text string) []fence {
	var all []fence
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		all = append(all, fence{lang: m[1], text: m[2]})
	}
	return all
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := string(text)
	return page{path: path, text: all, fences: fences(all), prose: fenced.ReplaceAllString(all, "")}
}

// readPages reads the README and everything in docs.
func readPages(t *testing.T) []page {
	t.Helper()
	pages := []page{readPage(t, "../README.md")}
	err := filepath.WalkDir("../docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, readPage(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// anchors are the names by which links reach the headings.
func (p page) anchors() []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(p.prose, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func after(t *testing.T, text, mark string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, mark)
	if !ok {
		t.Fatalf("there is no %q", mark)
	}
	return rest
}
