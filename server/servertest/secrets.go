package servertest

import (
	"net/netip"

	"github.com/bursar-sts/bursar/server"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/vault"
)

// ShimTenants shows a shim the tenants as the process knows them.
func (p *Process) ShimTenants() shim.Tenants {
	return server.Tenants(p.Directory, map[string][]netip.Prefix{"acme": Loopback, "globex": Loopback})
}

// PutSecret gives a tenant a secret of one value, bound to an origin with its own authority (PEM, or none), in use at
// once. No directory hears of it.
func (w *World) PutSecret(slug, name, origin, ca, value string) {
	w.T.Helper()
	binding, err := vault.NewBinding(origin, ca, "", nil)
	if err != nil {
		w.T.Fatal(err)
	}
	w.putSecret(slug, &vault.Draft{Name: name, Fields: map[string]string{vault.Plain: value}, Binding: binding,
		DecisionMode: true})
}

func (w *World) putSecret(slug string, d *vault.Draft) {
	w.T.Helper()
	d.Fill()
	if problems := d.Check(); len(problems) > 0 {
		w.T.Fatal(problems)
	}
	v := w.view(slug)
	secrets, rows, err := w.Directory.OpenVault(v)
	if err != nil {
		w.T.Fatal(err)
	}
	if len(rows) > 0 {
		w.Commit(slug, ledger.Change{Expect: v.Revision, Put: rows})
	}
	c, err := secrets.Put(d, "test", w.Clock.Now())
	w.store(slug, c, err)
	w.secret(slug, func(s *vault.Vault) (vault.Change, error) { return s.Activate(d.Name, 0, nil, w.Clock.Now()) })
}

// PutClient is PutSecret for client credentials that are good at a token endpoint.
func (w *World) PutClient(slug, name, origin, ca, tokenURL, id, value string) {
	w.T.Helper()
	binding, err := vault.NewBinding(origin, ca, tokenURL, nil)
	if err != nil {
		w.T.Fatal(err)
	}
	w.putSecret(slug, &vault.Draft{Name: name, Binding: binding, DecisionMode: true,
		Fields: map[string]string{vault.ClientID: id, vault.ClientSecret: value}})
}

// RotateSecret gives a secret another value, bound as the one before, in use at once. No directory hears of it.
func (w *World) RotateSecret(slug, name, value string) {
	w.T.Helper()
	s, err := w.view(slug).Vault.Get(name)
	if err != nil {
		w.T.Fatal(err)
	}
	w.putSecret(slug, &vault.Draft{Name: name, Fields: map[string]string{vault.Plain: value},
		Binding: s.Versions[0].Binding, DecisionMode: s.Versions[0].DecisionMode})
}

// DisableSecret switches a secret off. No directory hears of it.
func (w *World) DisableSecret(slug, name string) {
	w.T.Helper()
	w.secret(slug, func(s *vault.Vault) (vault.Change, error) { return s.Disable(name, w.Clock.Now()) })
}

func (w *World) secret(slug string, change func(*vault.Vault) (vault.Change, error)) {
	w.T.Helper()
	c, err := change(w.view(slug).Vault)
	w.store(slug, c, err)
}

// view reads the tenant by a directory that nobody else has.
func (w *World) view(slug string) *tenant.View {
	w.T.Helper()
	v, err := w.apart.Fresh(w.T.Context(), slug)
	if err != nil {
		w.T.Fatal(err)
	}
	return v
}

func (w *World) store(slug string, c vault.Change, err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
	w.Commit(slug, ledger.Change{Expect: w.view(slug).Revision, Put: c.Put, Delete: c.Delete})
}

// PutGuarded is PutSecret for a secret that proxies are never handed.
func (w *World) PutGuarded(slug, name, origin, value string) {
	w.T.Helper()
	binding, err := vault.NewBinding(origin, "", "", nil)
	if err != nil {
		w.T.Fatal(err)
	}
	w.putSecret(slug, &vault.Draft{Name: name, Fields: map[string]string{vault.Plain: value}, Binding: binding})
}
