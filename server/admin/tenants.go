package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tenant"
)

// TenantEntry is a tenant in the platform's directory.
type TenantEntry struct {
	Tenant  string // slug
	Issuer  string // URL
	Created time.Time
}

// Tenants lists every tenant, in the order of their slugs.
func (s *Service) Tenants(ctx context.Context, op Operator) ([]TenantEntry, error) {
	if err := s.allow(ctx, op, ListTenants); err != nil {
		return nil, err
	}
	entries, err := s.cfg.Directory.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]TenantEntry, 0, len(entries))
	for _, slug := range slices.Sorted(maps.Keys(entries)) {
		list = append(list, s.entry(slug, entries[slug]))
	}
	return list, nil
}

func (s *Service) entry(slug string, e tenant.Entry) TenantEntry {
	return TenantEntry{Tenant: slug, Issuer: s.cfg.Directory.IssuerURL(slug), Created: e.Created}
}

// Summary is one tenant in numbers.
type Summary struct {
	TenantEntry
	Revision int64          // of the configuration
	Disabled bool           // a cutoff disables the whole tenant
	Objects  map[string]int // how many of each of tenant.FileKinds
	Cutoffs  int            // that still matter
	Events   int64          // entries of the log
}

// Tenant returns the summary of the operator's tenant.
func (s *Service) Tenant(ctx context.Context, op Operator) (*Summary, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	entry, err := s.cfg.Directory.Entry(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	cutoffs, at, err := s.cfg.Store.Cutoffs(ctx, v.ID, 0)
	if err != nil {
		return nil, fmt.Errorf("read cutoffs: %w", err)
	}
	sum := &Summary{TenantEntry: s.entry(op.slug, entry), Revision: v.Revision, Objects: map[string]int{},
		Cutoffs: len(cutoffs), Events: at.Index}
	for _, kind := range tenant.FileKinds {
		sum.Objects[kind] = len(v.Rows(kind))
	}
	sum.Disabled = slices.ContainsFunc(cutoffs, func(c ledger.Cutoff) bool {
		return c.Kind == string(revoke.Tenant) && c.Disabled
	})
	return sum, nil
}

// read returns the operator's tenant as it stands now, for an action that needs no more than rows and cutoffs: it must
// be possible to look, and to revoke, whatever is wrong with the configuration.
func (s *Service) read(ctx context.Context, op Operator, a Action) (*tenant.View, error) {
	if err := s.allow(ctx, op, a); err != nil {
		return nil, err
	}
	return s.cfg.Directory.Bare(ctx, op.slug)
}

// Objects returns the tenant's objects of one of tenant.FileKinds as a tenant file has them, in the order of their ids.
func (s *Service) Objects(ctx context.Context, op Operator, kind string) ([]json.RawMessage, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	objects := []json.RawMessage{}
	if slices.Contains(tenant.FileKinds, kind) { // no other kind of row is for anybody to see
		for _, row := range v.Rows(kind) {
			objects = append(objects, row.Value)
		}
	}
	return objects, nil
}

// Object returns one object as a tenant file has it.
func (s *Service) Object(ctx context.Context, op Operator, kind, id string) (json.RawMessage, error) {
	v, err := s.read(ctx, op, ReadConfig)
	if err != nil {
		return nil, err
	}
	if slices.Contains(tenant.FileKinds, kind) {
		if value, ok := v.Row(kind, id); ok {
			return value, nil
		}
	}
	return nil, fault.New(fault.NotFound, "object.unknown", "The tenant has no such object.")
}

// ApplyRequest is what Apply is to do.
type ApplyRequest struct {
	// File is a tenant file, YAML or JSON, of the operator's tenant.
	File []byte
	// DryRun validates everything and changes nothing.
	DryRun bool
	// Prune deletes what the tenant has and the file does not.
	Prune bool
	// Revision, unless zero, is the one that the tenant must have.
	Revision int64
}

// Applied is what Apply did, or would do.
type Applied struct {
	Tenant    string
	Created   bool
	DryRun    bool
	Revision  int64         // after the change; the present one for a dry run, and where nothing changed
	Edits     []tenant.Edit // in the order of tenant.FileKinds, then of ids
	Unmanaged []ledger.Key  // what the file does not name; kept
}

// Apply makes the operator's tenant what a file says, and creates it if it is new, for a platform admin only. The
// change and its events are one commit. Without a Revision it applies to whatever the tenant is by then, so that of
// concurrent calls none is lost; with one, a tenant that somebody changed meanwhile is a Conflict.
func (s *Service) Apply(ctx context.Context, op Operator, r ApplyRequest) (*Applied, error) {
	if err := s.allow(ctx, op, ApplyFile); err != nil {
		return nil, err
	}
	f, err := tenant.ReadFile(r.File)
	if err != nil {
		return nil, err
	}
	if f.Tenant != op.slug {
		return nil, invalid("file.tenant", "tenant: is not the tenant that the request's path names")
	}
	var done *Applied
	err = s.change(ctx, op.slug, func() error {
		done, err = s.apply(ctx, op, f, r)
		return err
	})
	return done, err
}

// apply is one attempt of Apply.
func (s *Service) apply(ctx context.Context, op Operator, f *tenant.File, r ApplyRequest) (*Applied, error) {
	v, err := s.find(ctx, op.slug)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return s.create(ctx, op, f, r)
	}
	if r.Revision != 0 && r.Revision != v.Revision {
		return nil, errOutdated
	}
	draft, err := s.cfg.Directory.Draft(v, f, r.Prune)
	if err != nil {
		return nil, err
	}
	done := &Applied{Tenant: v.Slug, DryRun: r.DryRun, Revision: v.Revision, Edits: draft.Edits,
		Unmanaged: draft.Unmanaged}
	if r.DryRun || draft.Change.Empty() {
		return done, nil
	}
	p, err := s.commit(ctx, v, draft.Change, op.events(draft)...)
	if err != nil && r.Revision != 0 && errors.Is(err, fault.ErrConflict) {
		return nil, errOutdated
	}
	if err == nil && len(draft.Change.Cut) > 0 { // what took the place of what was cut off can be used at once
		s.outlast(ctx, p.Time)
	}
	done.Revision = p.Revision
	return done, err
}

