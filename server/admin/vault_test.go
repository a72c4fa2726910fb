package admin_test

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// secretDraft is a version of a secret for api.example.
func secretDraft(name, value string) *vault.Draft {
	return &vault.Draft{Name: name, Fields: map[string]string{vault.Plain: value + "-7f3a9c2e51d84b06"},
		Binding: vault.Binding{Scheme: "https", Host: "api.example", Port: 443}}
}

// behind is a tenant file with a tool that puts the secret on the calls to an upstream.
func behind(slug, secret, upstream string) string {
	return file(slug, "bot") + fmt.Sprintf(`tools:
  - name: crm
    resource: %s/shim/t/%s/crm
    actions: [read]
    upstream:
      url: %s
      inject: [{in: header, name: X-Api-Key, secret: %s}]
      allow: [{action: read, methods: [GET], path: /v1/customers}]
      probe: {method: GET, path: /v1/customers, expect: [200, 204]}
`, baseURL, slug, upstream, secret)
}

func (w *world) put(slug, name, value string) admin.VaultChange {
	w.t.Helper()
	done, err := w.svc.PutSecret(w.t.Context(), w.root(slug), secretDraft(name, value))
	if err != nil {
		w.t.Fatalf("put: %v %q", err, fault.As(err).Problems)
	}
	return done
}

// call is what a call with a secret gets of it, in one process, which has read nothing since.
func (w *world) call(p *process, slug, name string) string {
	w.t.Helper()
	v, err := p.dir.Fresh(w.t.Context(), slug)
	if err != nil {
		w.t.Fatal(err)
	}
	ref, err := v.Vault.Active(name)
	if err != nil {
		return fault.As(err).Reason
	}
	to := tools.Destination{Scheme: "https", Host: "api.example", Port: 443}
	value, err := v.Vault.Open(w.t.Context(), ref, to, tools.InHeader)
	if err != nil {
		return fault.As(err).Reason
	}
	text, _, _ := strings.Cut(value.Field(vault.Plain), "-7f3a")
	return text
}

