// Package harness runs bursar as its users do: the real binary as a process of its own, on either store, with real
// issuer processes beside it, and nothing known of it but what it answers over HTTP.
package harness

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/storage/storagetest"
)

// Full reports whether the long forms of the tests were asked for (BURSAR_TEST=full).
func Full() bool { return storagetest.Full() }

// Main runs the tests of a package and removes what they shared. Call it from TestMain. More tests run at once than
// there are processors, because they wait for other processes most of the time; -parallel counts if it is greater.
func Main(m *testing.M) {
	// Oracles take answers apart in every encoding: garbage, of which this much may lie around.
	debug.SetMemoryLimit(2 << 30)
	flag.Parse()
	if n, _ := strconv.Atoi(flag.Lookup("test.parallel").Value.String()); n < parallel {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel)) // a flag that exists, and a number
	}
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // in the system's folder for such things anyway
	}
	os.Exit(code)
}

const parallel = 6

const module = "github.com/bursar-sts/bursar"

// shared are the programs, built once for all tests of the package.
var shared struct {
	once sync.Once
	dir  string
	err  error
}

func build() {
	if shared.dir, shared.err = os.MkdirTemp("", "bursar-e2e-"); shared.err != nil {
		return
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", shared.dir, module+"/cmd/bursar",
		module+"/cmd/bursar-shim", module+"/e2e/agent", module+"/e2e/issuer")
	if out, err := cmd.CombinedOutput(); err != nil {
		shared.err = fmt.Errorf("build the programs: %w\n%s", err, out)
	}
}

func binary(t testing.TB, name string) string {
	t.Helper()
	shared.once.Do(build)
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return filepath.Join(shared.dir, name)
}
