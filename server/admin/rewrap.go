package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// RewrapRequest is a part of the work of Rewrap.
type RewrapRequest struct {
	After string // slug of the tenant that was looked at last; "" begins with the platform's log
	Limit int    // tenants to look at, at most; 0 is MaxRewrap
	// All seals also what the present master key sealed already: one that is kept elsewhere may have been renewed there.
	All bool
}

// MaxRewrap bounds the tenants of one call of Rewrap, and rewrapTime the time after which it begins no other.
const (
	MaxRewrap  = 256
	rewrapTime = 5 * time.Second
)

// Rewrapped is what a call of Rewrap has done.
type Rewrapped struct {
	Master  string // id of the present master key
	Looked  int    // ledgers that were looked at: tenants, and the platform's
	Changed int    // of them, those that had a data key which another master key sealed, and have it no more
	Failed  []Failure
	Next    string // After of the call that goes on; "" if this was the end
}

// Failure is a tenant whose data keys could not be sealed anew.
type Failure struct {
	Tenant string // slug
	Why    string // a sentence
}

// Rewrap has the present master key seal the data keys of the platform and of all tenants, in the order of their slugs,
// each in one commit with its events. It can be killed at any point and called again, by anybody and at once: what is
// done is passed over. A call makes a part of the way; call it with Next until that is "". When all of them together
// changed nothing and failed for nobody, no previous master key is needed any more.
func (s *Service) Rewrap(ctx context.Context, op Operator, r RewrapRequest) (*Rewrapped, error) {
	if err := s.allow(ctx, op, WritePlatform); err != nil {
		return nil, err
	}
	if r.Limit < 1 || r.Limit > MaxRewrap {
		r.Limit = MaxRewrap
	}
	entries, err := s.cfg.Directory.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	done := &Rewrapped{Master: s.cfg.Directory.MasterKey()}
	if r.After == "" {
		if err := s.rewrapOne(ctx, op, done, "", s.cfg.Directory.PlatformOrigin(), r.All); err != nil {
			return nil, err
		}
	}
	slugs := slices.Sorted(maps.Keys(entries))
	at, found := slices.BinarySearch(slugs, r.After)
	if found {
		at++
	}
	for began, n := time.Now(), 0; at < len(slugs); at, n = at+1, n+1 {
		if n == r.Limit || n > 0 && time.Since(began) > rewrapTime {
			done.Next = slugs[at-1]
			break
		}
		origin := audit.Origin{Tenant: entries[slugs[at]].ID, Issuer: s.cfg.Directory.IssuerURL(slugs[at])}
		if err := s.rewrapOne(ctx, op, done, slugs[at], origin, r.All); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// rewrapOne seals the data keys of one ledger, and counts it. What does not open, and a log that must not be written,
// end nothing: the others can be sealed.
func (s *Service) rewrapOne(ctx context.Context, op Operator, done *Rewrapped, slug string, o audit.Origin,
	all bool,
) error {
	changed, err := s.rewrapKeys(ctx, op, slug, o, all)
	if err != nil && slug == "" {
		return fmt.Errorf("rewrap the keys of the platform: %w", err)
	}
	done.Looked++
	if err == nil {
		if changed {
			done.Changed++
		}
		return nil
	}
	if _, away := s.cfg.Store.Position(ctx, ledger.Platform); away != nil {
		return away
	}
	why := "No known master key opens its keys."
	if f := fault.As(err); f.Kind != fault.Internal {
		why = f.Public
	}
	done.Failed = append(done.Failed, Failure{slug, why})
	return nil
}

// rewrapKeys makes the change of one ledger. It reads the rows alone, so that tenants which nobody asks for are not
// kept in memory by it.
func (s *Service) rewrapKeys(ctx context.Context, op Operator, slug string, o audit.Origin, all bool) (
	changed bool, err error,
) {
	try := func() error {
		rows, at, err := s.cfg.Store.Rows(ctx, o.Tenant, keys.KindDEK)
		if err != nil {
			return fmt.Errorf("read the data keys: %w", err)
		}
		put, err := s.cfg.Directory.Rewrapped(o.Tenant, rows, all)
		if err != nil || len(put) == 0 {
			return err
		}
		var events []audit.Event
		for _, row := range put {
			before := rows[slices.IndexFunc(rows, func(old ledger.Row) bool { return old.ID == row.ID })]
			events = append(events, op.event("admin."+objectDataKey+".rewrap", audit.Change{Object: objectDataKey,
				ID: row.ID, Before: audit.Digest(before.Value), After: audit.Digest(row.Value)}))
		}
		p, err := s.cfg.Log.Change(ctx, o, ledger.Change{Expect: at.Revision, Put: put}, events...)
		if err == nil {
			changed = true
			s.cfg.Directory.Observe(p)
		}
		return err
	}
	if slug == "" {
		leave, err := s.platform.enter(ctx)
		if err != nil {
			return false, err
		}
		defer leave()
		err = s.retry(ctx, try)
		return changed, err
	}
	err = s.change(ctx, slug, try)
	return changed, err
}
