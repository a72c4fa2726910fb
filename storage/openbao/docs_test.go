package openbao_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/storage/openbao"
)

// policies returns the policies that docs/openbao.md has, by the names of their files, for other mounts than those of
// the page.
func policies(t *testing.T, kv, transit string) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/openbao.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```hcl\n# ([a-z-]+)\\.hcl: [^\n]*\n(.*?)```").FindAllSubmatch(page, -1) {
		all[string(block[1])] = strings.NewReplacer(`"secret/`, `"`+kv+`/`, `"transit/`, `"`+transit+`/`).
			Replace(string(block[2]))
	}
	return all
}

// The policies of the page allow what they are for, and nothing else that a Backend can ask for.
func TestThePoliciesOfThePageAreEnough(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		k := w.transit()
		all := policies(t, w.mount, k.Mount)
		as := func(name, slug string) *openbao.Backend {
			t.Helper()
			if all[name] == "" {
				t.Fatalf("the page has no policy %s", name)
			}
			return w.backend(w.client(w.Holder(t, all[name], "1h")), slug, 0)
		}
		may := func(name, slug string) (rights string) {
			t.Helper()
			b, ctx := as(name, slug), t.Context()
			there := w.backend(w.client(w.Token), slug, 0)
			ref, err := there.Put(ctx, tenants[slug], "payments-key", fields)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Put(ctx, tenants[slug], "payments-key", fields); err == nil {
				rights += "put "
			}
			if _, err := b.Get(ctx, tenants[slug], ref); err == nil {
				rights += "get "
			}
			if b.Destroy(ctx, tenants[slug], ref) == nil {
				rights += "destroy"
			}
			return strings.TrimSpace(rights)
		}
		for _, c := range []struct{ policy, slug, want string }{
			{"bursar-put", "acme", "put destroy"}, {"bursar-serve", "acme", "put get destroy"},
			{"bursar-serve", "globex", "put get destroy"}, {"bursar-shim-acme", "acme", "get"},
			{"bursar-shim-acme", "globex", ""}, {"bursar-transit", "acme", ""},
		} {
			if got := may(c.policy, c.slug); got != c.want {
				t.Errorf("%s may do with the values of %s: %s, want %s", c.policy, c.slug, got, c.want)
			}
		}
		if _, err := w.client(w.Holder(t, all["bursar-transit"], "1h")).Master(t.Context(), k); err != nil {
			t.Error(err)
		}
		absent := openbao.TransitKey{Mount: k.Mount, Name: "absent"}
		_, err := w.client(w.Holder(t, strings.ReplaceAll(all["bursar-transit"], "/bursar", "/absent"), "1h")).
			Master(t.Context(), absent)
		if err == nil || !strings.Contains(err.Error(), "there is no transit key") {
			t.Errorf("without the key: %v", err)
		}
		if r := w.Must(t, http.MethodGet, k.Mount+"/keys/bursar", nil); r.Get("data", "latest_version") != 1.0 {
			t.Errorf("the key: %v", r.Body)
		}
	})
}
