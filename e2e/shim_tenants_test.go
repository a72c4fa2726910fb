package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/clients/operator"
)

// TestATenantReachesNothingOfAnother: acme's token, acme's administrator and acme's tools against globex.
func TestATenantReachesNothingOfAnother(t *testing.T) {
	eachShim(t, func(t *testing.T, w *shimWorld) {
		own := w.fresh(t, "acme", "legacy", "items.read")
		for _, path := range []string{"/shim/t/globex/legacy/v1/items/1",
			"/shim/t/acme/legacy/../../globex/legacy/v1/items/1"} {
			w.silent(t, path, func() {
				reply := w.ask(t, "GET "+path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nAuthorization: Bearer "+own+"\r\n\r\n")
				if reply.Status != 401 && reply.Status != 400 {
					t.Errorf("%s: %d", path, reply.Status)
				}
			})
		}
		admin := (&world{Server: w.Server}).operatorOf(t, "acme", operator.RoleAdmin)
		w.acmesAdministrator(t, w.tokenFile(t, admin.Token))
		// A tool of acme names a secret of globex: it has acme's, or none.
		file := w.tenant("acme", w.tool("acme", "reaching", w.up.URL, `{in: header, name: X-Api-Key, secret: only-globex}`,
			w.up.CA,
			rules))
		w.put(t, "globex/only-globex", globexKey, "header")
		w.Apply(t, file)
		w.silent(t, "a secret of another tenant", func() {
			problem(t, "a secret of another tenant", w.get(t, "reaching", "/v1/items/1"), 503, "credential_missing")
		})
		for _, name := range []string{"globex/only-globex", "../globex/only-globex", "only-globex@globex"} {
			if out, err := w.TryApply(t, strings.Replace(file, "secret: only-globex", "secret: \""+name+"\"", 1)); err == nil {
				t.Errorf("a tool may name %s: %s", name, out)
			}
		}
		// Both have a secret of the same name: each gets its own.
		for slug, key := range map[string]string{"acme": acmeKey, "globex": globexKey} {
			token := w.fresh(t, slug, "legacy", "items.read")
			text := strings.Replace(w.request(token, "legacy", "GET", "/v1/items/1", ""), "/t/acme/", "/t/"+slug+"/", 1)
			if reply := w.ask(t, text); reply.Status != 200 || !slices.Equal(w.sent(t, "X-Api-Key"), []string{key}) {
				t.Errorf("%s: %d %s", slug, reply.Status, reply.Body)
			}
		}
	})
}

// acmesAdministrator tries everything about secrets with a token of acme's administrator.
func (w *shimWorld) acmesAdministrator(t *testing.T, token string) {
	t.Helper()
	for _, args := range [][]string{{"list", "globex"}, {"put", "globex/legacy-key", "--host", w.up.URL, "--activate",
		"-"},
		{"put", "globex/new", "--host", w.up.URL, "-"}, {"activate", "globex/legacy-key"}, {"rollback", "globex/legacy-key"},
		{"disable", "globex/legacy-key"}, {"enable", "globex/legacy-key"}, {"destroy", "globex/legacy-key"},
		{"test", "globex/legacy-key"}, {"list", "nowhere"}} {
		out, err := w.BursarReading(t, acmeKey, append(append([]string{"secret"}, args...), "--token-file", token)...)
		if err == nil {
			t.Errorf("%v: done: %s", args, out)
		}
		if strings.Contains(out, globexKey) || strings.Contains(out, "fingerprint") {
			t.Errorf("%v: %s", args, out)
		}
	}
	out, err := w.Bursar(t, "secret", "list", "acme", "--token-file", token)
	if err != nil || !strings.Contains(out, "legacy-key") {
		t.Errorf("its own: %v\n%s", err, out)
	}
}
