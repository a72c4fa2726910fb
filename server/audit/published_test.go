package audit_test

import (
	"testing"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/audit/audittest"
)

// written returns the claims as the log writes them.
func written(t *testing.T, e audit.Event) []byte {
	t.Helper()
	l := audit.New(audit.Config{Store: &memory{}, Master: master, Node: "r1"})
	if err := appendOnly(l, origin, e); err != nil {
		t.Fatal(err)
	}
	page, err := l.Read(t.Context(), origin.Tenant, 1, 1)
	if err != nil || len(page) != 1 {
		t.Fatal(page, err)
	}
	return page[0].Claims
}

// Whatever a kind can say is what its schema describes, and nothing else is.
func TestTheSchemasDescribeWhatIsWritten(t *testing.T) {
	seen := map[string]bool{}
	for what, e := range audit.Samples() {
		seen[e.Name] = true
		if err := audittest.Validate(written(t, e)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name := range seen {
		for what, e := range audit.Others(name) {
			if audittest.Validate(written(t, e)) == nil {
				t.Errorf("%s %s passes", name, what)
			}
		}
	}
}
