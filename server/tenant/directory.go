// Package tenant keeps each tenant's configuration as an immutable World, and hands out Views of it that are as new as
// the caller needs. What a tenant file may say is decided here; what a request may do is not.
package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
)

// Store reads tenants. Each read is consistent in itself and includes every commit that was acknowledged, by any
// process, before the read began. An unreachable store is fault.ErrUnavailable.
type Store interface {
	// Rows returns all rows of the given kinds, or of every kind, sorted, at the returned position.
	Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error)
	// Cutoffs returns the cutoffs whose Seq is greater than after and that can still hit something.
	Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error)
	// Position returns where the tenant stands.
	Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error)
}

// Entry is the platform's record of a tenant: a row of kind KindTenant in the platform's ledger, its id the slug.
// It is never deleted, so that a slug is never used again.
type Entry struct {
	ID      ledger.Tenant `json:"id"`
	Created time.Time     `json:"created"`
}

// KindTenant is the kind of the platform's rows that name tenants.
const KindTenant = "tenant"

// View is one tenant at one moment: its configuration and its cutoffs. It is immutable.
type View struct {
	*World
	Cutoffs  *revoke.State
	Position ledger.Position // Revision and Cutoffs say how new the view is
}

// Covers reports whether the view already knows everything that a commit at p could have changed.
func (v *View) Covers(p ledger.Position) bool {
	return v.Position.Revision >= p.Revision && v.Position.Cutoffs >= p.Cutoffs
}

// Config is what a Directory needs; every field but Ceilings and Now is required.
type Config struct {
	Store   Store
	Master  keys.Master
	Sources *identity.Sources
	BaseURL string // an origin, without a trailing slash
	// Ceilings are the private addresses that the platform lets each tenant's issuers use, by slug.
	Ceilings map[string][]netip.Prefix
	Now      func() time.Time // default time.Now
}

// Directory finds tenants by the slug of the request's URL. It is safe for concurrent use.
type Directory struct {
	cfg   Config
	clock clock

	platform joint[map[string]Entry]

	mu     sync.RWMutex     // guards what follows
	slots  map[string]*slot // by slug; only tenants that exist
	looked time.Time        // when the last successful look for an unknown slug began
}

// lookPause is how long it is believed that a slug is unknown.
const lookPause = 100 * time.Millisecond

// slot is one tenant's place in the directory.
type slot struct {
	entry Entry
	slug  string
	view  atomic.Pointer[View]
	fresh joint[*View]
}

// NewDirectory returns a directory that has read nothing yet.
func NewDirectory(cfg Config) *Directory {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, clock: clock{now: cfg.Now, base: cfg.Now()}, slots: map[string]*slot{}}
}

// Now returns a time that is never ahead of the store's (and hardly behind it), once anything was read. Tokens are dated
// with it, so that a cutoff made after a token was issued always hits it.
func (d *Directory) Now() time.Time { return d.clock.Now() }

// Observe tells the directory the store's time in an answer that has just arrived.
func (d *Directory) Observe(p ledger.Position) { d.clock.observe(p.Time) }

// Correct tells the directory that the store was at p when it answered a call made after Now gave a later time: its clock
// was set back, so what was known of it is void.
func (d *Directory) Correct(p ledger.Position) { d.clock.correct(p.Time) }

// IssuerURL returns the issuer of a tenant.
func (d *Directory) IssuerURL(slug string) string { return d.cfg.BaseURL + "/t/" + slug }

// PlatformOrigin names the platform's own log.
func (d *Directory) PlatformOrigin() audit.Origin {
	return audit.Origin{Tenant: ledger.Platform, Issuer: d.cfg.BaseURL}
}

// View returns the tenant as this process last saw it. It may lack what another process changed since; a caller that
// records its decision learns of that from the record's position.
func (d *Directory) View(ctx context.Context, slug string) (*View, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return nil, err
	}
	if v := s.view.Load(); v != nil {
		return v, nil
	}
	return d.refresh(ctx, s)
}

// At returns the tenant at p or later.
func (d *Directory) At(ctx context.Context, slug string, p ledger.Position) (*View, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return nil, err
	}
	if v := s.view.Load(); v != nil && v.Covers(p) {
		return v, nil
	}
	v, err := d.refresh(ctx, s)
	if err == nil && !v.Covers(p) {
		err = unreadable("tenant.behind", errors.New("the store gave less than what it had acknowledged"))
	}
	return v, err
}

// Fresh returns the tenant as it stands in the store when Fresh is called, or later. Calls that wait at the same time
// share one read.
func (d *Directory) Fresh(ctx context.Context, slug string) (*View, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return nil, err
	}
	return d.refresh(ctx, s)
}

