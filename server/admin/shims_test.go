package admin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

func newShimKey(t *testing.T) *keys.ShimKey {
	t.Helper()
	k, err := keys.NewShimKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func shimRequest(k *keys.ShimKey, name string) admin.ShimRequest {
	p := k.Public()
	return admin.ShimRequest{Name: name, Event: p.Event, Recipient: p.Recipient}
}

// trust makes a tenant trust a shim, and returns the shim's key with it.
func (w *world) trust(slug, name string, k *keys.ShimKey) *keys.ShimKey {
	w.t.Helper()
	done, err := w.svc.TrustShim(w.t.Context(), w.root(slug), shimRequest(k, name))
	if err != nil {
		w.t.Fatal(err)
	}
	if done.ID != k.ID || done.Tenant != w.id(slug) || done.State != admin.ShimTrusted {
		w.t.Errorf("trusted %+v", done)
	}
	return k.Trusted(keys.ShimTenant{Slug: slug, ID: done.Tenant, Grantor: done.Grantor})
}

// seenBy returns what a shim makes of a secret that is active in the tenant: its value, or why it has none.
func (w *world) seenBy(k *keys.ShimKey, slug, name string) string {
	w.t.Helper()
	rows, _, err := w.store.Rows(w.t.Context(), w.id(slug), keys.KindShim, vault.Kind)
	if err != nil {
		w.t.Fatal(err)
	}
	sealer, err := k.OpenVault(w.id(slug), rows)
	if err != nil {
		return err.Error()
	}
	v := vault.Open(sealer, nil, rows)
	ref, err := v.Active(name)
	if err != nil {
		return fault.As(err).Reason
	}
	to := tools.Destination{Scheme: "https", Host: "api.example", Port: 443}
	value, err := v.Open(w.t.Context(), ref, to, tools.InHeader)
	if err != nil {
		return fault.As(err).Reason
	}
	text, _, _ := strings.Cut(value.Field(vault.Plain), "-7f3a")
	return text
}

// active puts a secret that calls use.
func (w *world) active(slug, name, value string) {
	w.t.Helper()
	w.put(slug, name, value)
	if _, err := w.svc.ActivateSecret(w.t.Context(), w.root(slug), name, 0, nil); err != nil {
		w.t.Fatal(err)
	}
}

func TestAShimIsTrustedUntilItIsRevoked(t *testing.T) {
	w := newWorld(t)
	for _, slug := range []string{"acme", "globex"} {
		w.apply(slug, file(slug, "bot"))
		w.active(slug, "crm", "value of "+slug)
	}
	key := w.trust("globex", "edge-1", w.trust("acme", "edge-1", newShimKey(t)))
	other := w.trust("acme", "", newShimKey(t))
	for _, slug := range []string{"acme", "globex"} {
		if got := w.seenBy(key, slug, "crm"); got != "value of "+slug {
			t.Errorf("in %s it sees %s", slug, got)
		}
	}
	list := func() string {
		t.Helper()
		all, err := w.svc.Shims(t.Context(), w.root("acme"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range all {
			names = append(names, strings.TrimSpace(s.Name+" "+s.State))
		}
		return strings.Join(names, ", ")
	}
	if got := list(); got != "edge-1 trusted, trusted" {
		t.Errorf("listed: %s", got)
	}
	done, err := w.svc.RevokeShim(t.Context(), w.root("acme"), key.ID)
	if err != nil || !done.Rotated || done.Secrets != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := w.seenBy(key, "acme", "crm"); !strings.Contains(got, "does not trust") {
		t.Errorf("revoked it sees %s", got)
	}
	if got := w.seenBy(other, "acme", "crm"); got != "value of acme" {
		t.Errorf("the other shim sees %s", got)
	}
	if got := w.seenBy(key, "globex", "crm"); got != "value of globex" {
		t.Errorf("in the other tenant it sees %s", got)
	}
	if got := w.call(w.process, "acme", "crm"); got != "value of acme" {
		t.Errorf("the server sees %s", got)
	}
	if got := list(); got != "trusted" {
		t.Errorf("listed: %s", got)
	}
	v, err := w.dir.Fresh(t.Context(), "acme")
	if err != nil || v.Vault.Progress() != (vault.Progress{DataKey: 2, Total: 1}) {
		t.Errorf("sealed anew: %+v, %v", v.Vault.Progress(), err)
	}
	if done, err = w.svc.RevokeShim(t.Context(), w.root("acme"), key.ID); err != nil || done.Rotated {
		t.Errorf("revoked again: %+v, %v", done, err)
	}
	checkShimRecords(t, w, key.ID)
}

// checkShimRecords holds the log of acme against what was done with its two shims.
func checkShimRecords(t *testing.T, w *world, id string) {
	t.Helper()
	var got []string
	for _, r := range w.records(w.id("acme")) {
		switch {
		case r.Name == audit.LogKeyEvent && r.Body.LogKey.Use == audit.KeyShim:
			got = append(got, r.Body.LogKey.Action)
		case strings.HasPrefix(r.Name, "admin.shim-key.") || r.Name == "admin.data-key.rotate":
			got = append(got, r.Name)
			if strings.HasSuffix(r.Name, ".delete") && r.Body.Change.ID != id {
				t.Errorf("the record is about %s", r.Body.Change.ID)
			}
		}
	}
	want := []string{"admin.shim-key.create", "create", "admin.shim-key.create", "create",
		"admin.shim-key.delete", "revoke", "admin.data-key.rotate"}
	if !slices.Equal(got, want) {
		t.Errorf("the log holds %q, want %q", got, want)
	}
}

func TestWhatIsNoShimIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	key := newShimKey(t)
	w.trust("acme", "edge", key)
	_, err := w.svc.TrustShim(t.Context(), w.root("acme"), shimRequest(key, "edge"))
	wantReason(t, err, "shim.known")
	_, err = w.svc.TrustShim(t.Context(), w.root("acme"), shimRequest(newShimKey(t), "Edge One"))
	wantReason(t, err, "shim.name")
	_, err = w.svc.TrustShim(t.Context(), w.root("acme"), admin.ShimRequest{Event: make([]byte, 32)})
	wantReason(t, err, "shim.keys")
	_, err = w.svc.TrustShim(t.Context(), w.root("nobody"), shimRequest(newShimKey(t), ""))
	wantKind(t, err, fault.NotFound)
	_, err = w.svc.RevokeShim(t.Context(), w.root("acme"), "unknown")
	wantReason(t, err, "shim.unknown")
	_, err = w.svc.RevokeLogKey(t.Context(), w.root("acme"), key.ID)
	wantReason(t, err, "key.of_shim")
	all, err := w.svc.LogKeys(t.Context(), w.root("acme"))
	if err != nil || len(all) != 3 || all[2].Use != "shim" || all[2].ID != key.ID {
		t.Errorf("keys of the log: %+v, %v", all, err)
	}
	for range keys.MaxShims - 1 {
		w.trust("acme", "", newShimKey(t))
	}
	_, err = w.svc.TrustShim(t.Context(), w.root("acme"), shimRequest(newShimKey(t), ""))
	wantReason(t, err, "shim.too_many")
}

// A tenant's own admin cannot make a shim trusted: with its key and the store's rows the admin would have the secrets.
func TestOnlyThePlatformMakesAShimTrusted(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for _, role := range []admin.Role{admin.Admin, admin.Editor, admin.Auditor} {
		op := w.signIn(w.process, "acme", w.token("acme", role))
		_, err := w.svc.TrustShim(t.Context(), op, shimRequest(newShimKey(t), ""))
		wantReason(t, err, "operator.role")
		_, err = w.svc.RevokeShim(t.Context(), op, "x")
		wantReason(t, err, "operator.role")
		if _, err := w.svc.Shims(t.Context(), op); err != nil {
			t.Errorf("%s cannot list: %v", role, err)
		}
	}
}

// Somebody put a row into the store: the shim is told of as unreadable, nothing is given to anybody, and neither that
// row nor another shim is kept from being revoked.
func TestAForgedShimKeepsNoShimFromBeingRevoked(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.active("acme", "crm", "value")
	first, second := w.trust("acme", "one", newShimKey(t)), w.trust("acme", "two", newShimKey(t))
	rows, at, err := w.store.Rows(t.Context(), w.id("acme"), keys.KindShim)
	if err != nil {
		t.Fatal(err)
	}
	forged := rows[slices.IndexFunc(rows, func(r ledger.Row) bool { return r.ID == second.ID })]
	forged.Value = []byte(strings.Replace(string(forged.Value), `"two"`, `"too"`, 1))
	w.dirty("acme", ledger.Change{Expect: at.Revision, Put: []ledger.Row{forged}})
	all, err := w.svc.Shims(t.Context(), w.root("acme"))
	if err != nil || len(all) != 2 || all[1].State != admin.ShimUnreadable {
		t.Errorf("listed: %+v, %v", all, err)
	}
	if _, err := w.svc.RotateVaultKey(t.Context(), w.root("acme")); err == nil {
		t.Error("the vault's key was rotated, and given away")
	}
	done, err := w.svc.RevokeShim(t.Context(), w.root("acme"), first.ID)
	if err != nil || done.Rotated {
		t.Errorf("the other one: %+v, %v", done, err)
	}
	if done, err = w.svc.RevokeShim(t.Context(), w.root("acme"), second.ID); err != nil || !done.Rotated {
		t.Errorf("the forged one: %+v, %v", done, err)
	}
	if got := w.call(w.process, "acme", "crm"); got != "value" {
		t.Errorf("the server sees %s", got)
	}
}

// What a revocation does not seal anew before it answers, whoever maintains does.
func TestARevocationOfAShimIsEndedByAnother(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	w.active("acme", "crm", "value")
	w.fill("acme", 300)
	key := w.trust("acme", "edge", newShimKey(t))
	if done, err := w.svc.RevokeShim(t.Context(), w.root("acme"), key.ID); err != nil || done.Secrets != 301 {
		t.Fatal(done, err)
	}
	next := w.start()
	w.call(next, "acme", "crm")
	v, err := next.dir.Fresh(t.Context(), "acme")
	if err != nil || v.Vault.Progress().Done() {
		t.Fatalf("%+v, %v", v.Vault.Progress(), err)
	}
	if err := next.svc.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err = next.dir.Fresh(t.Context(), "acme"); err != nil || !v.Vault.Progress().Done() {
		t.Errorf("%+v, %v", v.Vault.Progress(), err)
	}
}
