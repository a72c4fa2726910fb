package admin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/vault"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// probe is a shim that answers probes with one status.
type probe struct {
	status int
	err    error
	made   []string
}

func (p *probe) Probe(_ context.Context, slug, tool, secret string, version int) (int, error) {
	p.made = append(p.made, fmt.Sprint(slug, " ", tool, " ", secret, " ", version))
	return p.status, p.err
}

func TestATestMakesTheProbeOfTheTool(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", behind("acme", "crm", "https://api.example"))
	w.put("acme", "crm", "one")
	_, err := w.svc.TestSecret(t.Context(), w.root("acme"), "crm", 0, "")
	wantReason(t, err, "secret.no_shim")

	shim := &probe{status: 204}
	svc := w.startAs(func(_ *tenant.Config, c *admin.Config) { c.Prober = shim }).svc
	test := func(name string, number int, tool string) (admin.Probed, error) {
		return svc.TestSecret(t.Context(), w.root("acme"), name, number, tool)
	}
	if got, err := test("crm", 0, ""); err != nil || got.Tool != "crm" || got.Status != 204 || !got.Passed ||
		got.Version.Number != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	shim.status = 401
	if got, err := test("crm", 1, "crm"); err != nil || got.Passed || got.Status != 401 {
		t.Errorf("%+v, %v", got, err)
	}
	shim.err = fault.New(fault.Unavailable, "upstream.unreachable", "")
	_, err = test("crm", 1, "crm")
	wantReason(t, err, "upstream.unreachable")
	if call := "acme crm crm 1"; !slices.Equal(shim.made, []string{call, call, call}) {
		t.Errorf("made %q", shim.made)
	}
	for _, row := range []struct {
		name   string
		number int
		tool   string
		want   string
	}{
		{"none", 0, "", "secret.unknown"}, {"crm", 7, "", "secret.version"}, {"crm", 0, "other", "secret.no_probe"},
	} {
		_, err := test(row.name, row.number, row.tool)
		wantReason(t, err, row.want)
	}
	w.put("acme", "erp", "two")
	_, err = test("erp", 0, "")
	wantReason(t, err, "secret.no_probe")
	var got []string
	for _, e := range w.records(w.id("acme")) {
		if e.Name == audit.SecretTest {
			got = append(got, fmt.Sprint(e.Body.Outcome, e.Body.Reason, " ", e.Body.Use.Phase, " ", e.Body.Use.Status))
		}
	}
	want := []string{"allowed intent 0", "allowed outcome 204", "allowed intent 0", "allowed outcome 401",
		"allowed intent 0", "errorupstream.unreachable outcome 0"}
	if !slices.Equal(got, want) || len(shim.made) != 3 {
		t.Errorf("recorded %q", got)
	}
}

// What the shim does not send is told as what it is: as an internal error, or as a lack of rights, it led nowhere.
func TestATestThatIsNotMadeSaysWhatIsInItsWay(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", behind("acme", "crm", "https://api.example"))
	w.put("acme", "crm", "one")
	shim := &probe{}
	svc := w.startAs(func(_ *tenant.Config, c *admin.Config) { c.Prober = shim }).svc
	for reason, kinds := range map[string][2]fault.Kind{
		"upstream.refused":      {fault.InvalidTarget, fault.Conflict},
		"secret.host_not_bound": {fault.Forbidden, fault.Conflict},
		"upstream.unreachable":  {fault.Unavailable, fault.Unavailable},
	} {
		shim.err = fault.New(kinds[0], reason, "Why.")
		_, err := svc.TestSecret(t.Context(), w.root("acme"), "crm", 0, "")
		wantReason(t, err, reason)
		wantKind(t, err, kinds[1])
	}
}

func (w *world) count(slug, event string) (n int) {
	w.t.Helper()
	for _, e := range w.records(w.id(slug)) {
		if e.Name == event && e.Body.Outcome == audit.Allowed {
			n++
		}
	}
	return n
}

