package custody_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/config"
	"github.com/bursar-sts/bursar/cmd/internal/custody"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage/openbao/baotest"
)

// configured returns a configuration with more text, in a folder that has a master key, an older one, and a token for
// an OpenBao. The folder may have been used before.
func configured(t *testing.T, dir string, s *baotest.Server, more string) (*config.Config, *config.Secrets) {
	t.Helper()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if path, err := config.Init(dir, config.Initial{}); err == nil {
		write("base.yaml", read(filepath.Base(path)))
		write("old.key", keys.NewMasterFile())
		write("bao.token", []byte(s.Root+"\n"))
	}
	text := read("base.yaml")
	if strings.Contains(more, "master_key: ") {
		text = bytes.Replace(text, []byte("\nmaster_key: "), []byte("\n# master_key: "), 1)
	}
	more = strings.ReplaceAll(more, "BAO", fmt.Sprintf("{address: %q, auth: {token: file:bao.token}}", s.URL))
	write("bursar.yaml", append(text, more+"\n"...))
	c, secrets, err := config.Open(filepath.Join(dir, "bursar.yaml"))
	if err != nil {
		t.Fatalf("%v", err.(*config.Mistakes).List)
	}
	return c, secrets
}

// openIn opens what is configured.
func openIn(t *testing.T, dir string, s *baotest.Server, more string) (*custody.Custody, string, error) {
	t.Helper()
	c, secrets := configured(t, dir, s, more)
	var logs bytes.Buffer
	kept, err := custody.Open(t.Context(), c, secrets, slog.New(slog.NewTextHandler(&logs, nil)))
	if err == nil {
		t.Cleanup(func() { kept.Close(t.Context()) })
	}
	return kept, logs.String(), err
}

