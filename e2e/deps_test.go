package e2e_test

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run TestWhatTheProgramsLink -update .

var update = flag.Bool("update", false, "write docs/deps-*.txt")

// TestWhatTheProgramsLink holds docs/deps-*.txt, the packages of others that each program links, against the programs,
// so that a change shows what it brings. The one that holds keys and nothing else must stay small.
func TestWhatTheProgramsLink(t *testing.T) {
	for _, program := range []string{"bursar", "bursar-shim"} {
		linked, own := packages(t, program)
		path, list := "../docs/deps-"+program+".txt", strings.Join(linked, "\n")+"\n"
		if *update {
			if err := os.WriteFile(path, []byte(list), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if known, err := os.ReadFile(path); err != nil || string(known) != list {
			t.Errorf("%s is not what %s links (%v); go generate ./e2e writes it", path, program, err)
		}
		if program != "bursar-shim" {
			continue
		}
		if len(linked) > 160 {
			t.Errorf("bursar-shim links %d packages of others; 160 are allowed", len(linked))
		}
		for _, name := range []string{module + "web", module + "server/extauthz", module + "server/oauth",
			"github.com/ory/", "cel.dev/", "github.com/coreos/go-oidc", "google.golang.org/grpc",
			"github.com/envoyproxy/", "go.etcd.io/bbolt", "github.com/gorilla/mux"} {
			if slices.ContainsFunc(slices.Concat(linked, own), func(p string) bool { return strings.HasPrefix(p, name) }) {
				t.Errorf("bursar-shim links %s", name)
			}
		}
	}
}

// packages lists what a program links beside the standard library: of others, and of this module.
func packages(t *testing.T, program string) (others, own []string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .Module}}{{.ImportPath}}{{end}}",
		"../cmd/"+program)
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list the packages of %s: %v", program, err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(path, module) {
			own = append(own, path)
		} else {
			others = append(others, path)
		}
	}
	slices.Sort(others)
	return others, own
}
