package baotest_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

const put, get, post, del = http.MethodPut, http.MethodGet, http.MethodPost, http.MethodDelete

// keys returns the names of an object's members, in order.
func keys(object any) string {
	members, _ := object.(map[string]any)
	return strings.Join(slices.Sorted(maps.Keys(members)), " ")
}

// expect asks, and fails the test unless the status is the one, and there are errors that say what is wanted.
func expect(t *testing.T, b *baotest.Bao, a baotest.Ask, status int, says ...string) baotest.Reply {
	t.Helper()
	r := b.Do(t, a)
	if r.Status != status || len(says) > 0 && fmt.Sprint(r.Errors()) != fmt.Sprint(says) {
		t.Fatalf("%s %s: %d %v, want %d %v", a.Method, a.Path, r.Status, r.Body, status, says)
	}
	return r
}

const (
	ofVersion  = "created_time custom_metadata deletion_time destroyed version"
	ofEnvelope = "auth data lease_duration lease_id renewable request_id warnings wrap_info"
)

// Every row of the table of what OpenBao answers about versions of a secret.
func TestVersionsAreKeptDeletedAndDestroyed(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "kv-v2")
		data := func(cas int, value string) any {
			return map[string]any{"options": map[string]any{"cas": cas}, "data": map[string]any{"value": value}}
		}
		r := expect(t, b, baotest.Ask{Method: post, Path: m + "/data/t/x", Body: data(0, "one")}, 200)
		if got := keys(r.Get("data")); got != ofVersion || r.Get("data", "version") != 1.0 {
			t.Errorf("put: %v", r.Body)
		}
		if got := keys(r.Body); !strings.Contains(got, ofEnvelope) {
			t.Errorf("the envelope has %s", got)
		}
		expect(t, b, baotest.Ask{Method: post, Path: m + "/data/t/x", Body: data(0, "two")}, 400,
			"check-and-set parameter did not match the current version")
		expect(t, b, baotest.Ask{Method: put, Path: m + "/data/t/x", Body: data(1, "two")}, 200)
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x?version=1"}, 200)
		if r.Get("data", "data", "value") != "one" || keys(r.Get("data", "metadata")) != ofVersion {
			t.Errorf("read: %v", r.Body)
		}
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x"}, 200)
		if r.Get("data", "data", "value") != "two" || r.Get("data", "metadata", "version") != 2.0 {
			t.Errorf("read: %v", r.Body)
		}
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/subkeys/t/x"}, 200)
		if value := r.Get("data", "subkeys", "value"); value != nil || keys(r.Get("data", "subkeys")) != "value" {
			t.Errorf("subkeys: %v", r.Body)
		}
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/metadata/t/x"}, 200)
		if r.Get("data", "current_version") != 2.0 || r.Get("data", "max_versions") != 0.0 ||
			keys(r.Get("data", "versions")) != "1 2" {
			t.Errorf("metadata: %v", r.Body)
		}
		expect(t, b, baotest.Ask{Method: del, Path: m + "/data/t/x"}, 204)
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x"}, 404)
		if r.Get("data", "data") != nil || r.Get("data", "metadata", "deletion_time") == "" ||
			r.Get("data", "metadata", "destroyed") != false {
			t.Errorf("deleted: %v", r.Body)
		}
		expect(t, b, baotest.Ask{Method: post, Path: m + "/undelete/t/x", Body: map[string]any{"versions": []int{2}}}, 204)
		expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x"}, 200)
		expect(t, b, baotest.Ask{Method: put, Path: m + "/destroy/t/x", Body: map[string]any{"versions": []int{2}}}, 204)
		r = expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x?version=2"}, 404)
		if r.Get("data", "data") != nil || r.Get("data", "metadata", "destroyed") != true {
			t.Errorf("destroyed: %v", r.Body)
		}
		expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/x?version=1"}, 200)
		r = expect(t, b, baotest.Ask{Method: "LIST", Path: m + "/metadata/t"}, 200)
		if got := fmt.Sprint(r.Get("data", "keys")); got != "[x]" {
			t.Errorf("list: %s", got)
		}
		for path, method := range map[string]string{"/data/nothing": get, "/metadata/no": "LIST"} {
			r := expect(t, b, baotest.Ask{Method: method, Path: m + path}, 404)
			if r.Errors() == nil || len(r.Errors()) != 0 {
				t.Errorf("%s: %v", path, r.Body)
			}
		}
		expect(t, b, baotest.Ask{Method: http.MethodPatch, Path: m + "/data/t/y",
			Type: "application/merge-patch+json", Body: data(0, "x")}, 404)
		expect(t, b, baotest.Ask{Method: post, Path: m + "/data/t/y", Body: data(0, "x")}, 200)
		r = expect(t, b, baotest.Ask{Method: http.MethodPatch, Path: m + "/data/t/y",
			Type: "application/merge-patch+json", Body: data(1, "z")}, 200)
		if r.Get("data", "version") != 2.0 {
			t.Errorf("patch: %v", r.Body)
		}
	})
}

