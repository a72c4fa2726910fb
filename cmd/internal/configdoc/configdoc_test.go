package configdoc_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/configdoc"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/tenant"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

const root = "../../.."

const head = `# Configuration

<!-- Generated from the comments of the Go types; to change it, change those and run:
go generate ./cmd/internal/configdoc -->

There are three kinds of files. ` + "`bursar.yaml`" + ` is the server's, and its operator writes it. A tenant file
describes one tenant: who it trusts, who its clients are, which tools they can call, and who may do what;
` + "`bursar apply`" + ` sends it to the server. ` + "`shim.yaml`" + ` is a standalone shim's
([operations.md](operations.md#a-shim-of-its-own)). All are strict: an unknown field is a mistake, and all mistakes of
a file are reported at once, except what may only follow from a value that could not be read. A file that is no YAML, or
names no tenant, has first to be mended in that.

Durations are written as in ` + "`90s`, `5m`, `24h`" + `. A field may be left out unless it says that it is required.
`

// document renders the whole of docs/configuration.md.
func document(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(head)
	for _, part := range []struct {
		title, example string
		root           configdoc.Type
	}{
		{"bursar.yaml", "bursar.yaml", configdoc.Type{Dir: "cmd/internal/config", Name: "Config"}},
		{"Tenant file", "tenant.yaml", configdoc.Type{Dir: "server/tenant", Name: "File"}},
		{"shim.yaml", "shim.yaml", configdoc.Type{Dir: "cmd/bursar-shim", Name: "Config"}},
	} {
		fields, err := configdoc.Fields(root, part.root)
		if err != nil {
			t.Fatal(err)
		}
		example, err := os.ReadFile(filepath.Join("testdata", part.example))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n## %s\n\n```yaml\n%s```\n\n%s", part.title, example, fields)
	}
	return b.Bytes()
}

func TestDocumentIsCurrent(t *testing.T) {
	path := filepath.Join(root, "docs", "configuration.md")
	want := document(t)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md is not what the types say; run: go generate ./cmd/internal/configdoc")
	}
}

func TestTheExamplesAreAccepted(t *testing.T) {
	data, err := os.ReadFile("testdata/bursar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, found := config.Parse(data, "/srv"); len(found) > 0 {
		t.Error(found)
	}
	if data, err = os.ReadFile("testdata/tenant.yaml"); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.ParseFile(data); err != nil {
		t.Error(err, fault.As(err).Problems)
	}
}

func TestEveryFieldOfThePlatformIsExplained(t *testing.T) {
	fields, err := configdoc.Fields(root, configdoc.Type{Dir: "cmd/internal/config", Name: "Config"})
	if err != nil {
		t.Fatal(err)
	}
	standalone, err := configdoc.Fields(root, configdoc.Type{Dir: "cmd/bursar-shim", Name: "Config"})
	if err != nil {
		t.Fatal(err)
	}
	fields += standalone
	for line := range strings.Lines(fields) {
		if strings.HasSuffix(strings.TrimSpace(line), ")") { // its form is the last that is said of it
			t.Errorf("no comment: %s", line)
		}
	}
	for _, want := range []string{"- `base_url` (text): The origin", "  - `private_cidrs` (list of address ranges): "} {
		if !strings.Contains(fields, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestUnknownTypesAreErrors(t *testing.T) {
	for _, typ := range []configdoc.Type{
		{Dir: "cmd/internal/config", Name: "Nothing"}, {Dir: "cmd/internal/nowhere", Name: "Config"},
		{Dir: "cmd/internal/config", Name: "Source"},
	} {
		if text, err := configdoc.Fields(root, typ); err == nil && text != "" {
			t.Errorf("%v documents as %q", typ, text)
		}
	}
}