func TestASecretIsPutActivatedAndRolledBack(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	second := w.start()
	check := func(step, want string) {
		t.Helper()
		for _, p := range []*process{w.process, second} {
			if got := w.call(p, "acme", "crm"); got != want {
				t.Errorf("%s: a call gets %s", step, got)
			}
		}
	}
	do := func(change func(admin.Operator) (admin.VaultChange, error)) admin.VaultChange {
		t.Helper()
		done, err := change(w.root("acme"))
		if err != nil {
			t.Fatal(err)
		}
		if !done.Changed {
			t.Error("nothing was changed")
		}
		return done
	}
	check("before", "secret.unknown")
	first := w.put("acme", "crm", "one")
	check("put", "secret.none_active")
	do(func(o admin.Operator) (admin.VaultChange, error) {
		return w.svc.ActivateSecret(t.Context(), o, "crm", 0, nil)
	})
	check("activate", "one")
	w.put("acme", "crm", "two")
	expect := 1
	do(func(o admin.Operator) (admin.VaultChange, error) {
		return w.svc.ActivateSecret(t.Context(), o, "crm", 2, &expect)
	})
	check("activate the next", "two")
	_, err := w.svc.ActivateSecret(t.Context(), w.root("acme"), "crm", 1, &expect)
	wantReason(t, err, "secret.moved")
	do(func(o admin.Operator) (admin.VaultChange, error) { return w.svc.RollbackSecret(t.Context(), o, "crm") })
	check("roll back", "one")
	do(func(o admin.Operator) (admin.VaultChange, error) { return w.svc.DisableSecret(t.Context(), o, "crm") })
	check("disable", "secret.disabled")
	if done, err := w.svc.DisableSecret(t.Context(), w.root("acme"), "crm"); err != nil || done.Changed {
		t.Errorf("disabled again: %+v, %v", done, err)
	}
	do(func(o admin.Operator) (admin.VaultChange, error) { return w.svc.EnableSecret(t.Context(), o, "crm") })
	check("enable", "one")
	do(func(o admin.Operator) (admin.VaultChange, error) {
		return w.svc.DestroySecret(t.Context(), o, "crm", 2, false)
	})
	do(func(o admin.Operator) (admin.VaultChange, error) {
		return w.svc.DestroySecret(t.Context(), o, "crm", 0, false)
	})
	check("destroy", "secret.none_active")

	var got []string
	var last string
	for _, e := range w.records(w.id("acme")) {
		if !strings.HasPrefix(e.Name, "secret.") {
			continue
		}
		s := e.Body.Secret
		got = append(got, fmt.Sprintf("%s %d %s %d", strings.TrimPrefix(e.Name, "secret."), s.Version, s.State, len(s.Kinds)))
		if s.Name != "crm" || e.Body.Operator.ID != "admin.token" || e.Body.Change.Before != last ||
			(s.Version == 1 && e.Name == audit.SecretPut && s.Fingerprint != first.Version.Fingerprint) {
			t.Errorf("recorded %s", e.raw)
		}
		last = e.Body.Change.After
	}
	want := []string{"put 1 staged 2", "activate 1 active 2", "put 2 staged 2", "activate 2 active 2", "rollback 1 active 2",
		"disable 1 disabled 0", "enable 1 active 0", "destroy 2 destroyed 0", "destroy 0 destroyed 0"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%s", strings.Join(got, "\n"))
	}
	v, err := w.dir.Fresh(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if row, _ := v.Row(vault.Kind, "crm"); audit.Digest(row) != last {
		t.Error("the row is not the one that the log says it is")
	}
}

// TestF3NoSurfaceOfTheServiceTellsAValue looks for a value in all that comes out, and in all that is stored.
func TestF3NoSurfaceOfTheServiceTellsAValue(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", behind("acme", "crm", "https://api.example"))
	const canary = "CANARY-4c1d"
	var out bytes.Buffer
	done := w.put("acme", "crm", canary)
	fmt.Fprintf(&out, "%+v %#v", done, done)
	bad := secretDraft("crm", canary+"\n")
	_, err := w.svc.PutSecret(t.Context(), w.root("acme"), bad)
	fmt.Fprintf(&out, "%v %+v %q", err, err, fault.As(err).Problems)
	list, progress, err := w.svc.VaultSecrets(t.Context(), w.root("acme"))
	fmt.Fprintf(&out, "%+v %+v %v", list, progress, err)
	for _, tenant := range []ledger.Tenant{w.id("acme"), ledger.Platform} {
		for _, e := range w.everything(tenant) {
			out.WriteString(e.raw)
		}
		rows, _, err := w.store.Rows(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			out.WriteString(row.ID)
			out.Write(row.Value)
		}
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Error("something tells the value")
	}
	if !strings.Contains(out.String(), done.Version.Fingerprint) {
		t.Error("the fingerprint is nowhere either: the test looks at nothing")
	}
}

func TestDestroyingWhatAToolPutsOnItsCallsIsForced(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", behind("acme", "crm", "https://api.example"))
	w.put("acme", "crm", "one")
	w.put("acme", "crm", "two")
	_, err := w.svc.DestroySecret(t.Context(), w.root("acme"), "crm", 0, false)
	wantReason(t, err, "secret.in_use")
	if _, err := w.svc.DestroySecret(t.Context(), w.root("acme"), "crm", 1, false); err != nil {
		t.Errorf("one version: %v", err)
	}
	if _, err := w.svc.DestroySecret(t.Context(), w.root("acme"), "crm", 0, true); err != nil {
		t.Errorf("forced: %v", err)
	}
	w.put("acme", "crm", "three")
	w.apply("acme", strings.Replace(behind("acme", "crm", "https://api.example"), "upstream:", "disabled: true\n    upstream:", 1))
	if _, err := w.svc.DestroySecret(t.Context(), w.root("acme"), "crm", 0, false); err != nil {
		t.Errorf("of a disabled tool: %v", err)
	}
}

func TestASecretIsListedWithTheToolsThatNeedIt(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", behind("acme", "crm", "https://api.example"))
	list := func() (string, vault.Progress) {
		all, progress, err := w.svc.VaultSecrets(t.Context(), w.root("acme"))
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, s := range all {
			text = append(text, fmt.Sprint(s.Name, " ", s.State, " ", s.Tools, " ", s.Unbound))
		}
		return strings.Join(text, "; "), progress
	}
	if got, progress := list(); got != "" || progress.DataKey != 0 {
		t.Errorf("before: %s, %+v", got, progress)
	}
	w.put("acme", "erp", "two")
	w.put("acme", "crm", "one")
	if got, progress := list(); got != "crm staged [crm] []; erp staged [] []" || progress.DataKey != 1 || progress.Total != 2 {
		t.Errorf("%s, %+v", got, progress)
	}
	w.apply("acme", behind("acme", "crm", "https://evil.test"))
	if got, _ := list(); got != "crm staged [crm] [crm]; erp staged [] []" {
		t.Error(got)
	}
	if s, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "erp"); err != nil || len(s.Versions) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	_, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "none")
	wantKind(t, err, fault.NotFound)
}

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
	if want := "acme crm crm 1"; !slices.Equal(shim.made, []string{want, want, want}) {
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
	if n := w.count("acme", audit.SecretTest); n != 3 || len(shim.made) != 3 {
		t.Errorf("%d tests are recorded of %d", n, len(shim.made))
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

// TestTwoProcessesPutAndNoVersionIsLost lets both make the vault of a tenant.
func TestTwoProcessesPutAndNoVersionIsLost(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	second := w.start()
	const each = 6
	errs := make(chan error, 2*each)
	for _, p := range []*process{w.process, second} {
		op := w.signIn(p, "acme", w.platform)
		for range each {
			go func() {
				_, err := p.svc.PutSecret(t.Context(), op, secretDraft("crm", "one"))
				errs <- err
			}()
		}
	}
	for range 2 * each {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "crm")
	if err != nil || len(s.Versions) != 2*each || s.Versions[0].Number != 2*each {
		t.Errorf("%d versions, %v", len(s.Versions), err)
	}
}

// TestF2ARowThatIsPutBackIsNotUsedByARunningServer writes to the store as an intruder would, behind the log's back.
func TestF2ARowThatIsPutBackIsNotUsedByARunningServer(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	d := secretDraft("crm", "one")
	d.Activate = true
	if _, err := w.svc.PutSecret(t.Context(), w.root("acme"), d); err != nil {
		t.Fatal(err)
	}
	old, at, err := w.store.Rows(t.Context(), w.id("acme"), vault.Kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.svc.DisableSecret(t.Context(), w.root("acme"), "crm"); err != nil {
		t.Fatal(err)
	}
	intruder := w.start()
	if _, err := intruder.log.Change(t.Context(), audit.Origin{Tenant: w.id("acme"), Issuer: baseURL + "/t/acme"},
		ledger.Change{Expect: at.Revision + 1, Put: old}, audit.Event{Name: audit.WriterStart,
			Body: audit.Body{Outcome: audit.Allowed}}); err != nil {
		t.Fatal(err)
	}
	if got := w.call(w.process, "acme", "crm"); got != "secret.sealed" {
		t.Errorf("a call gets %s", got)
	}
	if s, err := w.svc.VaultSecret(t.Context(), w.root("acme"), "crm"); err != nil || s.State != vault.Unreadable {
		t.Errorf("%+v, %v", s, err)
	}
	// Whoever did not see the newer state finds it in the log.
	records := w.records(w.id("acme"))
	last := records[len(records)-1]
	if last.Name != audit.SecretDisable || last.Body.Change.After == audit.Digest(old[0].Value) {
		t.Errorf("the log does not tell that the row is another one: %s", last.raw)
	}
}

func TestSecretsInABackend(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	shelf := &shelf{fields: map[string]map[string]string{}}
	p := w.startAs(func(c *tenant.Config, _ *admin.Config) {
		c.Backend = func(string, ledger.Tenant) vault.Backend { return shelf }
	})
	op := w.signIn(p, "acme", w.platform)
	d := secretDraft("crm", "one")
	d.Activate = true
	done, err := p.svc.PutSecret(t.Context(), op, d)
	if err != nil || done.Version.Backend != "shelf" || len(shelf.fields) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := w.call(p, "acme", "crm"); got != "one" {
		t.Errorf("a call gets %s", got)
	}
	if got := w.call(w.process, "acme", "crm"); got != "secret.backend" {
		t.Errorf("a call through a server without the backend gets %s", got)
	}
	// What was stored for a version that could not be put is dropped again.
	zero := 0
	d = secretDraft("crm", "two")
	d.Activate, d.Expect = true, &zero
	_, err = p.svc.PutSecret(t.Context(), op, d)
	wantReason(t, err, "secret.moved")
	if len(shelf.fields) != 1 {
		t.Errorf("the backend keeps %d values", len(shelf.fields))
	}
	shelf.down = errors.New("down")
	_, err = p.svc.PutSecret(t.Context(), op, secretDraft("crm", "two"))
	wantReason(t, err, "secret.backend")
	_, err = p.svc.DestroySecret(t.Context(), op, "crm", 0, false)
	wantReason(t, err, "secret.backend")
	if got := w.call(p, "acme", "crm"); got != "secret.none_active" {
		t.Errorf("destroyed here: a call gets %s", got)
	}
	shelf.down = nil
	if _, err = p.svc.DestroySecret(t.Context(), op, "crm", 0, false); err != nil || len(shelf.fields) != 0 {
		t.Errorf("destroyed again: %v, the backend keeps %d values", err, len(shelf.fields))
	}
}

// shelf is a backend in the memory of the test.
type shelf struct {
	fields map[string]map[string]string
	down   error
}

func (*shelf) Name() string { return "shelf" }

func (s *shelf) Put(_ context.Context, _ ledger.Tenant, secret string, f map[string]string) (string, error) {
	ref := fmt.Sprint(secret, time.Now().UnixNano())
	if s.down == nil {
		s.fields[ref] = f
	}
	return ref, s.down
}

func (s *shelf) Get(_ context.Context, _ ledger.Tenant, ref string) (map[string]string, error) {
	return s.fields[ref], s.down
}

func (s *shelf) Destroy(_ context.Context, _ ledger.Tenant, ref string) error {
	if s.down == nil {
		delete(s.fields, ref)
	}
	return s.down
}