// A secret keeps ten versions: what is older is gone.
func TestTheOldestVersionsAreDropped(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "kv-v2")
		for i := range 12 {
			b.Must(t, post, m+"/data/x", map[string]any{"data": map[string]any{"n": fmt.Sprint(i)}})
		}
		expect(t, b, baotest.Ask{Method: get, Path: m + "/data/x?version=2"}, 404)
		expect(t, b, baotest.Ask{Method: get, Path: m + "/data/x?version=3"}, 200)
		if r := b.Must(t, get, m+"/metadata/x", nil); r.Get("data", "oldest_version") != 3.0 {
			t.Errorf("metadata: %v", r.Body)
		}
	})
}

// What a client must not fall for: a path that is not clean leads to another path.
func TestAPathThatIsNotCleanIsRedirected(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "kv-v2")
		r := expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/acme/../globex/x"}, 307)
		if r.Location != "/v1/"+m+"/data/t/globex/x" {
			t.Errorf("it leads to %s", r.Location)
		}
		expect(t, b, baotest.Ask{Method: get, Path: m + "/data/t/acme%2f..%2fglobex/x"}, 400,
			"relative paths not supported")
	})
}

func TestWhoMayNotIsRefused(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "kv-v2")
		body := map[string]any{"data": map[string]any{"value": "x"}}
		writer := b.Holder(t, fmt.Sprintf(`
# may write and not read
path "%[1]s/data/bursar/acme/*" { capabilities = ["create"] }
path "%[1]s/metadata/bursar/acme/*" { capabilities = ["read", "list"] }
path "%[1]s/data/bursar/+/shared" { capabilities = ["read"] }
`, m), "1h")
		as := func(method, path string, body any, status int) {
			t.Helper()
			expect(t, b, baotest.Ask{Method: method, Path: m + path, Body: body, Token: writer}, status)
		}
		as(post, "/data/bursar/acme/x", body, 200)
		as(post, "/data/bursar/acme/x", body, 403) // it exists now, and that would be an update
		as(get, "/data/bursar/acme/x", nil, 403)
		as(get, "/metadata/bursar/acme/x", nil, 200)
		as("LIST", "/metadata/bursar/acme/", nil, 200)
		as(del, "/data/bursar/acme/x", nil, 403)
		as(post, "/data/bursar/globex/x", body, 403)
		as(post, "/data/bursar/acme", body, 403)
		as(get, "/data/bursar/globex/shared", nil, 404)
		as(get, "/subkeys/bursar/acme/x", nil, 403)
		for _, token := range []string{"s.wrong", "-"} {
			expect(t, b, baotest.Ask{Method: get, Path: m + "/data/x", Token: token}, 403, "permission denied")
		}
		r := expect(t, b, baotest.Ask{Method: get, Path: "nomount/data/x"}, 404)
		if got := fmt.Sprint(r.Errors()); !strings.Contains(got, "no handler for route") {
			t.Errorf("no mount: %s", got)
		}
	})
}

func TestTokensAreRenewedAndRevoked(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		token := b.Holder(t, `path "secret/data/none" { capabilities = ["read"] }`, "1h")
		r := expect(t, b, baotest.Ask{Method: get, Path: "auth/token/lookup-self", Token: token}, 200)
		if r.Get("data", "renewable") != true || r.Get("data", "ttl").(float64) < 3590 {
			t.Errorf("lookup: %v", r.Body)
		}
		r = expect(t, b, baotest.Ask{Method: put, Path: "auth/token/renew-self", Token: token}, 200)
		if r.Get("auth", "client_token") != token || r.Get("auth", "lease_duration").(float64) < 3590 {
			t.Errorf("renew: %v", r.Body)
		}
		expect(t, b, baotest.Ask{Method: put, Path: "auth/token/revoke-self", Token: token}, 204)
		expect(t, b, baotest.Ask{Method: get, Path: "auth/token/lookup-self", Token: token}, 403)
		if b.Fake != nil {
			token = b.Holder(t, `path "secret/data/none" { capabilities = ["read"] }`, "1h")
			b.Fake.Advance(3601e9)
			expect(t, b, baotest.Ask{Method: get, Path: "auth/token/lookup-self", Token: token}, 403)
		}
	})
}

