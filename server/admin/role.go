package admin

import (
	"context"
	"slices"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
)

// Role is what an operator may do. The zero Role may do nothing.
type Role string

// The roles, the most powerful first. Platform operators are Admin or Auditor.
const (
	Admin     Role = "admin"     // everything
	Editor    Role = "editor"    // change and read the configuration, client secrets, and secrets of the vault
	Keeper    Role = "keeper"    // put secrets of the vault and try them, and nothing that makes a call use them
	Responder Role = "responder" // revoke and enable, and read the configuration
	Auditor   Role = "auditor"   // read the configuration and the log
)

// Action is something that needs a role.
type Action uint8

// The actions. The zero Action is allowed to nobody.
const (
	nothing Action = iota
	ReadConfig
	ReadLog
	ApplyFile
	CreateTenant
	WriteSecrets
	ListSecrets
	PutSecret
	TestSecret
	ActivateSecret // roll back and enable, too
	DisableSecret
	DestroySecret
	WriteKeys
	WriteShims
	WriteCutoffs
	WriteOperators
	WriteLog
	PruneLog
	CopyTenant
	ListTenants
	ReadPlatform
	WritePlatform

	actions
)

// rule says who may act.
type rule struct {
	name     string // in the log, and in tests
	roles    []Role
	platform bool // platform operators only
}

// rules is the whole of what roles mean. What is not in it is allowed to nobody.
var rules = [actions]rule{
	ReadConfig:     {"read_config", []Role{Admin, Editor, Responder, Auditor}, false},
	ReadLog:        {"read_log", []Role{Admin, Auditor}, false},
	ApplyFile:      {"apply_file", []Role{Admin, Editor}, false},
	CreateTenant:   {"create_tenant", []Role{Admin}, true},
	WriteSecrets:   {"write_secrets", []Role{Admin, Editor}, false},
	ListSecrets:    {"list_secrets", []Role{Admin, Editor, Keeper, Responder, Auditor}, false},
	PutSecret:      {"put_secret", []Role{Admin, Editor, Keeper}, false},
	TestSecret:     {"test_secret", []Role{Admin, Editor, Keeper}, false},
	ActivateSecret: {"activate_secret", []Role{Admin, Editor}, false},
	DisableSecret:  {"disable_secret", []Role{Admin, Editor, Responder}, false},
	DestroySecret:  {"destroy_secret", []Role{Admin}, false},
	WriteKeys:      {"write_keys", []Role{Admin}, false},
	WriteShims:     {"write_shims", []Role{Admin}, true},
	WriteCutoffs:   {"write_cutoffs", []Role{Admin, Responder}, false},
	WriteOperators: {"write_operators", []Role{Admin}, false},
	WriteLog:       {"write_log", []Role{Admin}, false},
	PruneLog:       {"prune_log", []Role{Admin}, true},
	CopyTenant:     {"copy_tenant", []Role{Admin}, true},
	ListTenants:    {"list_tenants", []Role{Admin, Auditor}, true},
	ReadPlatform:   {"read_platform", []Role{Admin, Auditor}, true},
	WritePlatform:  {"write_platform", []Role{Admin}, true},
}

// String returns the action's stable name.
func (a Action) String() string {
	if a < actions {
		return rules[a].name
	}
	return ""
}

// Actions returns every action, for tests that prove the table total.
func Actions() []Action {
	all := make([]Action, 0, actions-1)
	for a := nothing + 1; a < actions; a++ {
		all = append(all, a)
	}
	return all
}

// May reports whether the operator's role allows the action.
func (o Operator) May(a Action) bool {
	if a >= actions {
		return false
	}
	r := rules[a]
	return slices.Contains(r.roles, o.role) && (o.platform || !r.platform)
}

// allow refuses what the operator may not do, and records that it was tried: operators are known, so each refusal is
// an event of its own.
func (s *Service) allow(ctx context.Context, o Operator, a Action) error {
	if o.May(a) {
		return nil
	}
	e := o.event(audit.AuthAdmin, audit.Change{})
	e.Body.Outcome, e.Body.Reason = audit.Denied, "operator.role"
	e.Body.Requested = []string{a.String()}
	if _, err := s.cfg.Log.Append(ctx, o.origin, e); err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "operator.role", "This operator's role does not allow that; ask an admin.")
}

// event returns an event of something that the operator did.
func (o Operator) event(name string, c audit.Change) audit.Event {
	return audit.Event{Name: name, Body: audit.Body{
		Outcome:  audit.Allowed,
		Change:   c,
		Operator: audit.Operator{ID: o.id, Role: string(o.role)},
		Request:  audit.Request{IP: o.ip},
	}}
}
