package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
)

// keyring is what an appender signs with.
type keyring struct {
	// ring is nil before the first commit, and after one that found other rows. Own is in its place where the Config has
	// a Signer.
	ring     *keys.LogRing
	own      *keys.Signer
	revision int64        // of the rows that they were read from
	fresh    []ledger.Row // the keys themselves, if the commit to come is to store them
}

// opened reports whether there is something to sign with.
func (k *keyring) opened() bool { return k.ring != nil || k.own != nil }

// signer returns what signs a commit that puts rows: keys that it replaces itself sign no more, because one that is in
// the wrong hands does not tell of its own end.
func (k *keyring) signer(put []ledger.Row) (*keys.Signer, error) {
	if k.own != nil {
		return k.own, nil
	}
	ring, err := k.ring.With(put)
	if err != nil {
		return nil, err
	}
	return ring.Events(), nil
}

// moved notes where the tenant stands. Keys may be others when its rows are.
func (k *keyring) moved(p ledger.Position) {
	if p.Revision != k.revision {
		k.forget()
	}
}

// open reads the log's keys: from the store, or from the change that creates them. A log that is
// empty and has none gets some, with the change if it changes rows, else before it. The keys of a log that is not empty
// are missing, and nothing is signed with others.
func (a *appender) open(ctx context.Context, first *request) error {
	if a.log.cfg.Signer != nil {
		return a.openOwn(ctx)
	}
	rows, at, err := a.log.cfg.Store.Rows(ctx, a.tenant, keys.KindDEK, keys.KindLogKey)
	if err != nil {
		return fmt.Errorf("read the keys of the log: %w", err)
	}
	a.revision = at.Revision
	a.ring, err = keys.OpenLog(a.log.cfg.Master, a.tenant, rows)
	if errors.Is(err, keys.ErrNoKey) && at.Index == 0 {
		a.ring, err = keys.OpenLog(a.log.cfg.Master, a.tenant, first.change.Put)
	}
	if errors.Is(err, keys.ErrNoKey) && at.Index == 0 {
		err = a.found(ctx, first)
	}
	return err
}

// openOwn opens the key of a process that has none of the log's.
func (a *appender) openOwn(ctx context.Context) error {
	rows, at, err := a.log.cfg.Store.Rows(ctx, a.tenant, keys.KindShim)
	if err != nil {
		return fmt.Errorf("read who may write the log: %w", err)
	}
	a.revision = at.Revision
	a.own, err = a.log.cfg.Signer.Signer(a.tenant, rows)
	return err
}

// forget makes open look again.
func (k *keyring) forget() { k.ring, k.own, k.fresh = nil, nil, nil }

// found makes the keys of a new log.
func (a *appender) found(ctx context.Context, first *request) (err error) {
	now := a.log.cfg.Now()
	if a.fresh, err = keys.CreateLog(a.log.cfg.Master, a.tenant, now); err != nil {
		return err
	}
	if a.ring, err = keys.OpenLog(a.log.cfg.Master, a.tenant, a.fresh); err != nil {
		return err
	}
	if len(first.change.Put)+len(first.change.Delete) > 0 {
		return nil
	}
	return a.begin(ctx, first, now)
}

// made returns the events that fresh keys are recorded by.
func (a *appender) made(o Origin) (drafts []draft, err error) {
	for _, e := range LogKeyEvents(nil, a.fresh) {
		e.Body.Request.Node = a.log.cfg.Node
		d, err := encode(o, &e, a.log.cfg.Now())
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// begin stores fresh keys, with their events, and opens what is stored then. The events have a writer's id of their
// own, so that it need not be known what became of an attempt that the store did not confirm.
func (a *appender) begin(ctx context.Context, first *request, now time.Time) error {
	drafts, err := a.made(first.origin)
	if err != nil {
		return err
	}
	writer := ledger.NewID(now)
	entries := make([][]byte, len(drafts))
	for i, d := range drafts {
		if entries[i], err = seal(d, now, writer, int64(i)+1, a.ring.Events()); err != nil {
			return err
		}
	}
	c := ledger.Commit{Writer: writer, First: 1, Entries: entries,
		Change: ledger.Change{Expect: a.revision, Put: a.fresh}}
	a.forget()
	p, err := a.log.cfg.Store.Commit(ctx, a.tenant, c)
	switch {
	case err == nil:
		a.tell(first.origin, p.Index, c.Entries)
	case !errors.Is(err, fault.ErrConflict): // in which case another process has begun the log
		return fmt.Errorf("begin the log: %w", err)
	}
	return a.open(ctx, first)
}
