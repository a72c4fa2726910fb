package e2e_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/bursar-sts/bursar/"

// rooms lists every package and the packages of ours that it may import. A package that is not listed fails the test,
// and so does an import that nobody uses any more: a new room, and every door between rooms, is a decision. "*" opens
// every door.
var rooms = map[string]string{
	// vocabulary
	"scopes":         "",
	"server/fault":   "",
	"server/ledger":  "",
	"server/dial":    "",
	"server/limit":   "server/fault server/ledger",
	"server/peer":    "",
	"server/scrub":   "",
	"server/current": "",
	// formats and libraries, for people outside
	"clients/token":    "scopes",
	"clients/operator": "scopes clients/auditor",
	"clients/auditor":  "",
	"docs/events":      "",
	// organs
	"scopes/policy":  "scopes",
	"clients":        "scopes clients/token server/fault server/ledger",
	"server/memory":  "server/ledger",
	"server/keys":    "clients/auditor clients/token server/ledger",
	"server/vault":   "scopes server/fault server/keys server/ledger server/tools",
	"server/audit":   "clients/auditor server/fault server/keys server/ledger",
	"server/revoke":  "scopes clients/token server/ledger",
	"server/deliver": "server/fault server/ledger",
	"server/witness": "clients/auditor server/audit server/ledger",
	"server/tree":    "clients/auditor server/audit server/fault server/keys server/ledger",
	"server/retain":  "clients/auditor server/audit server/fault server/ledger",
	"server/identity": "scopes clients/token " +
		"server/dial server/fault server/ledger server/memory",
	"server/tools": "scopes clients/token server/fault server/keys server/limit",
	"server/tenant": "scopes scopes/policy clients clients/token " +
		"server/audit server/current server/fault server/identity server/keys server/ledger server/revoke " +
		"server/tools server/vault",
	"server/exchange": "scopes scopes/policy clients clients/token " +
		"server/audit server/fault server/identity server/ledger server/limit server/memory server/revoke server/tenant " +
		"server/tools",
	"server/backup": "clients/auditor server/fault server/ledger",
	"server/admin": "scopes scopes/policy clients clients/token " +
		"server/audit server/backup server/exchange server/fault server/keys server/ledger server/limit server/revoke " +
		"server/tenant server/tools server/vault",
	"server/outpost": "clients/token server/audit server/current server/fault server/keys server/ledger " +
		"server/revoke server/shim server/tools server/vault",
	// surfaces
	"server/decide":   "scopes server/audit server/fault server/peer server/shim",
	"server/extauthz": "server/decide server/fault server/shim",
	"server/oauth":    "clients server/exchange server/fault server/peer",
	"server/front":    "clients/operator server/admin server/fault server/peer",
	"server/adminapi": "clients clients/auditor clients/operator clients/token " +
		"server/admin server/audit server/exchange server/fault server/front server/ledger server/tenant " +
		"server/vault",
	"server/logapi": "clients/auditor clients/operator " +
		"server/admin server/audit server/fault server/front server/ledger",
	"server/inject": "server/dial server/fault server/ledger server/tools server/vault",
	"server/shim": "clients/token scopes server/audit server/dial server/fault server/inject server/ledger server/limit " +
		"server/memory server/peer server/revoke server/scrub server/tools server/vault",
	"web": "",
	"server": "clients server/audit server/exchange server/fault server/keys server/ledger server/oauth server/shim " +
		"server/tenant web",
	// adapters
	"storage/internal/accept": "server/ledger",
	"storage/bolt":            "server/fault server/ledger server/limit storage/internal/accept",
	"storage/redis":           "server/fault server/ledger server/limit storage/internal/accept",
	"storage":                 "server/ledger server/limit storage/bolt storage/redis",
	"storage/storagetest":     "server/fault server/ledger server/limit storage",
	"storage/openbao":         "scopes server/fault server/keys server/ledger",
	"storage/openbao/baotest": "",  // for tests only
	"server/servertest":       "*", // for tests only
	"server/audit/audittest":  "docs/events server/audit server/ledger",
	// programs
	"cmd/bursar":                   "*",
	"cmd/bursar-shim":              "*",
	"cmd/demoissuer":               "",
	"cmd/demolegacy":               "",
	"cmd/internal/attack":          "cmd/internal/attack/forge cmd/internal/attack/findings",
	"cmd/internal/attack/forge":    "",
	"cmd/internal/attack/findings": "",
	"cmd/internal/bao":             "cmd/internal/strict scopes storage/openbao",
	"cmd/internal/config": "clients/auditor cmd/internal/bao cmd/internal/strict scopes server/admin server/keys " +
		"server/limit storage/openbao",
	"cmd/internal/configdoc":     "",
	"cmd/internal/coredump":      "",
	"cmd/internal/custody":       "cmd/internal/config server/keys server/ledger server/vault storage/openbao",
	"cmd/internal/envelope":      "cmd/internal/strict",
	"cmd/internal/build":         "",
	"cmd/internal/metric":        "server/audit server/limit",
	"cmd/internal/port":          "cmd/internal/strict server/decide",
	"cmd/internal/port/porttest": "cmd/internal/strict",
	"cmd/internal/restore": "cmd/internal/config cmd/internal/custody cmd/internal/envelope " +
		"server/audit server/backup server/keys server/ledger server/tenant storage",
	"cmd/internal/serve":     "*",
	"cmd/internal/strict":    "scopes",
	"cmd/internal/shimstats": "server/decide server/shim",
	"cmd/internal/telemetry": "server server/audit server/deliver server/exchange",
	// the house seen from the street
	"e2e":                  "clients/operator clients/token",
	"e2e/harness":          "clients/auditor clients/operator server/audit/audittest storage/storagetest",
	"e2e/harness/leak":     "",
	"e2e/harness/names":    "",
	"e2e/harness/raw":      "",
	"e2e/harness/upstream": "",
	"e2e/agent":            "",
	"e2e/issuer":           "cmd/demoissuer",
	"e2e/bench":            "clients/operator",
	"e2e/bench/plain":      "",
}

