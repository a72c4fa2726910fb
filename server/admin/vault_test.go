package admin_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
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
    resource: https://sts.example/shim/t/%s/crm
    actions: [read]
    upstream:
      url: %s
      inject: [{in: header, name: X-Api-Key, secret: %s}]
      allow: [{action: read, methods: [GET], path: /v1/customers}]
      probe: {method: GET, path: /v1/customers, expect: [200, 204]}
`, slug, upstream, secret)
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
	want := []string{"put 1 staged 2", "activate 1 active 2", "put 2 staged 2", "activate 2 active 2",
		"rollback 1 active 2", "disable 1 disabled 0", "enable 1 active 0", "destroy 2 destroyed 0", "destroy 0 destroyed 0"}
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
	off := strings.Replace(behind("acme", "crm", "https://api.example"), "upstream:", "disabled: true\n    upstream:", 1)
	w.apply("acme", off)
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
	got, progress := list()
	if got != "crm staged [crm] []; erp staged [] []" || progress.DataKey != 1 || progress.Total != 2 {
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
