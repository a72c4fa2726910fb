package tools_test

import (
	"encoding/json"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/server/tools"
)

// TestThePageAboutTheShimIsTrue holds docs/shim.md against the code: its example is accepted, and it names exactly the
// headers that are passed on and the kinds of injection.
func TestThePageAboutTheShimIsTrue(t *testing.T) {
	data, err := os.ReadFile("../../docs/shim.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	between := func(from, to string) string {
		_, rest, begins := strings.Cut(page, from)
		part, _, ends := strings.Cut(rest, to)
		if !begins || !ends {
			t.Fatalf("the page has nothing between %q and %q", from, to)
		}
		return part
	}
	var example map[string]any
	if err := yaml.Unmarshal([]byte(between("```yaml\n", "```")), &example); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(example["tools"])
	if err != nil {
		t.Fatal(err)
	}
	var all []tools.Tool
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 1 {
		t.Fatalf("the example has %d tools: %v", len(all), err)
	}
	if found := mistakes(all[0]); len(found) > 0 {
		t.Errorf("the example has mistakes: %q", found)
	}
	match(t, open(t, all[0]), "GET", "/v1/refunds/7")

	quoted := regexp.MustCompile("`([^`]+)`")
	var headers []string
	for _, m := range quoted.FindAllStringSubmatch(between("Of the request headers: ", "and what `headers` lists"), -1) {
		headers = append(headers, textproto.CanonicalMIMEHeaderKey(m[1]))
	}
	if slices.Sort(headers); !slices.Equal(headers, tools.Passed()) {
		t.Errorf("the page says that %q are passed on, and it is %q", headers, tools.Passed())
	}
	var kinds []tools.Kind
	for line := range strings.Lines(between("## Where a secret is put\n", "There can be several")) {
		if m := quoted.FindStringSubmatch(strings.SplitN(line+"||", "|", 3)[1]); m != nil && m[1] != "in" {
			kinds = append(kinds, tools.Kind(m[1]))
		}
	}
	if !slices.Equal(kinds, tools.Kinds()) {
		t.Errorf("the page has the kinds %q, and there are %q", kinds, tools.Kinds())
	}
}
