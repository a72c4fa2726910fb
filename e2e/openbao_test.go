package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/e2e/harness/leak"
	"github.com/bursar-sts/bursar/e2e/harness/upstream"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// The values of a secret, one after the other.
const (
	firstValue  = "bao-First/7Jq+9Zr2&Xw=4Tb8~Ny6Kd3"
	secondValue = "bao-Second/3Wd+5Kf8&Gh=1Rv6~Mc2Lx"
)

// swap is a server of one tenant with one tool behind the shim, which puts one secret on its calls.
type swap struct {
	*harness.Server
	up      *upstream.Upstream
	cluster *harness.Issuer
	oracle  *leak.Oracle
	ca      string // file
}

const swapFile = `apiVersion: bursar/v1
tenant: acme
issuers:
  - {name: cluster, issuer: %[1]q, kind: kubernetes, audiences: [%[2]q], algorithms: [RS256],
     network: {allow_private: true}}
clients:
  - {id: ap-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}]}
tools:
  - name: legacy
    resource: %[3]s/t/acme/legacy
    actions: [items.read]
    upstream:
      url: %[4]s
      inject: [{in: header, name: X-Api-Key, secret: legacy-key}]
      allow: [{action: items.read, methods: [GET], path: "/v1/items/{id}"}]
      network: {allow_private: true, ca: %[5]q}
policies:
  - {id: use-legacy, clients: [ap-bot], tool: legacy, actions: [items.read], ttl: 10m}
`

