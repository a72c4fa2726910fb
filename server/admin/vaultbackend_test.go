package admin_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
	"github.com/bursar-sts/bursar/server/vault"
)

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