// refresh returns the slot's view as it stands in the store when refresh is called, or later.
func (d *Directory) refresh(ctx context.Context, s *slot) (*View, error) {
	v, err := s.fresh.do(ctx, func(ctx context.Context) (*View, error) { return d.renew(ctx, s) })
	if err != nil {
		return nil, unreadable("tenant.read", err)
	}
	return v, nil
}

// renew reads what the slot's view lacks. One call at a time does.
func (d *Directory) renew(ctx context.Context, s *slot) (*View, error) {
	next, all := new(View), true
	var p ledger.Position
	if old := s.view.Load(); old != nil {
		var err error
		if p, err = d.cfg.Store.Position(ctx, s.entry.ID); err != nil {
			return nil, err
		}
		d.Observe(p)
		if old.Covers(p) {
			return old, nil
		}
		*next, all = *old, false
	}
	if all || next.Position.Revision < p.Revision {
		world, at, err := d.read(ctx, s)
		if err != nil {
			return nil, err
		}
		next.World, next.Position.Revision = world, at.Revision
	}
	if all || next.Position.Cutoffs < p.Cutoffs {
		cutoffs, at, err := d.cfg.Store.Cutoffs(ctx, s.entry.ID, next.Position.Cutoffs)
		if err != nil {
			return nil, err
		}
		next.Cutoffs = next.Cutoffs.With(cutoffs, at)
		next.Position.Cutoffs, next.Position.Time = at.Cutoffs, at.Time
	}
	s.view.Store(next)
	return next, nil
}

func (d *Directory) read(ctx context.Context, s *slot) (*World, ledger.Position, error) {
	rows, at, err := d.cfg.Store.Rows(ctx, s.entry.ID)
	if err != nil {
		return nil, at, err
	}
	d.Observe(at)
	w, found, err := d.plan(s.entry.ID, s.slug).build(rows, at.Revision)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("stored configuration has mistakes: %s", found[0])
	}
	if err != nil { // a configuration that cannot be read allows nothing
		return nil, at, fault.Wrap(fault.Unavailable, "tenant.unreadable", "The tenant's configuration cannot be read.", err)
	}
	return w, at, nil
}

func (d *Directory) plan(id ledger.Tenant, slug string) plan {
	return plan{id: id, slug: slug, issuer: d.IssuerURL(slug), base: d.cfg.BaseURL, ceiling: d.cfg.Ceilings[slug],
		sources: d.cfg.Sources, master: d.cfg.Master}
}

// find returns the slot of a tenant. The directory of tenants is read again for a slug that is not known, so that a tenant
// created through another process is found; for some time after that what is unknown stays so, and guessing costs the
// store nothing.
func (d *Directory) find(ctx context.Context, slug string) (*slot, error) {
	if s := d.slot(slug); s != nil {
		return s, nil
	}
	if scopes.CheckSlug(slug) == nil && d.mayLook() {
		began := d.cfg.Now()
		if _, err := d.Tenants(ctx); err != nil {
			return nil, err
		}
		d.mu.Lock()
		d.looked = began
		d.mu.Unlock()
	}
	if s := d.slot(slug); s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "tenant.unknown", "There is no such tenant.")
}

// mayLook reports whether the last look for an unknown slug is long ago. Those who come while one is under way share the
// next.
func (d *Directory) mayLook() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.looked.IsZero() || d.cfg.Now().Sub(d.looked) >= lookPause
}

func (d *Directory) slot(slug string) *slot {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.slots[slug]
}

// Tenants reads the directory of tenants from the store.
func (d *Directory) Tenants(ctx context.Context) (map[string]Entry, error) {
	entries, err := d.platform.do(ctx, func(ctx context.Context) (map[string]Entry, error) {
		rows, at, err := d.cfg.Store.Rows(ctx, ledger.Platform, KindTenant)
		if err != nil {
			return nil, err
		}
		d.Observe(at)
		all := make(map[string]Entry, len(rows))
		for _, row := range rows {
			var e Entry
			if err := json.Unmarshal(row.Value, &e); err != nil {
				return nil, fmt.Errorf("read tenant %s: %w", row.ID, err)
			}
			all[row.ID] = e
		}
		return all, nil
	})
	if err != nil {
		return nil, unreadable("directory.read", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for slug, e := range entries {
		if d.slots[slug] == nil {
			d.slots[slug] = &slot{entry: e, slug: slug}
		}
	}
	return entries, nil
}

// Loaded returns the slugs of the tenants that this process has read since it started.
func (d *Directory) Loaded() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var slugs []string
	for slug, s := range d.slots {
		if s.view.Load() != nil {
			slugs = append(slugs, slug)
		}
	}
	return slugs
}

// unreadable is what becomes of a failed read. A read that was given up is the caller's own affair, and a refusal stays.
func unreadable(reason string, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Wrap(fault.Unavailable, reason, "The service cannot read its store right now; try again shortly.", err)
}
