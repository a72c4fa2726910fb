// Package tenant keeps each tenant's configuration as an immutable World, and hands out Views of it that are as new as
// the caller needs. What a tenant file may say is decided here; what a request may do is not.
package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/current"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/vault"
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

// Config is what a Directory needs; every field but ShimURL, Ceilings, Backend and Now is required.
type Config struct {
	Store   Store
	Master  keys.Master
	Sources *identity.Sources
	BaseURL string // an origin, without a trailing slash
	ShimURL string // where the shim is reached, without a trailing slash; "" if there is none
	// Ceilings are the private addresses that the platform lets each tenant's issuers use, by slug.
	Ceilings map[string][]netip.Prefix
	// Backend returns what keeps the values of a tenant's secrets, or nil for those that are kept in the store, sealed.
	// It is asked whenever a tenant is read, and answers at once.
	Backend func(slug string, t ledger.Tenant) vault.Backend
	Now     func() time.Time // default time.Now
}

// Directory finds tenants by the slug of the request's URL. It is safe for concurrent use.
type Directory struct {
	cfg   Config
	clock *current.Clock

	platform  current.Joint[*enrollment]
	operators current.Joint[[]ledger.Row]
	tenants   atomic.Pointer[enrollment] // as read last
	running   sync.WaitGroup             // shared reads

	mu     sync.RWMutex     // guards what follows
	slots  map[string]*slot // by slug; only tenants that exist
	looked time.Time        // when the last successful look for an unknown slug began
}

// lookPause is how long it is believed that a slug is unknown.
const lookPause = 100 * time.Millisecond

// NewDirectory returns a directory that has read nothing yet.
func NewDirectory(cfg Config) *Directory {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Directory{cfg: cfg, clock: current.NewClock(cfg.Now), slots: map[string]*slot{}}
}

// Now returns a time that is never ahead of the store's, once anything was read, and behind it by no more than the
// fastest answer of the last minute took. Tokens are dated with it, so that a cutoff made after a token was issued
// always hits it.
func (d *Directory) Now() time.Time { return d.clock.Now() }

// Observe tells the directory the store's time in an answer that has just arrived.
func (d *Directory) Observe(p ledger.Position) { d.clock.Observe(p.Time) }

// Correct tells the directory that the store was at p when it answered a call made after Now gave a later time: its
// clock was set back, so what was known of it is void.
func (d *Directory) Correct(p ledger.Position) { d.clock.Correct(p.Time) }

// IssuerURL returns the issuer of a tenant.
func (d *Directory) IssuerURL(slug string) string { return d.cfg.BaseURL + "/t/" + slug }

// PlatformOrigin names the platform's own log.
func (d *Directory) PlatformOrigin() audit.Origin {
	return audit.Origin{Tenant: ledger.Platform, Issuer: d.cfg.BaseURL}
}