// errOutdated does not wrap fault.ErrConflict: no further attempt can succeed.
var errOutdated = fault.New(fault.Conflict, "tenant.revision",
	"The tenant is not at the given revision any more; read it again and decide anew.")

// find returns the tenant as it stands now; nil if there is none. That is read from the store even if somebody asked
// just now, because it decides whether the tenant is created.
func (s *Service) find(ctx context.Context, slug string) (*tenant.View, error) {
	v, err := s.cfg.Directory.Bare(ctx, slug)
	if !isNotFound(err) {
		return v, err
	}
	entries, err := s.cfg.Directory.Tenants(ctx)
	if _, exists := entries[slug]; err != nil || !exists {
		return nil, err
	}
	return s.cfg.Directory.Bare(ctx, slug)
}

// create makes a new tenant. Its ledger comes first, under an id that nobody knows; only the row in the platform's
// ledger makes it a tenant, so that of several creations one wins and the others leave nothing that can be reached.
// A creation that lost is fault.ErrConflict: the caller finds the winner's tenant in its next attempt.
func (s *Service) create(ctx context.Context, op Operator, f *tenant.File, r ApplyRequest) (*Applied, error) {
	if err := s.allow(ctx, op, CreateTenant); err != nil {
		return nil, err
	}
	if r.Revision != 0 {
		return nil, errOutdated
	}
	id, draft, err := s.cfg.Directory.DraftNew(f)
	if err != nil {
		return nil, err
	}
	done := &Applied{Tenant: f.Tenant, Created: true, DryRun: r.DryRun, Edits: draft.Edits}
	if r.DryRun {
		return done, nil
	}
	origin := audit.Origin{Tenant: id, Issuer: s.cfg.Directory.IssuerURL(f.Tenant)}
	p, err := s.cfg.Log.Change(ctx, origin, draft.Change, op.events(draft)...)
	if err != nil {
		return nil, fmt.Errorf("write tenant %s: %w", f.Tenant, err)
	}
	if err := s.enroll(ctx, op, f.Tenant, tenant.Entry{ID: id, Created: p.Time}); err != nil {
		return nil, fmt.Errorf("create tenant %s: %w", f.Tenant, err)
	}
	_, _ = s.cfg.Directory.Tenants(ctx) // serves it from now on; should this fail, from the next time on
	done.Revision = p.Revision
	return done, nil
}

// enroll makes a ledger a tenant. It is fault.ErrConflict if the slug is taken.
func (s *Service) enroll(ctx context.Context, op Operator, slug string, e tenant.Entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	leave, err := s.platform.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	taken := false
	err = s.retry(ctx, func() error {
		entries, revision, err := s.cfg.Directory.TenantsAt(ctx)
		if err != nil {
			return fmt.Errorf("read tenants: %w", err)
		}
		if _, taken = entries[slug]; taken {
			return nil
		}
		at, err := s.cfg.Log.Change(ctx, s.cfg.Directory.PlatformOrigin(), ledger.Change{
			Expect: revision,
			Put:    []ledger.Row{{Kind: tenant.KindTenant, ID: slug, Value: value}},
		}, op.event("admin.tenant.create", audit.Change{Object: "tenant", ID: slug, After: audit.Digest(value)}))
		if err == nil {
			s.cfg.Directory.Enrolled(slug, e, at)
		}
		return err
	})
	if taken {
		return fmt.Errorf("%w: the slug is taken", fault.ErrConflict)
	}
	return err
}