// heavy third parties, and the one room that may import each.
var heavy = map[string]string{
	"github.com/ory/":           "server/oauth",
	"github.com/gorilla/mux":    "server",
	"github.com/redis/":         "storage/redis",
	"go.etcd.io/bbolt":          "storage/bolt",
	"github.com/openbao/":       "storage/openbao",
	"filippo.io/age":            "cmd/internal/envelope",
	"github.com/coreos/go-oidc": "server/identity",
	"cel.dev/":                  "scopes/policy",
	"github.com/spf13/cobra":    "cmd/bursar",
	"go.opentelemetry.io/":      "cmd/internal/telemetry",
	"github.com/aws/":           "server/inject",
	"google.golang.org/grpc":    "server/extauthz",
	"github.com/envoyproxy/":    "server/extauthz",
	// of the tests
	"github.com/santhosh-tekuri/": "server/audit/audittest",
}

// noHTTP are the rooms that must not know net/http: what they decide does not depend on how it is asked.
var noHTTP = strings.Fields("scopes scopes/policy clients clients/auditor clients/token " +
	"server/admin server/audit server/current server/dial server/exchange server/fault server/keys server/ledger " +
	"server/limit server/revoke server/tenant server/tools server/vault storage storage/bolt storage/redis")

// TestTheHouse holds every source file against the rules. It parses the files in this process, so that the test cache
// sees a change of any of them.
func TestTheHouse(t *testing.T) {
	used := map[string][]string{} // by room, the packages of ours that it imports
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".") && name != ".."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		room, err := filepath.Rel("..", filepath.Dir(file))
		if err != nil {
			return err
		}
		room = filepath.ToSlash(room)
		used[room] = append(used[room], checkImports(t, room, file)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room, allowed := range rooms {
		if room == "e2e" { // it has tests alone
			continue
		}
		if _, seen := used[room]; !seen {
			t.Errorf("%s is in the table and has no source file", room)
		}
		for _, door := range strings.Fields(allowed) {
			if door != "*" && !slices.Contains(used[room], door) {
				t.Errorf("%s may import %s, and does not", room, door)
			}
		}
	}
}

// checkImports holds one file against the rules, and returns the packages of ours that it imports.
func checkImports(t *testing.T, room, file string) (used []string) {
	t.Helper()
	allowed, listed := rooms[room]
	if !listed {
		t.Errorf("%s: room %s is not in the table of rooms", file, room)
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if ours, ok := strings.CutPrefix(imported, module); ok {
			used = append(used, ours)
			if allowed != "*" && !slices.Contains(strings.Fields(allowed), ours) {
				t.Errorf("%s: %s may not import %s", file, room, ours)
			}
		}
		if imported == "net/http" && slices.Contains(noHTTP, room) {
			t.Errorf("%s: %s must not know net/http", file, room)
		}
		for prefix, owner := range heavy {
			if strings.HasPrefix(imported, prefix) && room != owner {
				t.Errorf("%s: only %s may import %s", file, owner, imported)
			}
		}
	}
	return used
}

// TestTopLevel holds the folders of the repository against the plan.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields("cmd server storage scopes clients web e2e docs dist")
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(known, e.Name()) {
			t.Errorf("folder %s is not part of the house", e.Name())
		}
	}
}
