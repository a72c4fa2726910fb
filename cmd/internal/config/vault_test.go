package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/bao"
	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/storage/openbao"
)

// least is a configuration without a master key.
const least = "base_url: https://sts.example\nlisten: 127.0.0.1:1\nstore: bolt:x\nadmin: {token_file: x}\n"

func TestTheVaultIsRead(t *testing.T) {
	c, found := config.Parse([]byte(least+`
master_key: openbao-transit:kms/bursar
previous_master_keys: [file:old.key, "openbao-transit:older"]
vault:
  backend: openbao
  openbao:
    address: https://bao.example:8200
    ca: bao.pem
    auth: {namespace: ops, jwt: {role: bursar, token_file: bao.jwt}}
    namespace: bursar/{tenant}
    mount: kv
    max_staleness: 30s
tenants:
  acme: {vault: store}
  globex: {}
`), "/srv")
	if len(found) > 0 {
		t.Fatal(found)
	}
	o := c.Vault.OpenBao
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"the master key", c.MasterKey.String(), "openbao-transit:kms/bursar"},
		{"previous ones", fmt.Sprint(c.PreviousMasterKeys), "[file:/srv/old.key openbao-transit:older]"},
		{"the authorities are relative to the file", o.CA, "/srv/bao.pem"},
		{"so is the JWT", o.Auth.JWT.TokenFile, "/srv/bao.jwt"},
		{"the layout", o.Layout(), openbao.Layout{Namespace: "bursar/{tenant}", Mount: "kv", Path: "bursar/{tenant}"}},
		{"the staleness", o.MaxStaleness, 30 * time.Second},
		{"of a tenant that says so", c.Keeps("acme"), config.BackendStore},
		{"of one that does not", c.Keeps("globex"), config.BackendOpenBao},
		{"of one that is not named", c.Keeps("initech"), config.BackendOpenBao},
	} {
		if !reflect.DeepEqual(row.got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, row.got, row.want)
		}
	}
	if key, ok := c.MasterKey.Transit(); !ok || key != (openbao.TransitKey{Mount: "kms", Name: "bursar"}) {
		t.Errorf("the key is %v", key)
	}
	c, found = config.Parse([]byte(least+"master_key: env:X\nvault: {openbao: {address: \"https://bao\", "+
		"auth: {kubernetes: {role: r}}}}\n"), "/srv")
	if len(found) > 0 || c.Keeps("acme") != config.BackendStore || c.Vault.OpenBao.MaxStaleness != 10*time.Second ||
		c.Vault.OpenBao.Auth.Kubernetes.TokenFile != "/var/run/secrets/kubernetes.io/serviceaccount/token" ||
		c.Vault.OpenBao.Layout() != (openbao.Layout{Mount: "secret", Path: "bursar/{tenant}"}) {
		t.Errorf("what is left out: %+v, %v", c.Vault, found)
	}
}

