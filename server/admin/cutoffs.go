package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// Cutoffs lists the tenant's cutoffs that still matter, in the order of Seq.
func (s *Service) Cutoffs(ctx context.Context, op Operator) ([]ledger.Cutoff, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	return s.cutoffs(ctx, v)
}

func (s *Service) cutoffs(ctx context.Context, v *tenant.View) ([]ledger.Cutoff, error) {
	list, _, err := s.cfg.Store.Cutoffs(ctx, v.ID, 0)
	if err != nil {
		return nil, fmt.Errorf("read cutoffs: %w", err)
	}
	return list, nil
}

// Receipt says what Revoke or Enable did.
type Receipt struct {
	At    time.Time // the store's time: everything of the target that was issued up to here is revoked
	Seq   int64     // the number of the change among the tenant's cutoffs
	Index int64     // of the event in the tenant's log
}

// Revoke ends everything of a target that was issued up to now, and disables the target if its kind can be. Of the kind
// revoke.Tenant the value is empty. A client, tool or issuer must be one of the tenant's (a client may also be deleted
// already), so that a slip of the pen does not pass for a revocation; what is only in tokens is not looked up.
//
// After Unavailable the cutoff may be in force; asking again is safe, and moves it forward.
func (s *Service) Revoke(ctx context.Context, op Operator, target ledger.Key) (Receipt, error) {
	v, err := s.read(ctx, op, WriteCutoffs)
	if err != nil {
		return Receipt{}, err
	}
	if problems := checkTarget(target); len(problems) > 0 {
		return Receipt{}, invalid("cutoff.target", problems...)
	}
	if !exists(v, target) {
		return Receipt{}, fault.New(fault.NotFound, "cutoff.unknown",
			"The tenant has nothing of that kind by that name; nothing was revoked.")
	}
	p, err := s.commit(ctx, v, ledger.Change{Cut: []ledger.Cut{{
		Key: target, Keep: revoke.Keep, Disable: revoke.Kind(target.Kind).Disables(),
	}}}, op.cutoff(audit.CutoffSet, target))
	return Receipt{At: p.Time, Seq: p.Cutoffs, Index: p.Index}, err
}

// Enable lets a target that Revoke disabled be used again. What was revoked stays revoked: the receipt's At is that of
// the cutoff. Enable returns when what is issued from then on is not hit by it, which can take until the end of the
// second in which Revoke was called: tokens are dated in whole seconds, and one of the cutoff's own second is revoked.
func (s *Service) Enable(ctx context.Context, op Operator, target ledger.Key) (Receipt, error) {
	v, err := s.read(ctx, op, WriteCutoffs)
	if err != nil {
		return Receipt{}, err
	}
	problems := checkTarget(target)
	if len(problems) == 0 && !revoke.Kind(target.Kind).Disables() {
		problems = []string{"kind: is final and cannot be enabled"}
	}
	if len(problems) > 0 {
		return Receipt{}, invalid("cutoff.target", problems...)
	}
	before, err := s.cutoffs(ctx, v)
	if err != nil {
		return Receipt{}, err
	}
	i := slices.IndexFunc(before, func(c ledger.Cutoff) bool { return c.Key == target })
	if i < 0 {
		return Receipt{}, fault.New(fault.NotFound, "cutoff.absent",
			"The target is not revoked; there is nothing to enable.")
	}
	p, err := s.commit(ctx, v, ledger.Change{Enable: []ledger.Key{target}}, op.cutoff(audit.CutoffEnable, target))
	if err != nil {
		return Receipt{}, err
	}
	s.outlast(ctx, before[i].At)
	return Receipt{At: before[i].At, Seq: p.Cutoffs, Index: p.Index}, nil
}

// outlast waits until tokens bear a later second than at. The store's time cannot be behind at, so that this takes at
// most a second; the bound is for a clock that is. The change is made: a caller who leaves early loses nothing.
func (s *Service) outlast(ctx context.Context, at time.Time) {
	left := at.Truncate(time.Second).Add(time.Second).Sub(s.cfg.Directory.Now())
	if left > 0 {
		_ = s.cfg.Sleep(ctx, min(left, 1100*time.Millisecond))
	}
}

// CutoffKinds returns the kinds of targets.
func CutoffKinds() []string {
	var kinds []string
	for _, k := range []revoke.Kind{revoke.JTI, revoke.Lineage, revoke.Run, revoke.Client, revoke.Tool, revoke.Tenant,
		revoke.Issuer, revoke.Subject} {
		kinds = append(kinds, string(k))
	}
	return kinds
}

// maxValue bounds a target's value, in bytes: the name of an issuer, a colon, and the longest subject.
const maxValue = 64 + 2048

func checkTarget(k ledger.Key) []string {
	valueProblem := func(what string) []string { return []string{"value: " + what} }
	switch kind := revoke.Kind(k.Kind); kind {
	case revoke.Tenant:
		if k.ID != "" {
			return valueProblem("the kind tenant has none")
		}
		return nil
	case revoke.Client, revoke.Tool, revoke.Issuer:
		if err := scopes.CheckSlug(k.ID); err != nil {
			return valueProblem(err.Error())
		}
		return nil
	case revoke.JTI, revoke.Lineage, revoke.Run:
		odd := func(r rune) bool { return r <= ' ' || r > '~' }
		if k.ID == "" || len(k.ID) > 256 || strings.ContainsFunc(k.ID, odd) {
			return valueProblem("must be 1 to 256 printable ASCII characters without spaces")
		}
		return nil
	case revoke.Subject:
		name, sub, _ := strings.Cut(k.ID, ":")
		if scopes.CheckSlug(name) != nil || sub == "" || len(k.ID) > maxValue || !utf8.ValidString(k.ID) ||
			strings.ContainsFunc(k.ID, unicode.IsControl) {
			return valueProblem("must be the sub of the tokens: the trusted issuer's name, a colon, and its subject")
		}
		return nil
	}
	return []string{"kind: must be one of " + strings.Join(CutoffKinds(), ", ")}
}

// exists reports whether the tenant has the target, as far as that can be known.
func exists(v *tenant.View, k ledger.Key) bool {
	var found bool
	switch revoke.Kind(k.Kind) {
	case revoke.Client:
		_, found = v.Row(tenant.KindClient, k.ID)
		return found || v.Retired(k.ID)
	case revoke.Tool:
		_, found = v.Row(tenant.KindTool, k.ID)
	case revoke.Issuer:
		_, found = v.Row(tenant.KindIssuer, k.ID)
	default:
		return true
	}
	return found
}