// newSwap makes one of a server whose shim is to be at s.Shim.
func newSwap(t *testing.T, s *harness.Server) *swap {
	t.Helper()
	w := &swap{Server: s, up: upstream.Start(t, upstream.Options{Keys: []string{firstValue}}),
		cluster: harness.StartIssuer(t, "kubernetes", "-audience", s.Issuer("acme")),
		oracle:  leak.Of(firstValue, secondValue), ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(w.ca, []byte(w.up.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Apply(t, fmt.Sprintf(swapFile, w.cluster.URL, s.Issuer("acme"), s.Shim, w.up.URL, w.up.CA))
	t.Cleanup(func() { w.oracle.Folder(t, s.Dir) })
	return w
}

// run runs a command of the binary, which must succeed.
func (w *swap) run(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := w.BursarReading(t, input, args...)
	if err != nil {
		t.Fatalf("bursar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// put puts a value of the secret, and activates it.
func (w *swap) put(t *testing.T, value string) {
	t.Helper()
	w.run(t, value, "secret", "put", "acme/legacy-key", "--host", w.up.URL, "--ca", w.ca, "--activate", "-")
	w.up.Accept(value)
}

// token returns an access token for the tool.
func (w *swap) token(t *testing.T) string {
	t.Helper()
	workload := w.cluster.Mint(t, harness.Mint{Claims: map[string]any{"aud": []string{w.Issuer("acme")}}})
	return w.At("acme").MustExchange(t, harness.Form(workload, w.Shim+"/t/acme/legacy", "legacy:items.read"))
}

// call calls the tool, and holds the answer against the oracle.
func (w *swap) call(t *testing.T, token string) *harness.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Shim+"/t/acme/legacy/v1/items/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	a, err := harness.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	w.oracle.Check(t, "an answer", []byte(fmt.Sprint(a.Header, a.Body)))
	return a
}

// until calls the tool until it is answered so, for a bounded time.
func (w *swap) until(t *testing.T, what string, status int) {
	t.Helper()
	token := w.token(t)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if a := w.call(t, token); a.Status == status {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%s: answered with %d %s, want %d", what, a.Status, a.Body, status)
		}
	}
}

// Policies as docs/openbao.md has them.
const (
	mayServe = `
path "secret/data/bursar/+/+/+"    { capabilities = ["create", "read"] }
path "secret/destroy/bursar/+/+/+" { capabilities = ["update"] }`
	mayPut = `
path "secret/data/bursar/+/+/+"    { capabilities = ["create"] }
path "secret/destroy/bursar/+/+/+" { capabilities = ["update"] }`
	mayRead = `path "secret/data/bursar/acme/+/+" { capabilities = ["read"] }`
)

// inOpenBao starts an OpenBao, and has the server keep secrets there, with some rights.
func inOpenBao(t *testing.T, s *harness.Server, policy string) *baotest.Bao {
	t.Helper()
	fake := baotest.Start(t)
	bao := &baotest.Bao{URL: fake.URL, Token: fake.Root, Fake: fake}
	s.Reconfigure(t, "vault: {backend: openbao, openbao: "+reachable(t, bao, s.Dir, policy)+"}\n")
	return bao
}

// reachable returns how OpenBao is reached with a new token, whose file is in a folder.
func reachable(t *testing.T, bao *baotest.Bao, dir, policy string) string {
	t.Helper()
	path := filepath.Join(dir, "bao.token")
	if err := os.WriteFile(path, []byte(bao.Holder(t, policy, "24h")), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{address: %q, auth: {token: \"file:%s\"}, max_staleness: 1s}", bao.URL, path)
}

// entries returns the paths of the values that OpenBao has of the secret.
func entries(t *testing.T, bao *baotest.Bao) (paths []string) {
	t.Helper()
	r := bao.Must(t, "LIST", "secret/metadata/bursar/acme/legacy-key", nil)
	all, _ := r.Get("data", "keys").([]any)
	for _, name := range all {
		paths = append(paths, fmt.Sprintf("secret/data/bursar/acme/legacy-key/%s", name))
	}
	return paths
}

// The values of secrets are in OpenBao and nowhere else: calls are made with them, rotation and destruction reach it, a
// value that was exchanged there is refused, and so is a call when OpenBao is away for too long.
func TestSecretsInOpenBao(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "bolt")
	bao := inOpenBao(t, s, mayServe)
	s.ServeShim(t)
	w := newSwap(t, s)
	w.put(t, firstValue)
	w.until(t, "with the first value", http.StatusOK)
	first := entries(t, bao)
	if len(first) != 1 {
		t.Fatalf("OpenBao has %v", first)
	}
	value := bao.Must(t, http.MethodGet, first[0], nil).Get("data", "data")
	if !strings.Contains(fmt.Sprint(value), firstValue) {
		t.Error("the value is not in OpenBao")
	}
	if out := w.run(t, "", "secret", "list", "acme/legacy-key", "--json"); !strings.Contains(out, `"openbao"`) {
		t.Errorf("it prints:\n%s", out)
	}
	w.put(t, secondValue)
	w.until(t, "with the second value", http.StatusOK)
	w.run(t, "", "secret", "destroy", "acme/legacy-key", "1")
	r := bao.Do(t, baotest.Ask{Method: http.MethodGet, Path: first[0]})
	if r.Get("data", "metadata", "destroyed") != true {
		t.Errorf("what was destroyed is there: %d %v", r.Status, r.Body)
	}
	bao.Fake.Seal(true)
	w.until(t, "while OpenBao is away", http.StatusServiceUnavailable)
	bao.Fake.Seal(false)
	w.until(t, "when it is back", http.StatusOK)
	for _, path := range entries(t, bao) {
		bao.Must(t, http.MethodPut, path, map[string]any{"data": value})
	}
	w.until(t, "with another value in its place", http.StatusServiceUnavailable)
	before := w.up.Count()
	w.call(t, w.token(t))
	if after := w.up.Count(); after.Bytes != before.Bytes {
		t.Error("the upstream is called with another value")
	}
}

// The server puts what it cannot read, and a standalone shim reads what it cannot put, each with a token of its own.
func TestAStandaloneShimReadsOpenBao(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "redis")
	bao := inOpenBao(t, s, mayPut)
	s.ApartShim(t)
	w := newSwap(t, s)
	w.put(t, firstValue)
	o := s.StartOutpost(t, "openbao: "+reachable(t, bao, t.TempDir(), mayRead)+"\n", "acme")
	w.until(t, "with the first value", http.StatusOK)
	w.put(t, secondValue)
	w.until(t, "with the second value", http.StatusOK)
	bao.Fake.Seal(true)
	w.until(t, "while OpenBao is away", http.StatusServiceUnavailable)
	o.Stop()
	o.Restart(t) // which it does without OpenBao, for tenants whose secrets are in the store
	bao.Fake.Seal(false)
	w.until(t, "when it is back", http.StatusOK)
	w.oracle.Folder(t, o.Dir)
	w.oracle.Folder(t, s.Redis.Dir)
}

// Secrets are in a backup, encrypted, and are used again when it is put back; what was destroyed before it was made is
// not.
func TestSecretsAreRestored(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "bolt")
	s.ServeShim(t)
	w := newSwap(t, s)
	w.put(t, firstValue)
	w.put(t, secondValue)
	w.run(t, "", "secret", "destroy", "acme/legacy-key", "1")
	before := w.run(t, "", "secret", "list", "acme/legacy-key", "--json")
	file := filepath.Join(w.Dir, "acme.backup")
	w.run(t, "", "backup", "acme", "-o", file)
	w.oracle.Folder(t, w.Dir)
	w.put(t, firstValue)
	w.Stop()
	w.run(t, "", "restore", file, "--config", filepath.Join(w.Dir, "bursar.yaml"), "--replace")
	w.Restart(t)
	w.run(t, "", "audit", "accept-loss", "acme")
	if after := w.run(t, "", "secret", "list", "acme/legacy-key", "--json"); after != before {
		t.Errorf("the secret was %s\nand is %s", before, after)
	}
	if out, err := w.Bursar(t, "secret", "activate", "acme/legacy-key", "1"); err == nil {
		t.Errorf("what was destroyed is back: %s", out)
	}
	w.up.Accept(secondValue)
	w.until(t, "when it is put back", http.StatusOK)
}

// edit changes bursar.yaml while no server runs.
func (w *swap) edit(t *testing.T, old, next string) {
	t.Helper()
	w.Stop()
	path := filepath.Join(w.Dir, "bursar.yaml")
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%s is not in %s: %v", old, path, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, next, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Restart(t)
}

// A master key moves from a file to OpenBao and is rotated there, as docs/openbao.md says, and no secret is lost.
func TestAMasterKeyMovesToOpenBao(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, "bolt")
	s.ServeShim(t)
	w := newSwap(t, s)
	w.put(t, firstValue)
	fake := baotest.Start(t)
	bao := &baotest.Bao{URL: fake.URL, Token: fake.Root, Fake: fake}
	bao.Must(t, http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"})
	bao.Must(t, http.MethodPost, "transit/keys/bursar", nil)
	token := bao.Holder(t, `
path "transit/encrypt/bursar" { capabilities = ["update"] }
path "transit/decrypt/bursar" { capabilities = ["update"] }
path "transit/keys/bursar"    { capabilities = ["read"] }`, "24h")
	if err := os.WriteFile(filepath.Join(w.Dir, "bao.token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	const file, previous = "master_key: file:master.key", "\nprevious_master_keys: [\"file:master.key\"] #"
	w.edit(t, file, fmt.Sprintf("vault: {openbao: {address: %q, auth: {token: \"file:bao.token\"}}}\n"+
		"master_key: openbao-transit:bursar", fake.URL)+previous)
	w.until(t, "with both keys", http.StatusOK)
	w.run(t, "", "keys", "rewrap")
	if err := os.Remove(filepath.Join(w.Dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	w.edit(t, previous, " #")
	w.until(t, "without the old key", http.StatusOK)
	bao.Must(t, http.MethodPost, "transit/keys/bursar/rotate", nil)
	w.run(t, "", "keys", "rewrap", "--all")
	bao.Must(t, http.MethodPost, "transit/keys/bursar/config", map[string]any{"min_decryption_version": 2})
	w.edit(t, " #", " # still")
	w.until(t, "with the second version of the key", http.StatusOK)
	w.put(t, secondValue)
	w.until(t, "with another value", http.StatusOK)
}