func TestMistakesOfTheVault(t *testing.T) {
	const (
		key = "master_key: env:X\n"
		bao = key + "vault: {openbao: {address: https://bao, auth: {token: env:T}"
	)
	auth := func(text string) string {
		return key + "vault: {openbao: {address: https://bao, auth: {" + text + "}}}"
	}
	at := func(url string) string { return key + "vault: {openbao: {auth: {token: env:T}" + url + "}}" }
	for _, c := range []struct{ text, want string }{
		{"master_key: openbao-transit:k", "master_key: needs vault.openbao"},
		{"master_key: \"openbao-transit:\"", "master_key: must be file:PATH"},
		{"master_key: openbao-transit:../k", "master_key: must be file:PATH"},
		{key + "previous_master_keys: [\"env:X\"]", "previous_master_keys[0]: is given twice"},
		{key + "previous_master_keys: [transit:k]", "previous_master_keys[0]: must be file:PATH"},
		{key + "previous_master_keys: [openbao-transit:k]", "previous_master_keys[0]: needs vault.openbao"},
		{key + "store_password: openbao-transit:k", "store_password: must be file:PATH, env:NAME or credential:NAME"},
		{key + "vault: {backend: openbao}", "vault.backend: needs vault.openbao"},
		{key + "vault: {backend: redis}", "vault.backend: must be store or openbao"},
		{key + "tenants: {acme: {vault: openbao}}", "tenants.acme.vault: needs vault.openbao"},
		{at(""), "vault.openbao.address: is required"},
		{at(", address: \"http://bao\""), "vault.openbao.address: must be https"},
		{at(", address: \"https://bao/v1\""), "vault.openbao.address: must be an origin"},
		{key + "vault: {openbao: {address: https://bao}}", "vault.openbao.auth: is required"},
		{auth("token: env:T, kubernetes: {role: r}"), "vault.openbao.auth: must have one of"},
		{auth("jwt: {role: r}"), "vault.openbao.auth.jwt.token_file: is required"},
		{auth("kubernetes: {mount: k8s}"), "vault.openbao.auth.kubernetes.role: is required"},
		{auth("kubernetes: {role: r, mount: ../token}"), "vault.openbao.auth.kubernetes.mount: must be segments"},
		{auth("namespace: a/, token: env:T"), "vault.openbao.auth.namespace: must be segments"},
		{bao + ", path: bursar}}", "vault.openbao.path: must hold {tenant}"},
		{bao + ", mount: ../kv}}", "vault.openbao.mount: must be segments"},
		{bao + ", max_staleness: 31s}}", "vault.openbao.max_staleness: must be from 1s to 30s"},
		{bao + ", max_staleness: 1ms}}", "vault.openbao.max_staleness: must be from 1s to 30s"},
		{bao + ", token: x}}", "vault.openbao.token: is not a known field"},
	} {
		_, found := config.Parse([]byte(least+c.text+"\n"), "/srv")
		if len(found) != 1 || !strings.HasPrefix(found[0].String(), c.want) {
			t.Errorf("%s:\n  got  %v\n  want %s", c.text, found, c.want)
		}
	}
}

// opened returns a configuration in a folder of its own, with a key and a token.
func opened(t *testing.T) (*config.Config, string) {
	t.Helper()
	dir := t.TempDir()
	path, err := config.Init(dir, config.Initial{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

// The credential for OpenBao is looked for at the start, and again for each login.
func TestTheCredentialForOpenBaoIsReadAgain(t *testing.T) {
	c, dir := opened(t)
	path := filepath.Join(dir, "bao")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	read := func(a bao.Auth) (openbao.Login, []string) {
		t.Helper()
		c.Vault.OpenBao = bao.Config{Address: "https://bao.example", Auth: a}
		s, found := c.Secrets()
		if len(found) > 0 {
			var paths []string
			for _, m := range found {
				paths = append(paths, m.Path)
			}
			return openbao.Login{}, paths
		}
		return s.OpenBao.Login, nil
	}
	token := bao.Auth{Token: config.Source{Kind: "file", Name: path}}
	jwt := bao.Auth{JWT: bao.JWT{Role: "r", TokenFile: path}}
	account := bao.Auth{Kubernetes: bao.Kubernetes{Role: "r", TokenFile: path}}
	for _, a := range []bao.Auth{token, jwt, account} {
		write("first", 0o600)
		l, found := read(a)
		if found != nil {
			t.Fatal(found)
		}
		write("second", 0o600)
		if text, err := l.Credential(); err != nil || text != "second" {
			t.Errorf("it gives %q, %v", text, err)
		}
	}
	if l, _ := read(jwt); l.Method != openbao.JWT || l.Mount != "jwt" || l.Role != "r" {
		t.Errorf("the login is %s at %s", l.Method, l.Mount)
	}
	if l, _ := read(account); l.Method != openbao.Kubernetes || l.Mount != "kubernetes" {
		t.Errorf("the login is %s at %s", l.Method, l.Mount)
	}
	write("first", 0o644) // as Kubernetes has them
	if _, found := read(account); found != nil {
		t.Error(found)
	}
	if _, found := read(token); !slices.Equal(found, []string{"vault.openbao.auth.token"}) {
		t.Errorf("others can read the token: %v", found)
	}
	write(" \n", 0o600)
	if _, found := read(jwt); !slices.Equal(found, []string{"vault.openbao.auth.jwt.token_file"}) {
		t.Errorf("an empty file: %v", found)
	}
}
