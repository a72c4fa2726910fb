package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/limit"
)

const whole = `
listen: 0.0.0.0:8443
url: https://shim.example
base_url: https://sts.example
ca: ca.pem
store: redis-cluster://shim-a@redis-0.example:6379,redis-1.example:6379
store_password: credential:redis
volatile_store: accept
replicate_calls: true
shim_key: file:shim.key
openbao:
  address: https://bao.example:8200
  ca: bao.pem
  auth: {jwt: {role: shim, token_file: /run/bao.jwt}}
  max_staleness: 5s
tls: {cert: tls.crt, key: /etc/shim/tls.key}
metrics: {listen: ":9091"}
decide: {listen: "unix:decide.sock"}
trusted_proxies: [10.1.0.0/24]
limits: {address: 100/s, tenant: off}
tenants:
  acme: {private_cidrs: [10.2.0.0/16, "fd00:1::/32"]}
`

func TestEveryFieldIsRead(t *testing.T) {
	c, r := parse([]byte(whole), "/srv")
	if found := r.Mistakes(); len(found) > 0 {
		t.Fatal(found)
	}
	value := reflect.ValueOf(*c)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Errorf("%s is not read, or not in the test", value.Type().Field(i).Name)
		}
	}
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"ca is relative to the file", c.CA, "/srv/ca.pem"},
		{"store_password", c.StorePassword, strict.Source{Kind: strict.SourceCredential, Name: "redis"}},
		{"shim_key is relative to the file", c.ShimKey, strict.Source{Kind: strict.SourceFile, Name: "/srv/shim.key"}},
		{"openbao.ca is relative to the file", c.OpenBao.CA, "/srv/bao.pem"},
		{"openbao.max_staleness", c.OpenBao.MaxStaleness, 5 * time.Second},
		{"tls is relative to the file", c.TLS, strict.TLS{Cert: "/srv/tls.crt", Key: "/etc/shim/tls.key"}},
		{"decide is relative to the file", c.Decide.Listen, "unix:/srv/decide.sock"},
		{"trusted_proxies", c.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}},
		{"limits", c.Limits, Limits{Address: limit.Rate{Count: 100, Per: time.Second}, Tenant: limit.Rate{Off: true}}},
		{"private_cidrs", fmt.Sprint(c.Tenants["acme"].PrivateCIDRs), "[10.2.0.0/16 fd00:1::/32]"},
	} {
		if !reflect.DeepEqual(row.got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, row.got, row.want)
		}
	}
}

const least = `listen: 127.0.0.1:8081
url: http://127.0.0.1:8081
base_url: http://127.0.0.1:8080
store: redis://shim-a@127.0.0.1:6379
shim_key: file:shim.key
`

