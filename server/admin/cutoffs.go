package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// CutoffKinds returns the kinds of targets that can be revoked.
func CutoffKinds() []string {
	var kinds []string
	for _, k := range revoke.Kinds() {
		kinds = append(kinds, string(k))
	}
	return kinds
}

// Cutoffs lists the tenant's cutoffs that still matter, in the order of Seq.
func (s *Service) Cutoffs(ctx context.Context, op Operator) ([]ledger.Cutoff, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	list, _, err := s.cfg.Store.Cutoffs(ctx, v.ID, 0)
	if err != nil {
		return nil, fmt.Errorf("read cutoffs: %w", err)
	}
	return list, nil
}

// Causes returns why something can be revoked.
func Causes() []string {
	var all []string
	for _, c := range audit.Causes() {
		all = append(all, string(c))
	}
	return all
}

// Receipt says what Revoke or Enable did.
type Receipt struct {
	At    time.Time // the store's time: everything of the target that was issued up to here is revoked
	Seq   int64     // the number of the change among the tenant's cutoffs
	Index int64     // of the event in the tenant's log
}

// Revoke ends everything of a target that was issued up to now, and disables the target if its kind can be. The cause
// is one of Causes, or empty; it is recorded. Of the kind revoke.Tenant the value is empty. A client, tool or issuer,
// and the issuer of a subject, must be one of the tenant's (a client may also be deleted already), so that a slip of
// the pen does not pass for a revocation; what is only in tokens is not looked up.
//
// After Unavailable the cutoff may be in force; asking again is safe, and moves it forward.
func (s *Service) Revoke(ctx context.Context, op Operator, kind, value, cause string) (Receipt, error) {
	v, err := s.read(ctx, op, WriteCutoffs)
	if err != nil {
		return Receipt{}, err
	}
	target, err := parseTarget(kind, value)
	if err != nil {
		return Receipt{}, err
	}
	if cause != "" && !slices.Contains(Causes(), cause) {
		return Receipt{}, invalid("cutoff.cause", "cause: must be one of "+strings.Join(Causes(), ", "))
	}
	if !exists(v, target) {
		return Receipt{}, fault.New(fault.NotFound, "cutoff.unknown",
			"The tenant has nothing of that kind by that name; nothing was revoked.")
	}
	if client, bound := boundTo(v, target); bound {
		return Receipt{}, invalid("cutoff.subject",
			"value: is an identity of the client "+client+"; revoke the client, by which the tokens are reached that it "+
				"got as itself")
	}
	p, err := s.commit(ctx, v, ledger.Change{Cut: []ledger.Cut{{
		Key: target, Keep: revoke.Keep, Disable: revoke.Kind(target.Kind).Disables(),
	}}}, op.cutoff(audit.CutoffSet, target, audit.Cause(cause)))
	return Receipt{At: p.Time, Seq: p.Cutoffs, Index: p.Index}, err
}

// Enable lets a target that Revoke disabled be used again. What was revoked stays revoked: the receipt's At is that of
// the cutoff. Enable returns when what is issued from then on is not hit by it, which can take until the end of the
// second in which Revoke was called: tokens are dated in whole seconds, and one of the cutoff's own second is revoked.
func (s *Service) Enable(ctx context.Context, op Operator, kind, value string) (Receipt, error) {
	v, err := s.read(ctx, op, WriteCutoffs)
	if err != nil {
		return Receipt{}, err
	}
	target, err := parseTarget(kind, value)
	if err == nil && !revoke.Kind(kind).Disables() {
		err = invalid("cutoff.final", "kind: is final; what it revokes never comes back")
	}
	if err != nil {
		return Receipt{}, err
	}
	before, revoked := v.Cutoffs.Find(target)
	if !revoked {
		return Receipt{}, fault.New(fault.NotFound, "cutoff.absent",
			"The target is not revoked; there is nothing to enable.")
	}
	p, err := s.commit(ctx, v, ledger.Change{Enable: []ledger.Key{target}}, op.cutoff(audit.CutoffEnable, target, ""))
	if err != nil {
		return Receipt{}, err
	}
	s.outlast(ctx, before.At)
	return Receipt{At: before.At, Seq: p.Cutoffs, Index: p.Index}, nil
}

// outlast waits until tokens bear a later second than at. The store's time cannot be behind at, so that this takes at
// most a second; the bound is for a clock that is. The change is made: a caller who leaves early loses nothing.
func (s *Service) outlast(ctx context.Context, at time.Time) {
	left := at.Truncate(time.Second).Add(time.Second).Sub(s.cfg.Directory.Now())
	if left > 0 {
		_ = s.cfg.Sleep(ctx, min(left, 1100*time.Millisecond))
	}
}

// parseTarget reads a target; what is wrong with it is Invalid.
func parseTarget(kind, value string) (ledger.Key, error) {
	key, err := revoke.ParseTarget(kind, value)
	if err != nil {
		return key, invalid("cutoff.target", err.Error())
	}
	return key, nil
}

// exists reports whether the tenant has the target, as far as that can be known.
func exists(v *tenant.View, k ledger.Key) bool {
	has := func(kind, id string) bool { _, found := v.Row(kind, id); return found }
	switch revoke.Kind(k.Kind) {
	case revoke.Client:
		return has(tenant.KindClient, k.ID) || v.Retired(k.ID)
	case revoke.Tool:
		return has(tenant.KindTool, k.ID)
	case revoke.Issuer:
		return has(tenant.KindIssuer, k.ID)
	case revoke.Subject:
		issuer, _, _ := token.SplitSubject(k.ID)
		return has(tenant.KindIssuer, issuer)
	}
	return true
}

// boundTo returns the client whose identity a subject is. The tokens of such a client name the client and not the
// subject, so that a cutoff of the subject would not reach them.
func boundTo(v *tenant.View, k ledger.Key) (client string, bound bool) {
	if revoke.Kind(k.Kind) != revoke.Subject {
		return "", false
	}
	issuer, subject, _ := token.SplitSubject(k.ID)
	for _, row := range v.Rows(tenant.KindClient) {
		var c clients.Client
		if json.Unmarshal(row.Value, &c) != nil {
			continue // a row that nobody can read must not stop a revocation
		}
		for _, binding := range c.Identities {
			if binding.Issuer == issuer && binding.Subject == subject {
				return c.ID, true
			}
		}
	}
	return "", false
}
