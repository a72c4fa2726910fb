package admin_test

import (
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
)

// shown is what the tests look at of a key.
func shown(all []admin.LogKey) (states []string) {
	for _, k := range all {
		states = append(states, k.Use+" "+k.State)
	}
	return states
}

func logKeys(t *testing.T) func([]admin.LogKey, error) []admin.LogKey {
	return func(all []admin.LogKey, err error) []admin.LogKey {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
}

func TestTheKeysOfALogAreRotatedAndRevoked(t *testing.T) {
	for _, slug := range []string{"acme", ""} {
		t.Run("of "+slug, func(t *testing.T) {
			w := newWorld(t)
			w.apply("acme", file("acme", "bot"))
			op := w.root(slug)
			first := logKeys(t)(w.svc.LogKeys(t.Context(), op))
			if got := shown(first); !slices.Equal(got, []string{"event active", "checkpoint active"}) {
				t.Fatalf("at first %v", got)
			}
			w.pass(time.Hour)
			all := logKeys(t)(w.svc.RotateLogKeys(t.Context(), op))
			if got := shown(all); !slices.Equal(got, []string{"event active", "event retired", "checkpoint active",
				"checkpoint retired"}) || all[1].ID != first[0].ID || !all[3].Until.Equal(all[3].Since.Add(keys.Overlap)) {
				t.Fatalf("after a rotation %+v", all)
			}
			last := all[0].ID
			all = logKeys(t)(w.svc.RevokeLogKey(t.Context(), op, all[0].ID))
			again := logKeys(t)(w.svc.RevokeLogKey(t.Context(), op, last))
			if got := shown(all); !slices.Equal(got, []string{"event active", "event revoked", "event retired",
				"checkpoint active", "checkpoint retired"}) || all[1].ID != last || !slices.Equal(all, again) {
				t.Fatalf("after a revocation %v, after another %v", got, shown(again))
			}
			_, err := w.svc.RevokeLogKey(t.Context(), op, "unknown")
			wantKind(t, err, fault.NotFound)
			var did []audit.LogKey
			for _, e := range w.records(w.id(slug)) {
				if e.Name == audit.LogKeyEvent && e.Body.Operator.ID != "" {
					did = append(did, e.Body.LogKey)
				}
			}
			if slug == "acme" { // of the making; the platform's log made its own
				did = did[2:]
			}
			want := []audit.LogKey{
				{Use: "event", Action: "rotate", KeyID: last, Thumbprint: last, Replaces: first[0].ID},
				{Use: "checkpoint", Action: "rotate", KeyID: all[3].ID, Thumbprint: all[3].ID, Replaces: first[1].ID},
				{Use: "event", Action: "rotate", KeyID: all[0].ID, Thumbprint: all[0].ID, Replaces: last},
				{Use: "event", Action: "revoke", KeyID: last, Thumbprint: last},
			}
			if !slices.Equal(did, want) {
				t.Errorf("recorded %+v\nwant %+v", did, want)
			}
		})
	}
}