func TestEveryMistakeIsFound(t *testing.T) {
	for _, row := range []struct{ old, new, want string }{
		{"listen: 127.0.0.1:8081\n", "", "listen: is required"},
		{"listen: 127.0.0.1:8081\n", "listen: 0.0.0.0:8081\n", "listen: "},
		{"url: http://127.0.0.1:8081\n", "", "url: is required"},
		{"url: http://127.0.0.1:8081\n", "url: http://127.0.0.1:8081/\n", "url: "},
		{"url: http://127.0.0.1:8081\n", "url: http://127.0.0.1:8080/t/shim\n", "url: is among the server's own paths"},
		{"base_url: http://127.0.0.1:8080\n", "", "base_url: is required"},
		{"base_url: http://127.0.0.1:8080\n", "base_url: http://sts.example\n", "base_url: "},
		{"store: redis://shim-a@127.0.0.1:6379\n", "", "store: is required"},
		{"redis://shim-a@", "redis://shim-a:secret@", "store: "},
		{"redis://shim-a@127.0.0.1:6379", "bolt:bursar.db", "store: "},
		{"shim_key: file:shim.key\n", "", "shim_key: is required; bursar keys shim makes one"},
		{"shim_key: file:shim.key", "shim_key: plain", "shim_key: "},
		{"shim_key", "volatile_store: yes\nshim_key", "volatile_store: must be accept"},
		{"shim_key", "openbao: {address: http://bao.example}\nshim_key", "openbao.address: "},
		{"shim_key", "openbao: {address: https://bao.example}\nshim_key", "openbao.auth: is required"},
		{"shim_key", "tls: {cert: x}\nshim_key", "tls"},
		{"shim_key", "metrics: {listen: nowhere}\nshim_key", "metrics.listen: "},
		{"shim_key", "metrics: {listen: \"127.0.0.1:8081\"}\nshim_key", "metrics.listen: is the same address as listen"},
		{"shim_key", "decide: {listen: \"0.0.0.0:9\"}\nshim_key", "decide"},
		{"shim_key", "trusted_proxies: [0.0.0.0/0]\nshim_key", "trusted_proxies[0]: "},
		{"shim_key", "limits: {address: many}\nshim_key", "limits.address: "},
		{"shim_key", "tenants: {Acme: {}}\nshim_key", "tenants.Acme: "},
		{"shim_key", "tenants: {acme: {private_cidrs: [10.2.0.1/16]}}\nshim_key", "tenants.acme.private_cidrs[0]: "},
		{"shim_key", "master_key: file:master.key\nshim_key", "master_key"},
	} {
		_, r := parse([]byte(strings.Replace(least, row.old, row.new, 1)), "/srv")
		if found := r.Mistakes(); !slices.ContainsFunc(found, func(m strict.Mistake) bool {
			return strings.HasPrefix(m.String(), row.want)
		}) {
			t.Errorf("%q for %q: %q, want %q", row.new, row.old, found, row.want)
		}
	}
	if _, r := parse([]byte(least), "/srv"); len(r.Mistakes()) > 0 {
		t.Errorf("the least: %v", r.Mistakes())
	}
	doors := strings.Replace(least, "listen: 127.0.0.1:8081\n", "decide: {listen: \"unix:decide.sock\"}\n", 1)
	if _, r := parse([]byte(doors), "/srv"); len(r.Mistakes()) > 0 {
		t.Errorf("front proxies alone: %v", r.Mistakes())
	}
}

func TestTheExampleIsAccepted(t *testing.T) {
	if c, err := load("../internal/configdoc/testdata/shim.yaml"); err != nil || c.Listen == "" {
		t.Error(err)
	}
}

// files writes a configuration with more lines, the key of a shim of acme, and the password of the store.
func files(t *testing.T, more string) (path string) {
	t.Helper()
	dir := t.TempDir()
	key, err := keys.NewShimKey()
	if err != nil {
		t.Fatal(err)
	}
	grantor, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shim, err := key.Trusted(keys.ShimTenant{Slug: "acme", ID: "acme-0001", Grantor: grantor}).File()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, defaultFile)
	for name, content := range map[string]string{defaultFile: least + more, "shim.key": string(shim),
		"password": "of-the-store\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestWhatIsNamedIsRead(t *testing.T) {
	c, s, err := open(files(t, "store_password: file:password\ntenants: {acme: {}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.StoreURL != "redis://shim-a:of-the-store@127.0.0.1:6379" || !slices.Equal(s.slugs(), []string{"acme"}) {
		t.Errorf("read %s, %v", s.StoreURL, s.slugs())
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "secrets", s, "value", *s)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", s, *s, *s, s), logged.String(), fmt.Sprint(c)} {
		if strings.Contains(text, "of-the-store") || strings.Contains(text, "acme-0001") {
			t.Errorf("printed %s", text)
		}
	}
}

func TestMistakesOfWhatIsNamed(t *testing.T) {
	for _, row := range []struct{ more, want string }{
		{"store_password: file:nowhere\n", "store_password: "},
		{"store_password: file:empty\n", "store_password: it is empty"},
		{"tenants: {globex: {}}\n", "tenants.globex: is no tenant that the shim's key is for; it is for acme"},
		{"tls: {cert: nowhere, key: nowhere}\n", "tls: "},
		{"ca: password\n", "ca: "},
		{"openbao: {address: \"https://bao.example\", auth: {token: \"file:empty\"}}\n", "openbao.auth.token: is empty"},
	} {
		_, _, err := open(files(t, row.more))
		m, ok := errors.AsType[*strict.Mistakes](err)
		if !ok || len(m.List) != 1 || !strings.HasPrefix(m.List[0].String(), row.want) {
			t.Errorf("%q: %v, want %q", row.more, m, row.want)
		}
	}
	path := files(t, "")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "shim.key"), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(path); err == nil {
		t.Error("a key that is none is taken")
	}
	path = files(t, "")
	if err := os.Chmod(filepath.Join(filepath.Dir(path), "shim.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(path); err == nil {
		t.Error("a key that others can read is taken")
	}
}