func TestTransitSealsUnderEachVersion(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "transit")
		seal := map[string]any{"plaintext": "c2VjcmV0", "associated_data": "YWFk"}
		expect(t, b, baotest.Ask{Method: get, Path: m + "/keys/k"}, 404)
		expect(t, b, baotest.Ask{Method: post, Path: m + "/decrypt/k", Body: map[string]any{"ciphertext": "vault:v1:AAAA"}},
			400, "encryption key not found")
		b.Must(t, post, m+"/keys/k", nil)
		r := b.Must(t, get, m+"/keys/k", nil)
		if r.Get("data", "type") != "aes256-gcm96" || r.Get("data", "latest_version") != 1.0 ||
			r.Get("data", "derived") != false || r.Get("data", "supports_encryption") != true {
			t.Errorf("key: %v", r.Body)
		}
		first, _ := b.Must(t, post, m+"/encrypt/k", seal).Get("data", "ciphertext").(string)
		b.Must(t, post, m+"/keys/k/rotate", nil)
		second, _ := b.Must(t, post, m+"/encrypt/k", seal).Get("data", "ciphertext").(string)
		if !strings.HasPrefix(first, "vault:v1:") || !strings.HasPrefix(second, "vault:v2:") {
			t.Errorf("%s, then %s", first, second)
		}
		for _, text := range []string{first, second} {
			open := map[string]any{"ciphertext": text, "associated_data": "YWFk"}
			if r := b.Must(t, post, m+"/decrypt/k", open); r.Get("data", "plaintext") != "c2VjcmV0" {
				t.Errorf("decrypt: %v", r.Body)
			}
			open["associated_data"] = "b3RoZXI="
			expect(t, b, baotest.Ask{Method: post, Path: m + "/decrypt/k", Body: open}, 400,
				"cipher: message authentication failed")
		}
		b.Must(t, post, m+"/keys/k/config", map[string]any{"min_decryption_version": 2})
		open := map[string]any{"ciphertext": first, "associated_data": "YWFk"}
		expect(t, b, baotest.Ask{Method: post, Path: m + "/decrypt/k", Body: open}, 400,
			"ciphertext or signature version is disallowed by policy (too old)")
	})
}

// What is in a namespace is reached with its name, in the header or in the path, and not without it.
func TestNamespacesAreApart(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		ns := b.Mount(t, "kv-v2") + "ns" // a name that nothing has
		b.Must(t, put, "sys/namespaces/"+ns, nil)
		b.MustIn(t, ns, post, "sys/mounts/kv", map[string]any{"type": "kv-v2"})
		b.MustIn(t, ns, post, "kv/data/x", map[string]any{"data": map[string]any{"value": "inside"}})
		if r := b.Must(t, get, ns+"/kv/data/x", nil); r.Get("data", "data", "value") != "inside" {
			t.Errorf("by path: %v", r.Body)
		}
		expect(t, b, baotest.Ask{Method: get, Path: "kv/data/x"}, 404)
		expect(t, b, baotest.Ask{Method: get, Path: "kv/data/x", Namespace: "no-such-one"}, 404,
			"namespace not found")
		inside := b.Holder(t, `path "`+ns+`/kv/data/*" { capabilities = ["read"] }`, "1h")
		expect(t, b, baotest.Ask{Method: get, Path: "kv/data/x", Namespace: ns, Token: inside}, 200)
		expect(t, b, baotest.Ask{Method: get, Path: "kv/data/x", Namespace: ns,
			Token: b.Holder(t, `path "kv/data/*" { capabilities = ["read"] }`, "1h")}, 403)
	})
}

func TestASealedServerAnswersNothing(t *testing.T) {
	s := baotest.Start(t)
	b := &baotest.Bao{URL: s.URL, Token: s.Root, Fake: s}
	expect(t, b, baotest.Ask{Method: put, Path: "sys/seal"}, 204)
	expect(t, b, baotest.Ask{Method: get, Path: "secret/data/x"}, 503, "Vault is sealed")
	if r := expect(t, b, baotest.Ask{Method: get, Path: "sys/health"}, 503); r.Body["sealed"] != true {
		t.Errorf("health: %v", r.Body)
	}
	s.Seal(false)
	if r := expect(t, b, baotest.Ask{Method: get, Path: "sys/health"}, 200); r.Body["sealed"] != false {
		t.Errorf("health: %v", r.Body)
	}
}

func TestTheKindOfAMountIsTold(t *testing.T) {
	baotest.Each(t, func(t *testing.T, b *baotest.Bao) {
		m := b.Mount(t, "kv-v2")
		r := b.Must(t, get, "sys/internal/ui/mounts/"+m, nil)
		if r.Get("data", "type") != "kv" || r.Get("data", "options", "version") != "2" || r.Get("data", "path") != m+"/" {
			t.Errorf("%v", r.Body)
		}
	})
}
