// Package outpost is the tenants of a standalone shim: what a process may know that has no master key, reads a few
// kinds of rows, and is trusted by some tenants. Their tools, secrets and revocations come from the store. The keys
// that their tokens are verified with do not, so that nobody can make a token by writing to it: the server itself is
// asked.
package outpost

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/bursar-sts/bursar/server/current"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/shim"
	"github.com/bursar-sts/bursar/server/vault"
)

// Store reads tenants. Each read is consistent in itself and includes every commit that was acknowledged, by any
// process, before the read began. An unreachable store is fault.ErrUnavailable.
type Store interface {
	// Rows returns all rows of the given kinds, at the returned position.
	Rows(ctx context.Context, t ledger.Tenant, kinds ...string) ([]ledger.Row, ledger.Position, error)
	// Cutoffs returns the cutoffs whose Seq is greater than after and that can still hit something.
	Cutoffs(ctx context.Context, t ledger.Tenant, after int64) ([]ledger.Cutoff, ledger.Position, error)
	// Position returns where the tenant stands.
	Position(ctx context.Context, t ledger.Tenant) (ledger.Position, error)
	// Head returns where the tree of the tenant's log stands, and where the tenant stood at that moment.
	Head(ctx context.Context, t ledger.Tenant) (ledger.Head, ledger.Position, error)
}

// kindTool is the kind of the rows that hold tools.
const kindTool = "tool"

// Kinds are the kinds of rows that a shim reads: all that its Redis user may.
func Kinds() []string { return []string{keys.KindShim, kindTool, vault.Kind} }

// Config is what a Directory needs; the last five fields may be left out.
type Config struct {
	Store   Store
	Key     *keys.ShimKey
	BaseURL string // of the server: an origin, without a trailing slash
	URL     string // under which agents reach the shim, without a trailing slash
	// Private are the private addresses at which the upstreams of each tenant may be, by slug.
	Private map[string][]netip.Prefix
	// Backend returns what has the values of a tenant's secrets that are not in the store.
	Backend func(slug string, t ledger.Tenant) vault.Backend
	Roots   *x509.CertPool   // by whom the certificate of the server is trusted; nil is the system's
	Now     func() time.Time // default time.Now
	Logger  *slog.Logger     // default slog.Default()
}

// Directory finds the tenants that trust the shim by the slug of the request's URL. It is safe for concurrent use.
type Directory struct {
	cfg     Config
	clock   *current.Clock
	client  *http.Client
	running sync.WaitGroup // shared reads
	slots   map[string]*slot

	accepted func(ledger.Tenant) // or nil
}

// New returns a directory that has read nothing yet.
func New(cfg Config) *Directory {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Directory{cfg: cfg, clock: current.NewClock(cfg.Now), client: newClient(cfg.Roots), slots: map[string]*slot{}}
	for _, t := range cfg.Key.Tenants() {
		s := &slot{tenant: t}
		if cfg.Backend != nil {
			s.backend = cfg.Backend(t.Slug, t.ID)
		}
		d.slots[t.Slug] = s
	}
	return d
}

// Now returns a time that is never ahead of the store's, once anything was read.
func (d *Directory) Now() time.Time { return d.clock.Now() }

func (d *Directory) find(slug string) (*slot, error) {
	if s := d.slots[slug]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "tenant.unknown", "There is no such tenant.")
}

// View returns the tenant as this process last saw it. A caller that records its decision learns from the record's
// position what it may lack.
func (d *Directory) View(ctx context.Context, slug string) (*shim.View, error) {
	s, err := d.find(slug)
	if err != nil {
		return nil, err
	}
	if v := s.view.Load(); v != nil {
		return v, nil
	}
	return d.refresh(ctx, s)
}

// At returns the tenant at p or later. p has just come from the store.
func (d *Directory) At(ctx context.Context, slug string, p ledger.Position) (*shim.View, error) {
	d.clock.Observe(p.Time)
	s, err := d.find(slug)
	if err != nil {
		return nil, err
	}
	if v := s.view.Load(); v != nil && v.Revision == p.Revision && v.Cutoffs.Seq == p.Cutoffs {
		return v, nil
	}
	v, err := d.refresh(ctx, s) // also of a view that is newer: the store may be older than it was
	if err == nil && !covers(v, p) {
		err = unreadable("tenant.behind", errors.New("the store gave less than what it had acknowledged"))
	}
	return v, err
}

// Fresh returns the tenant as it stands in the store when Fresh is called, or later. Calls that wait at the same time
// share one read.
func (d *Directory) Fresh(ctx context.Context, slug string) (*shim.View, error) {
	s, err := d.find(slug)
	if err != nil {
		return nil, err
	}
	return d.refresh(ctx, s)
}

// Warm reads all tenants at once, so that the first callers need not wait. What fails is tried again by those.
func (d *Directory) Warm(ctx context.Context) {
	var reading sync.WaitGroup
	for _, s := range d.slots {
		reading.Go(func() { _, _ = d.refresh(ctx, s) })
	}
	reading.Wait()
}

// Ready reports why no call can be answered: the store is away, or no tenant could be read.
func (d *Directory) Ready(ctx context.Context) (err error) {
	for _, s := range d.slots {
		if _, err = d.refresh(ctx, s); err == nil {
			return nil
		}
	}
	return err
}

// Count returns how many tenants the shim's key is for, and how many of them could be read.
func (d *Directory) Count() (all, usable int) {
	for _, s := range d.slots {
		if s.view.Load() != nil {
			usable++
		}
	}
	return len(d.slots), usable
}

// Close waits for the reads that are under way. No method may be called after it.
func (d *Directory) Close() {
	d.running.Wait()
	d.client.CloseIdleConnections()
}

// covers reports whether the view knows everything that a commit at p could have changed.
func covers(v *shim.View, p ledger.Position) bool {
	return v.Revision >= p.Revision && v.Cutoffs.Seq >= p.Cutoffs
}

// unreadable is what becomes of a failed read. One that was given up is the caller's own affair, and a refusal stays.
func unreadable(reason string, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Wrap(fault.Unavailable, reason, "The tenant cannot be read right now; try again shortly.", err)
}
