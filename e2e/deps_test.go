package e2e_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run TestTheDependenciesAreListed -update .

var update = flag.Bool("update", false, "write docs/deps-*.txt")

// dependencies returns the packages that a program for Linux is made of: ours, and those of others.
func dependencies(t *testing.T, program string) (ours, others []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"cmd/"+program)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if own, is := strings.CutPrefix(name, module); is {
			ours = append(ours, own)
		} else {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return ours, others
}

// TestTheDependenciesAreListed: whoever adds a dependency sees in docs/deps-*.txt what comes with it.
func TestTheDependenciesAreListed(t *testing.T) {
	for _, program := range []string{"bursar", "bursar-shim"} {
		path := filepath.Join("..", "docs", "deps-"+program+".txt")
		_, others := dependencies(t, program)
		want := strings.Join(others, "\n") + "\n"
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what %s is made of; run: go generate ./e2e (%v)", path, program, err)
		}
	}
}

// TestTheStandaloneShimIsSmall: it has keys in memory and speaks to upstreams, so that little else is in it.
func TestTheStandaloneShimIsSmall(t *testing.T) {
	ours, others := dependencies(t, "bursar-shim")
	const most = 160
	if len(others) > most {
		t.Errorf("it has %d packages of others; %d is the most", len(others), most)
	}
	for _, name := range others {
		for _, heavy := range []string{"github.com/ory/", "github.com/google/cel-go", "github.com/coreos/go-oidc",
			"google.golang.org/grpc", "go.opentelemetry.io", "go.etcd.io", "github.com/envoyproxy/", "cel.dev/"} {
			if strings.HasPrefix(name, heavy) {
				t.Errorf("it has %s", name)
			}
		}
	}
	for _, room := range strings.Fields("web server server/admin server/adminapi server/exchange server/oauth " +
		"server/tenant server/tree server/identity server/logapi storage/bolt clients scopes/policy cmd/internal/config") {
		if slices.Contains(ours, room) {
			t.Errorf("it has our %s", room)
		}
	}
}
