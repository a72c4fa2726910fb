package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/cmd/internal/config"
)

// What docs/openbao.md says of bursar.yaml is accepted.
func TestTheExamplesOfOpenBaoAreAccepted(t *testing.T) {
	page, err := os.ReadFile("../../../docs/openbao.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("the page has %d examples", len(blocks))
	}
	for _, block := range blocks {
		text := least + string(block[1])
		if !strings.Contains(text, "master_key: ") {
			text += "master_key: env:X\n"
		}
		if c, found := config.Parse([]byte(text), "/srv"); len(found) > 0 || !c.Vault.OpenBao.Given() {
			t.Errorf("%s: %v", block[1], found)
		}
	}
}