// transit makes a transit key.
func transit(t *testing.T, s *baotest.Server) {
	t.Helper()
	b := &baotest.Bao{URL: s.URL, Token: s.Root, Fake: s}
	b.Must(t, http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"})
	b.Must(t, http.MethodPost, "transit/keys/bursar", nil)
	b.Must(t, http.MethodPost, "sys/mounts/kms", map[string]any{"type": "transit"})
	b.Must(t, http.MethodPost, "kms/keys/bursar", nil)
}

// A key moves from a file to OpenBao, and back: what the one before sealed still opens.
func TestAMasterKeyMoves(t *testing.T) {
	s := baotest.Start(t)
	transit(t, s)
	const bao = "\nvault: {openbao: BAO}"
	for _, c := range []struct{ before, after, id string }{
		{bao, "master_key: openbao-transit:bursar\nprevious_master_keys: [file:master.key]" + bao, "openbao-transit:bursar"},
		{"master_key: openbao-transit:bursar" + bao, "previous_master_keys: [\"openbao-transit:bursar\"]" + bao, ""},
		{"", "master_key: file:old.key\nprevious_master_keys: [file:master.key]", ""},
	} {
		dir := t.TempDir()
		before, _, err := openIn(t, dir, s, c.before)
		if err != nil {
			t.Fatal(err)
		}
		tenant := ledger.NewTenant()
		rows, err := keys.CreateLog(before.Master, tenant, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := openIn(t, dir, s, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if id := after.Master.ID(); id == before.Master.ID() || c.id != "" && id != c.id {
			t.Errorf("%s: it is %s", c.after, id)
		}
		if _, err := keys.OpenLog(after.Master, tenant, rows); err != nil {
			t.Errorf("%s: %v", c.after, err)
		}
		again, err := keys.Rewrap(after.Master, tenant, rows, false)
		if err != nil || len(again) != 1 {
			t.Fatalf("%s: %d rows, %v", c.after, len(again), err)
		}
		if _, err := keys.OpenLog(before.Master, tenant, append(again, rows[1:]...)); err == nil {
			t.Errorf("%s: the key before it opens what was sealed anew", c.after)
		}
	}
}

// What is wrong with OpenBao stops the start, with the field that it is about; that it is away does so only if a master
// key is there.
func TestWhatIsWrongWithOpenBaoIsSaidAtTheStart(t *testing.T) {
	s := baotest.Start(t)
	transit(t, s)
	b := &baotest.Bao{URL: s.URL, Token: s.Root, Fake: s}
	weak := b.Holder(t, `path "transit/encrypt/bursar" { capabilities = ["update"] }`, "1h")
	for _, c := range []struct {
		more, token string
		sealed      bool
		fails, logs string
	}{
		{more: "vault: {backend: openbao, openbao: BAO}"},
		{more: "vault: {backend: openbao, openbao: BAO}", sealed: true, logs: "no secret that it has can be used"},
		{more: "vault: {backend: openbao, openbao: BAO}", token: "s.wrong", fails: "vault.openbao: "},
		{more: "master_key: openbao-transit:bursar\nvault: {openbao: BAO}"},
		{more: "master_key: openbao-transit:bursar\nvault: {openbao: BAO}", sealed: true, fails: "vault.openbao: "},
		{more: "master_key: openbao-transit:bursar\nvault: {openbao: BAO}", token: weak,
			fails: "master key openbao-transit:bursar: decrypt with transit/bursar: "},
		{more: "master_key: openbao-transit:other\nvault: {openbao: BAO}",
			fails: "master key openbao-transit:other: there is no transit key"},
		{more: "master_key: openbao-transit:none/bursar\nvault: {openbao: BAO}",
			fails: "master key openbao-transit:none/bursar: "},
		{more: "previous_master_keys: [openbao-transit:other]\nvault: {openbao: BAO}",
			fails: "master key openbao-transit:other: "},
		{more: "previous_master_keys: [openbao-transit:bursar, \"openbao-transit:kms/bursar\"]\nvault: {openbao: BAO}",
			fails: "previous_master_keys: master key"},
	} {
		dir := t.TempDir()
		cfg, secrets := configured(t, dir, s, c.more)
		if c.token != "" {
			secrets.OpenBao.Login.Credential = func() (string, error) { return c.token, nil }
		}
		s.Seal(c.sealed)
		var logs bytes.Buffer
		kept, err := custody.Open(t.Context(), cfg, secrets, slog.New(slog.NewTextHandler(&logs, nil)))
		s.Seal(false)
		if err == nil {
			kept.Close(t.Context())
		}
		if (err == nil) != (c.fails == "") || err != nil && !strings.HasPrefix(err.Error(), c.fails) {
			t.Errorf("%s: %v, want %q", c.more, err, c.fails)
		}
		if text := logs.String(); !strings.Contains(text, c.logs) || c.logs == "" && text != "" {
			t.Errorf("%s: it logs %s", c.more, text)
		}
		if text := fmt.Sprint(err, logs.String()); strings.Contains(text, s.Root) || strings.Contains(text, weak) {
			t.Errorf("%s: it tells a token: %s", c.more, text)
		}
	}
}

// A tenant's values are where its configuration says; each has one backend, which remembers what it read.
func TestEachTenantHasItsBackend(t *testing.T) {
	s := baotest.Start(t)
	kept, _, err := openIn(t, t.TempDir(), s, "vault: {backend: openbao, openbao: BAO}\ntenants: {globex: {vault: store}}")
	if err != nil {
		t.Fatal(err)
	}
	acme, globex := ledger.NewTenant(), ledger.NewTenant()
	if b := kept.Backend("globex", globex); b != nil {
		t.Errorf("one that says store has %s", b.Name())
	}
	b := kept.Backend("acme", acme)
	if b == nil || b.Name() != "openbao" {
		t.Fatal("one that says nothing has none")
	}
	if again := kept.Backend("acme", acme); again != b {
		t.Error("it has another one each time")
	}
	ref, err := b.Put(t.Context(), acme, "payments-key", map[string]string{"value": "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := "/v1/secret/data/bursar/acme/" + ref
	if !slices.ContainsFunc(s.Requests(), func(r baotest.Request) bool { return r.URI == want }) {
		t.Errorf("it is not at %s", want)
	}
}

// OpenBao is never dialled for a tenant.
func TestWhereOpenBaoIsIsKnown(t *testing.T) {
	s := baotest.Start(t)
	kept, _, err := openIn(t, t.TempDir(), s, "vault: {openbao: BAO}")
	if err != nil {
		t.Fatal(err)
	}
	all, err := kept.Addresses(t.Context())
	if want := netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://")); err != nil || !slices.Contains(all, want) {
		t.Errorf("%v, %v", all, err)
	}
	without, _, err := openIn(t, t.TempDir(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := without.Addresses(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("without one: %v, %v", all, err)
	}
}
