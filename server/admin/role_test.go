package admin_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/exchange"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// calls are all methods that an operator can call, by what the log calls them.
func calls(s *admin.Service) map[string]map[string]func(context.Context, admin.Operator) error {
	type ops = map[string]func(context.Context, admin.Operator) error
	operators := ops{
		"create": func(ctx context.Context, o admin.Operator) error {
			_, _, err := s.CreateOperator(ctx, o, admin.Auditor, time.Hour)
			return err
		},
		"delete": func(ctx context.Context, o admin.Operator) error { return s.DeleteOperator(ctx, o, "nobody") },
	}
	events := func(ctx context.Context, o admin.Operator) error {
		_, _, err := s.Events(ctx, o, admin.EventQuery{})
		return err
	}
	acceptLoss := func(ctx context.Context, o admin.Operator) error { _, err := s.AcceptLoss(ctx, o); return err }
	prune := func(ctx context.Context, o admin.Operator) error {
		_, err := s.PruneLog(ctx, o, 1, time.Time{})
		return err
	}
	copied := func(ctx context.Context, o admin.Operator) error { _, err := s.Backup(ctx, o); return err }
	logKeys := func(ctx context.Context, o admin.Operator) error { _, err := s.LogKeys(ctx, o); return err }
	rotateLog := func(ctx context.Context, o admin.Operator) error { _, err := s.RotateLogKeys(ctx, o); return err }
	revokeLog := func(ctx context.Context, o admin.Operator) error {
		_, err := s.RevokeLogKey(ctx, o, "none")
		return err
	}
	onPlatform := ops{"create": operators["create"], "delete": operators["delete"], "accept loss": acceptLoss,
		"rotate log": rotateLog, "revoke log": revokeLog,
		"prune": prune, "copy": copied}
	list := func(ctx context.Context, o admin.Operator) error { _, err := s.Operators(ctx, o); return err }
	return map[string]map[string]func(context.Context, admin.Operator) error{
		"read_config": {
			"tenant":  func(ctx context.Context, o admin.Operator) error { _, err := s.Tenant(ctx, o); return err },
			"objects": func(ctx context.Context, o admin.Operator) error { _, err := s.Objects(ctx, o, "tool"); return err },
			"object": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Object(ctx, o, "client", "bot")
				return err
			},
			"secrets":   func(ctx context.Context, o admin.Operator) error { _, err := s.Secrets(ctx, o, "bot"); return err },
			"keys":      func(ctx context.Context, o admin.Operator) error { _, err := s.Keys(ctx, o); return err },
			"cutoffs":   func(ctx context.Context, o admin.Operator) error { _, err := s.Cutoffs(ctx, o); return err },
			"operators": list,
			"log keys":  logKeys,
			"route": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Route(ctx, o, "payments", admin.Call{Method: "GET", Path: "/"})
				return err
			},
			"shims": func(ctx context.Context, o admin.Operator) error { _, err := s.Shims(ctx, o); return err },
		},
		"read_log": {
			"events": events,
			"decision": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Decision(ctx, o, ledger.NewID(time.Now()))
				return err
			},
			"suppose": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Suppose(ctx, o, exchange.Hypothesis{Client: "bot", Tool: "payments"})
				return err
			},
		},
		"apply_file": {"apply": func(ctx context.Context, o admin.Operator) error {
			_, err := s.Apply(ctx, o, admin.ApplyRequest{File: []byte(file("acme", "bot"))})
			return err
		}},
		"write_secrets": {
			"create": func(ctx context.Context, o admin.Operator) error {
				_, _, err := s.CreateSecret(ctx, o, "bot")
				return err
			},
			"delete": func(ctx context.Context, o admin.Operator) error { return s.DeleteSecret(ctx, o, "bot", "none") },
		},
		"list_secrets": {
			"list": func(ctx context.Context, o admin.Operator) error { _, _, err := s.VaultSecrets(ctx, o); return err },
			"get":  func(ctx context.Context, o admin.Operator) error { _, err := s.VaultSecret(ctx, o, "crm"); return err },
		},
		"put_secret": {"put": func(ctx context.Context, o admin.Operator) error {
			_, err := s.PutSecret(ctx, o, secretDraft("crm", "SK-role"))
			return err
		}},
		"test_secret": {"test": func(ctx context.Context, o admin.Operator) error {
			_, err := s.TestSecret(ctx, o, "crm", 0, "")
			return err
		}},
		"activate_secret": {
			"activate": func(ctx context.Context, o admin.Operator) error {
				_, err := s.ActivateSecret(ctx, o, "crm", 0, nil)
				return err
			},
			"roll back": func(ctx context.Context, o admin.Operator) error {
				_, err := s.RollbackSecret(ctx, o, "crm")
				return err
			},
			"enable": func(ctx context.Context, o admin.Operator) error {
				_, err := s.EnableSecret(ctx, o, "crm")
				return err
			},
			"put": func(ctx context.Context, o admin.Operator) error {
				d := secretDraft("crm", "SK-role")
				d.Activate = true
				_, err := s.PutSecret(ctx, o, d)
				return err
			},
		},
		"disable_secret": {"disable": func(ctx context.Context, o admin.Operator) error {
			_, err := s.DisableSecret(ctx, o, "crm")
			return err
		}},
		"destroy_secret": {
			"destroy": func(ctx context.Context, o admin.Operator) error {
				_, err := s.DestroySecret(ctx, o, "crm", 0, false)
				return err
			},
			"shred": func(ctx context.Context, o admin.Operator) error {
				_, err := s.ShredSecrets(ctx, o, "acme")
				return err
			},
		},
		"write_shims": {
			"trust": func(ctx context.Context, o admin.Operator) error {
				_, err := s.TrustShim(ctx, o, admin.ShimRequest{})
				return err
			},
			"revoke": func(ctx context.Context, o admin.Operator) error { _, err := s.RevokeShim(ctx, o, "x"); return err },
		},
		"write_keys": {
			"rotate vault": func(ctx context.Context, o admin.Operator) error {
				_, err := s.RotateVaultKey(ctx, o)
				return err
			},
			"rotate": func(ctx context.Context, o admin.Operator) error { _, err := s.RotateKeys(ctx, o, ""); return err },
			"revoke": func(ctx context.Context, o admin.Operator) error {
				_, err := s.RevokeKey(ctx, o, "none")
				return err
			},
			"rotate log": rotateLog, "revoke log": revokeLog,
		},
		"write_cutoffs": {
			"revoke": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Revoke(ctx, o, "client", "bot", "")
				return err
			},
			"enable": func(ctx context.Context, o admin.Operator) error {
				_, err := s.Enable(ctx, o, "client", "bot")
				return err
			},
		},
		"write_operators": operators,
		"write_log":       {"accept loss": acceptLoss},
		"prune_log":       {"prune": prune},
		"copy_tenant":     {"copy": copied},
		"list_tenants": {
			"tenants": func(ctx context.Context, o admin.Operator) error { _, err := s.Tenants(ctx, o); return err },
		},
		"read_platform":  {"events": events, "operators": list, "log keys": logKeys},
		"write_platform": onPlatform,
		"create_tenant": {"apply": func(ctx context.Context, o admin.Operator) error {
			_, err := s.Apply(ctx, o, admin.ApplyRequest{File: []byte(file("fresh"))})
			return err
		}},
	}
}