// fill gives a tenant so many secrets, all active, in one commit.
func (w *world) fill(slug string, secrets int) {
	w.t.Helper()
	v, err := w.dir.Fresh(w.t.Context(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	c := ledger.Change{Expect: v.Revision}
	for n := range secrets {
		d := secretDraft(fmt.Sprint("s-", n), fmt.Sprint("value", n))
		d.Activate = true
		d.Fill()
		one, err := v.Vault.Put(d, "op", w.time())
		if err != nil {
			w.t.Fatal(err)
		}
		c.Put = append(c.Put, one.Put...)
	}
	e := audit.Event{Name: audit.WriterStart, Body: audit.Body{Outcome: audit.Allowed}}
	if _, err := w.log.Change(w.t.Context(), v.Origin(), c, e); err != nil {
		w.t.Fatal(err)
	}
}

// TestAVaultKeyRotatesWhileSecretsAreUsed kills the sealing anew at each of its steps.
func TestAVaultKeyRotatesWhileSecretsAreUsed(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	_, err := w.svc.RotateVaultKey(t.Context(), w.root("acme"))
	wantReason(t, err, "secret.none")
	const secrets = 300 // more than a rotation seals before it answers
	w.put("acme", "s-0", "value0")
	w.fill("acme", secrets)
	progress, err := w.svc.RotateVaultKey(t.Context(), w.root("acme"))
	if err != nil || progress.DataKey != 2 || progress.Left != secrets-4*64 || progress.Old != 1 {
		t.Fatalf("%+v, %v", progress, err)
	}
	w.deadline = 50 * time.Millisecond
	killed := w.start()
	w.signIn(killed, "acme", w.platform)
	w.call(killed, "acme", "s-0")
	w.store.Set(storagetest.Commit, storagetest.NotApplied)
	if err := killed.svc.Maintain(t.Context()); err == nil {
		t.Error("what was not stored was not told")
	}
	w.store.Set(storagetest.Commit, storagetest.Works)
	w.deadline = time.Minute
	second := w.start()
	if got := w.call(second, "acme", "s-299"); got != "value299" {
		t.Errorf("meanwhile a call gets %s", got)
	}
	if err := second.svc.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, progress, err = second.svc.VaultSecrets(t.Context(), w.signIn(second, "acme", w.platform))
	if err != nil || progress != (vault.Progress{DataKey: 2, Total: secrets}) {
		t.Errorf("%+v, %v", progress, err)
	}
	for n := range secrets {
		if got := w.call(second, "acme", fmt.Sprint("s-", n)); got != fmt.Sprint("value", n) {
			t.Fatalf("a call gets %s", got)
		}
	}
	steps := w.count("acme", audit.SecretRewrap)
	if err := second.svc.Maintain(t.Context()); err != nil || w.count("acme", audit.SecretRewrap) != steps || steps != 5 {
		t.Errorf("%d steps, then %d: %v", steps, w.count("acme", audit.SecretRewrap), err)
	}
	if n := w.count("acme", "admin.data-key.rotate"); n != 1 {
		t.Errorf("%d rotations are recorded", n)
	}
}

func TestShreddingEndsEverySecretOfATenantAlone(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"acme", "globex"} {
		w.apply(slug, file(slug, "bot"))
		d := secretDraft("crm", "one")
		d.Activate = true
		if _, err := w.svc.PutSecret(t.Context(), w.root(slug), d); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.svc.RotateVaultKey(t.Context(), w.root("acme")); err != nil {
		t.Fatal(err)
	}
	_, err := w.svc.ShredSecrets(t.Context(), w.root("acme"), "globex")
	wantKind(t, err, fault.Invalid)
	old, _, err := w.store.Rows(t.Context(), w.id("acme"), vault.Kind)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.svc.ShredSecrets(t.Context(), w.root("acme"), "acme"); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	rows, _, err := w.store.Rows(t.Context(), w.id("acme"))
	if err != nil || slices.ContainsFunc(rows, func(r ledger.Row) bool {
		return r.Kind == vault.Kind || r.Kind == keys.KindDEK && strings.HasPrefix(r.ID, keys.VaultKey)
	}) {
		t.Errorf("something is left: %v", err)
	}
	if got := w.call(w.process, "globex", "crm"); got != "one" {
		t.Errorf("a call of the other tenant gets %s", got)
	}
	if got := w.call(w.process, "acme", "crm"); got != "secret.unknown" {
		t.Errorf("a call gets %s", got)
	}
	_, err = w.svc.ShredSecrets(t.Context(), w.root("acme"), "acme")
	wantReason(t, err, "secret.none")
	// The rows of a backup open no more, not even where there is a new vault.
	w.put("acme", "erp", "two")
	v, err := w.dir.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	restored := vault.Open(v.Vault.Sealer(), nil, old)
	if _, err := restored.Active("crm"); fault.As(err).Reason != "secret.sealed" {
		t.Errorf("a row of a backup: %v", err)
	}
	if n := w.count("acme", audit.SecretShred); n != 1 {
		t.Errorf("%d are recorded", n)
	}
}

// TestABrokenDataKeyBreaksTheSecretsAlone spoils the row of a vault's data key, as an intruder in the store would.
func TestABrokenDataKeyBreaksTheSecretsAlone(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.put("acme", "crm", "one")
	at := w.position("acme")
	if _, err := w.start().log.Change(t.Context(), audit.Origin{Tenant: w.id("acme"), Issuer: baseURL + "/t/acme"},
		ledger.Change{Expect: at.Revision, Put: []ledger.Row{{Kind: keys.KindDEK, ID: keys.VaultKey, Value: []byte("{}")}}},
		audit.Event{Name: audit.WriterStart, Body: audit.Body{Outcome: audit.Allowed}}); err != nil {
		t.Fatal(err)
	}
	if got := w.call(w.process, "acme", "crm"); got != "secret.sealed" {
		t.Errorf("a call gets %s", got)
	}
	if s, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "crm"); err != nil || s.State != vault.Unreadable {
		t.Errorf("%+v, %v", s, err)
	}
	_, err := w.svc.PutSecret(t.Context(), w.root("acme"), secretDraft("crm", "two"))
	wantReason(t, err, "secret.sealed")
	_, err = w.svc.RotateVaultKey(t.Context(), w.root("acme"))
	wantReason(t, err, "secret.none")
	w.apply("acme", file("acme", "bot", "more")) // everything else goes on
	if err := w.svc.Maintain(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := w.svc.ShredSecrets(t.Context(), w.root("acme"), "acme"); err != nil || n != 1 {
		t.Errorf("shredded %d, %v", n, err)
	}
	w.put("acme", "crm", "three")
	if s, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "crm"); err != nil || s.State != vault.Staged {
		t.Errorf("put anew: %+v, %v", s, err)
	}
}