// find returns the slot of a tenant. The directory of tenants is read again for a slug that is not known, so that a
// tenant created through another process is found; for some time after that what is unknown stays so, and guessing
// costs the store nothing.
func (d *Directory) find(ctx context.Context, slug string) (*slot, error) {
	if s := d.slot(slug); s != nil {
		s.used.Store(d.cfg.Now().Unix())
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

// mayLook reports whether the last look for an unknown slug is long ago. Those who come while one is under way share
// the next.
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

// Tenants returns the directory of tenants as it stands in the store.
func (d *Directory) Tenants(ctx context.Context) (map[string]Entry, error) {
	entries, _, err := d.TenantsAt(ctx)
	return entries, err
}

// TenantsAt returns the directory of tenants as it stands in the store, and the revision of the platform's rows that it
// is of.
func (d *Directory) TenantsAt(ctx context.Context) (map[string]Entry, int64, error) {
	known, err := d.platform.Do(ctx, &d.running, d.enrolled)
	if err != nil {
		return nil, 0, unreadable("directory.read", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.slots) < len(known.entries) { // tenants are only ever added
		for slug, e := range known.entries {
			if d.slots[slug] == nil {
				d.slots[slug] = &slot{entry: e, slug: slug}
			}
		}
	}
	return known.entries, known.revision, nil
}

// Enrolled tells the directory of a tenant that a commit has added, and of where the platform stood after it. So the
// list of many tenants is not read again for each that comes to them.
func (d *Directory) Enrolled(slug string, e Entry, at ledger.Position) {
	last := d.tenants.Load()
	if last == nil || last.revision+1 != at.Revision {
		return // somebody else changed something: the list is read when it is asked for
	}
	next := &enrollment{entries: maps.Clone(last.entries), revision: at.Revision}
	next.entries[slug] = e
	if !d.tenants.CompareAndSwap(last, next) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots[slug] == nil {
		d.slots[slug] = &slot{entry: e, slug: slug}
	}
}

// enrollment is the platform's list of tenants at one of its revisions.
type enrollment struct {
	entries  map[string]Entry
	revision int64
}

// enrolled reads the list of tenants, unless it is the one that was read last. One call at a time does.
func (d *Directory) enrolled(ctx context.Context) (*enrollment, error) {
	if last := d.tenants.Load(); last != nil {
		at, err := d.cfg.Store.Position(ctx, ledger.Platform)
		if err != nil || at.Revision == last.revision {
			return last, err
		}
	}
	rows, at, err := d.cfg.Store.Rows(ctx, ledger.Platform, KindTenant)
	if err != nil {
		return nil, err
	}
	d.Observe(at)
	next := &enrollment{entries: make(map[string]Entry, len(rows)), revision: at.Revision}
	for _, row := range rows {
		var e Entry
		if err := json.Unmarshal(row.Value, &e); err != nil {
			return nil, fmt.Errorf("read tenant %s: %w", row.ID, err)
		}
		next.entries[row.ID] = e
	}
	d.tenants.Store(next)
	return next, nil
}

// PlatformOperators returns the rows of the platform's operators as they stand in the store when it is called, or
// later. Calls that wait at the same time share one read, and what it returns. It needs nothing else of the platform to
// be in order.
func (d *Directory) PlatformOperators(ctx context.Context) ([]ledger.Row, error) {
	rows, err := d.operators.Do(ctx, &d.running, func(ctx context.Context) ([]ledger.Row, error) {
		rows, at, err := d.cfg.Store.Rows(ctx, ledger.Platform, KindOperator)
		if err == nil {
			d.Observe(at)
		}
		return rows, err
	})
	if err != nil {
		return nil, unreadable("directory.read", err)
	}
	return rows, nil
}

// Check reports whether the master key opens what the store holds: an error if none of the tenants that it looks at has
// signing keys that can be opened. A store without tenants is fine.
func (d *Directory) Check(ctx context.Context) error {
	entries, err := d.Tenants(ctx)
	if err != nil {
		return err
	}
	const enough = 3 // a single tenant may have a fault of its own
	for i, slug := range slices.Sorted(maps.Keys(entries)) {
		var v *View
		switch v, err = d.Bare(ctx, slug); {
		case err != nil:
			return err
		case v.Ring != nil:
			return nil
		case i+1 == enough:
			return wrongMaster(v.broken)
		}
		err = wrongMaster(v.broken)
	}
	return err
}

func wrongMaster(err error) error {
	return fmt.Errorf(
		"the master key does not open the keys in the store; is it the one that they were made with: %w", err)
}

// Entry returns the platform's record of a tenant.
func (d *Directory) Entry(ctx context.Context, slug string) (Entry, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return Entry{}, err
	}
	return s.entry, nil
}

// Origin names the log of a tenant, also of one whose configuration cannot be used. The store is asked only for a slug
// that this process does not know.
func (d *Directory) Origin(ctx context.Context, slug string) (audit.Origin, error) {
	e, err := d.Entry(ctx, slug)
	return audit.Origin{Tenant: e.ID, Issuer: d.IssuerURL(slug)}, err
}

// Knows reports whether slug is a tenant's, as far as this process has found out. It asks nobody.
func (d *Directory) Knows(slug string) bool { return d.slot(slug) != nil }

// Loaded returns the slugs of the tenants that this process holds in memory.
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

// Held returns the tenants that this process holds in memory, as it last saw them. It asks nobody.
func (d *Directory) Held() []*View {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var held []*View
	for _, s := range d.slots {
		if v := s.view.Load(); v != nil {
			held = append(held, v)
		}
	}
	return held
}

// Forget drops from memory what nobody has asked for since the given time. It is read again when somebody does.
func (d *Directory) Forget(since time.Time) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.slots {
		if s.used.Load() < since.Unix() {
			s.view.Store(nil)
		}
	}
}

// Close waits for the reads that are under way. No method may be called after it.
func (d *Directory) Close() { d.running.Wait() }

// unreadable is what becomes of a failed read. One that was given up is the caller's own affair, and a refusal stays.
func unreadable(reason string, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Wrap(fault.Unavailable, reason, "The service cannot read its store right now; try again shortly.", err)
}
