package keys_test

import (
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/keys"
)

// One thumbprint in 64 begins with a hyphen, which `bursar keys revoke` would take for a flag.
func TestNoKeyHasANameLikeAFlag(t *testing.T) {
	for range 200 {
		for _, row := range newStore(t, keys.ES256).rows {
			if row.Kind == keys.KindKey && strings.HasPrefix(row.ID, "-") {
				t.Fatalf("kid %s", row.ID)
			}
		}
	}
}