// TestRoles holds every action of every role against this list, which says it a second time and in another form.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	inTenant := map[admin.Role][]string{
		admin.Admin: {"read_config", "read_log", "apply_file", "write_secrets", "write_keys", "write_cutoffs",
			"write_operators", "write_log", "list_secrets", "put_secret", "test_secret", "activate_secret",
			"disable_secret", "destroy_secret"},
		admin.Editor: {"read_config", "apply_file", "write_secrets", "list_secrets", "put_secret", "test_secret",
			"activate_secret", "disable_secret"},
		admin.Keeper:    {"list_secrets", "put_secret", "test_secret"},
		admin.Responder: {"read_config", "write_cutoffs", "list_secrets", "disable_secret"},
		admin.Auditor:   {"read_config", "read_log", "list_secrets"},
	}
	ofPlatform := map[admin.Role][]string{
		admin.Admin: append([]string{
			"list_tenants", "read_platform", "write_platform", "create_tenant", "prune_log", "copy_tenant",
			"write_shims"},
			inTenant[admin.Admin]...),
		admin.Auditor: {"read_config", "read_log", "list_tenants", "read_platform", "list_secrets"},
	}
	onPlatform := []string{"list_tenants", "read_platform", "write_platform"}
	check := func(t *testing.T, token string, may []string, action string) {
		slug := "acme"
		switch {
		case action == "create_tenant":
			slug = "fresh"
		case slices.Contains(onPlatform, action):
			slug = ""
		}
		op, err := w.svc.Authenticate(t.Context(), admin.Credentials{Tenant: slug, Token: token})
		if err != nil {
			if slices.Contains(may, action) {
				t.Fatal(err)
			}
			wantKind(t, err, fault.NotFound)
			return
		}
		for name, call := range calls(w.svc)[action] {
			before := w.position("acme")
			err := call(t.Context(), op)
			refused := err != nil && fault.As(err).Kind == fault.Forbidden
			if refused == slices.Contains(may, action) {
				t.Errorf("%s of %s: %v", name, action, err)
			}
			if after := w.position("acme"); refused && (after.Revision != before.Revision || after.Cutoffs != before.Cutoffs) {
				t.Errorf("%s of %s was refused and changed something", name, action)
			}
		}
	}
	tokens := map[string][]string{}
	for role, may := range inTenant {
		tokens[w.token("acme", role)] = may
	}
	for role, may := range ofPlatform {
		tokens[w.token("", role)] = may
	}
	tokens[w.platform] = ofPlatform[admin.Admin]
	for _, action := range admin.Actions() {
		if len(calls(w.svc)[action.String()]) == 0 {
			t.Errorf("action %d (%s) has no call here", action, action)
		}
		for token, may := range tokens {
			if action.String() != "create_tenant" { // a test of its own: it can happen once
				check(t, token, may, action.String())
			}
		}
	}
	for token, may := range tokens {
		if !slices.Contains(may, "create_tenant") {
			check(t, token, may, "create_tenant")
		}
	}
	check(t, w.platform, ofPlatform[admin.Admin], "create_tenant")
}

