package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/server/current"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
)

// View is one tenant at one moment: its configuration and its cutoffs. It is immutable.
type View struct {
	*World
	Cutoffs *revoke.State
}

// Covers reports whether the view already knows everything that a commit at p could have changed.
func (v *View) Covers(p ledger.Position) bool {
	return v.Revision >= p.Revision && v.Cutoffs.Seq >= p.Cutoffs
}

// slot is one tenant's place in the directory.
type slot struct {
	entry Entry
	slug  string
	view  atomic.Pointer[View]
	used  atomic.Int64 // when somebody last asked for it, Unix seconds
	fresh current.Joint[*View]
}

// View returns the tenant as this process last saw it. It may lack what another process changed since; a caller that
// records its decision learns of that from the record's position. A tenant that could not be used is looked at again:
// nothing is recorded there by which anybody would learn that it was mended.
func (d *Directory) View(ctx context.Context, slug string) (*View, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return nil, err
	}
	if v := s.view.Load(); v != nil && v.broken == nil && !v.due(d.cfg.Now()) {
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
	if v := s.view.Load(); v != nil && v.Covers(p) && !v.due(d.cfg.Now()) {
		return v.usable()
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

// Bare is Fresh even for a tenant whose configuration cannot be used. Only its rows, origin and cutoffs may be: enough
// to sign in and to revoke, which must not depend on anything else being in order.
func (d *Directory) Bare(ctx context.Context, slug string) (*View, error) {
	s, err := d.find(ctx, slug)
	if err != nil {
		return nil, err
	}
	return d.reread(ctx, s)
}

func (d *Directory) refresh(ctx context.Context, s *slot) (*View, error) {
	v, err := d.reread(ctx, s)
	if err != nil {
		return nil, err
	}
	return v.usable()
}

// reread returns the slot's view as it stands in the store when reread is called, or later.
func (d *Directory) reread(ctx context.Context, s *slot) (*View, error) {
	v, err := s.fresh.Do(ctx, &d.running, func(ctx context.Context) (*View, error) { return d.renew(ctx, s) })
	if err != nil {
		return nil, unreadable("tenant.read", err)
	}
	return v, nil
}

// Readable reports whether the tenant's configuration can be used. If it cannot, nothing but rows, origin and cutoffs
// may be.
func (v *View) Readable() bool { return v.broken == nil }

// usable refuses a configuration that cannot be used: it allows nothing.
func (v *View) usable() (*View, error) {
	if v.broken != nil {
		return nil, fault.Wrap(fault.Unavailable, "tenant.unreadable", "The tenant's configuration cannot be read.", v.broken)
	}
	return v, nil
}

// renew reads what the slot's view lacks. One call at a time does. ctx bounds the reads; compiling a configuration
// takes the time that it takes, once, and whoever does not wait for it finds it later.
func (d *Directory) renew(ctx context.Context, s *slot) (*View, error) {
	old := s.view.Load()
	var p ledger.Position
	if old != nil {
		var err error
		if p, err = d.cfg.Store.Position(ctx, s.entry.ID); err != nil {
			return nil, err
		}
		d.Observe(p)
		if old.Covers(p) && !old.due(d.cfg.Now()) {
			return old, nil
		}
	} else {
		old = &View{World: new(World)}
	}
	next := *old
	var rows []ledger.Row
	var at ledger.Position
	var err error
	changed := old.ID == "" || old.Revision < p.Revision || old.due(d.cfg.Now())
	if changed {
		if rows, at, err = d.cfg.Store.Rows(ctx, s.entry.ID); err != nil {
			return nil, err
		}
		d.Observe(at)
	}
	if old.Cutoffs == nil || old.Cutoffs.Seq < p.Cutoffs {
		if next.Cutoffs, err = d.cutoffs(ctx, s.entry.ID, old.Cutoffs); err != nil {
			return nil, err
		}
	}
	if changed {
		next.World = d.world(s, rows, at.Revision, old.World)
	}
	s.view.Store(&next)
	return &next, nil
}

// cutoffs reads what came after those that are known.
func (d *Directory) cutoffs(ctx context.Context, id ledger.Tenant, known *revoke.State) (*revoke.State, error) {
	var after int64
	if known != nil {
		after = known.Seq
	}
	more, at, err := d.cfg.Store.Cutoffs(ctx, id, after)
	if err != nil {
		return nil, err
	}
	return known.With(more, at), nil
}

// world compiles what is stored.
func (d *Directory) world(s *slot, rows []ledger.Row, revision int64, before *World) *World {
	p := d.plan(s.entry.ID, s.slug)
	p.before, p.vault = before.Policies, before.Vault
	w, found, err := p.build(rows, revision)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("stored configuration has mistakes: %s", found[0])
	}
	w.broken = err
	if errors.Is(err, fault.ErrUnavailable) || errors.Is(w.Vault.Err(), fault.ErrUnavailable) {
		w.again = d.cfg.Now().Add(awayPause)
	}
	return w
}

// awayPause is how long it is believed that a master key which is kept elsewhere is away.
const awayPause = time.Second

// due reports whether the world is to be compiled again though nothing of it has changed: what opens its keys was away.
func (w *World) due(now time.Time) bool { return !w.again.IsZero() && !now.Before(w.again) }

func (d *Directory) plan(id ledger.Tenant, slug string) plan {
	p := plan{id: id, slug: slug, issuer: d.IssuerURL(slug), base: d.cfg.BaseURL, shim: d.cfg.ShimURL,
		ceiling: d.cfg.Ceilings[slug], sources: d.cfg.Sources, master: d.cfg.Master}
	if d.cfg.Backend != nil {
		p.backend = d.cfg.Backend(slug, id)
	}
	return p
}