func TestARefusedRoleIsRecorded(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	op := w.signIn(w.process, "acme", w.token("acme", admin.Auditor))
	_, _, err := w.svc.CreateSecret(t.Context(), op, "bot")
	wantKind(t, err, fault.Forbidden)
	all := w.records(w.id("acme"))
	last := all[len(all)-1]
	if last.Name != audit.AuthAdmin || last.Body.Outcome != audit.Denied || last.Body.Reason != "operator.role" ||
		last.Body.Operator.ID == "" || last.Body.Request.IP != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("recorded %s", last.raw)
	}
}

// TestATenantsAdminIsNobodyOnThePlatform calls what no path of a tenant leads to.
func TestATenantsAdminIsNobodyOnThePlatform(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	op := w.signIn(w.process, "acme", w.token("acme", admin.Admin))
	for _, action := range []admin.Action{admin.ListTenants, admin.ReadPlatform, admin.WritePlatform, admin.CreateTenant,
		admin.PruneLog, admin.CopyTenant} {
		if op.May(action) {
			t.Errorf("a tenant's admin may %s", action)
		}
	}
	_, err := w.svc.Tenants(t.Context(), op)
	wantKind(t, err, fault.Forbidden)
}

func TestTheZeroOperatorMayNothing(t *testing.T) {
	w := newWorld(t)
	w.apply("acme", file("acme", "bot"))
	for _, action := range append(admin.Actions(), 0, 255) {
		if (admin.Operator{}).May(action) {
			t.Errorf("the zero operator may %s", action)
		}
		if (w.root("acme")).May(0) || (w.root("acme")).May(255) {
			t.Error("an action that does not exist is allowed")
		}
	}
	for action, all := range calls(w.svc) {
		for name, call := range all {
			if call(t.Context(), admin.Operator{}) == nil {
				t.Errorf("%s of %s let the zero operator through", name, action)
			}
		}
	}
}
