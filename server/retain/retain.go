// Package retain drops the beginnings of logs: of each what is older than it is to be kept, in whole bundles of 256
// entries, after it was written into an archive. The tree over a log stays as it is, so that the rest verifies.
//
// What is dropped was signed, was read back from the archive and hashed again, and was given to every sink. That it is
// dropped is recorded before it is.
package retain

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// Store keeps the logs. Errors wrap fault.ErrUnavailable where it did not answer.
type Store interface {
	// Prune forgets the entries before the given one, durably; repeating it is harmless.
	Prune(ctx context.Context, t ledger.Tenant, before int64) error
	// TakeSink makes owner the one who does something with t's log, for d from now on by the store's clock.
	// fault.ErrConflict: somebody else does.
	TakeSink(ctx context.Context, t ledger.Tenant, sink, owner string, d time.Duration) (ledger.Sink, error)
	// MoveSink ends that, where the move leaves the sink.
	MoveSink(ctx context.Context, t ledger.Tenant, sink string, m ledger.Move) error
	// Sink returns how far a sink has come.
	Sink(ctx context.Context, t ledger.Tenant, sink string) (ledger.Sink, error)
}

// Trees are the trees of the logs; *tree.Trees is them.
type Trees interface {
	// Latest returns the newest head that there is and that is believed.
	Latest(ctx context.Context, o audit.Origin) (ledger.Head, error)
	// Past returns the head that the tree had at some size, signed.
	Past(ctx context.Context, o audit.Origin, size int64) (ledger.Head, error)
	// Tile returns the first width hashes of a tile, 32 bytes each.
	Tile(ctx context.Context, id ledger.Tenant, level int, index int64, width int) ([]byte, error)
	// Entries returns the first width entries of a bundle.
	Entries(ctx context.Context, id ledger.Tenant, index int64, width int) ([][]byte, error)
}

// Keys are what verifies the logs.
type Keys interface {
	// Keys returns the signed document of the keys that sign the events of a log.
	Keys(ctx context.Context, o audit.Origin) ([]byte, error)
	// VerifierKey returns the vkeys that sign its checkpoints.
	VerifierKey(ctx context.Context, o audit.Origin) ([]string, error)
}

// Recorder records; *audit.Log is one.
type Recorder interface {
	// Change records an event durably before it returns.
	Change(ctx context.Context, o audit.Origin, c ledger.Change, es ...audit.Event) (ledger.Position, error)
}

// Log is a log of which something may be dropped.
type Log struct {
	audit.Origin
	Sinks []string // the names of the sinks that are given it
}

// Config is what a Retainer needs; all but the last three fields are required.
type Config struct {
	Store    Store
	Trees    Trees
	Keys     Keys
	Recorder Recorder
	// Logs returns the logs that there are.
	Logs func(context.Context) ([]Log, error)
	// Archive is the folder in which archives are kept; empty for none.
	Archive string
	// Keep is how long entries are kept; zero is for ever, unless somebody calls Prune.
	Keep   time.Duration
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default slog.Default()
}

const (
	// most bounds the bundles that one event tells of.
	most = 256
	// step bounds the bundles that the store forgets in one call.
	step = 64
	// lease is how long others wait for a process that died while it archived; it is extended with each bundle.
	lease = time.Minute
	// turn names the turn to drop something of a log, among the sinks: no sink that is configured can have this name.
	turn = "-retention"
)

// Retainer drops. Its methods may be called concurrently, in any number of processes.
type Retainer struct {
	cfg              Config
	owner            string
	dropped, failing atomic.Int64
}

// New returns a Retainer. It does nothing by itself.
func New(cfg Config) *Retainer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Retainer{cfg: cfg, owner: ledger.NewID(cfg.Now())}
}

// Stats are counts of this process since its start.
type Stats struct {
	Dropped int64 // entries
	Failed  int64 // attempts at a log
}

// Stats returns the current counts.
func (r *Retainer) Stats() Stats { return Stats{Dropped: r.dropped.Load(), Failed: r.failing.Load()} }

// Sweep drops of all logs what is older than it is to be kept. Its error joins those of all logs; one log's does not
// keep it from another.
func (r *Retainer) Sweep(ctx context.Context) error {
	if r.cfg.Keep <= 0 {
		return nil
	}
	logs, err := r.cfg.Logs(ctx)
	if err != nil {
		return fmt.Errorf("list the logs: %w", err)
	}
	var errs []error
	for _, l := range logs {
		err := r.sweep(ctx, l)
		if err != nil && !errors.Is(err, fault.ErrConflict) { // which another process does just now
			r.failing.Add(1)
			errs = append(errs, fmt.Errorf("prune the log of %s: %w", l.Issuer, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// sweep drops of one log what is older than it is to be kept.
func (r *Retainer) sweep(ctx context.Context, l Log) error {
	for {
		_, more, err := r.drop(ctx, l, r.aged, audit.Event{Name: audit.AuditPrune, Body: audit.Body{
			Outcome: audit.Allowed, Operator: audit.Operator{ID: "schedule"}}})
		if err != nil || !more {
			return err
		}
	}
}

// Prune drops of a log, in whole bundles, what is before an index and was recorded before a time; the last bundle
// stays, and what a sink does not have yet. e is recorded, with what was dropped. It returns the first entry that is
// kept then: if that has moved, there may be more to drop, and it is to be called again. fault.Conflict: somebody
// else is pruning this log. fault.NotFound: there is no such log.
func (r *Retainer) Prune(ctx context.Context, o audit.Origin, index int64, before time.Time, e audit.Event) (
	int64, error,
) {
	logs, err := r.cfg.Logs(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the logs: %w", err)
	}
	for _, l := range logs {
		if l.Origin != o {
			continue
		}
		first, _, err := r.drop(ctx, l, func(b bundle, delivered int64) bool {
			return b.end <= index && b.end <= delivered && b.newest.Before(before)
		}, e)
		if errors.Is(err, fault.ErrConflict) {
			err = fault.Wrap(fault.Conflict, "log.pruning", "This log is being pruned already; ask again.", err)
		}
		return first, err
	}
	return 0, fault.New(fault.NotFound, "log.unknown", "There is no such log.")
}

// bundle is what decides whether it is dropped.
type bundle struct {
	end    int64     // index behind its last entry
	newest time.Time // of its entries
}

// aged reports whether a bundle was kept for as long as it is to be. One that a sink does not have is kept twice as
// long.
func (r *Retainer) aged(b bundle, delivered int64) bool {
	age := r.cfg.Now().Sub(b.newest)
	return age > r.cfg.Keep && (b.end <= delivered || age > 2*r.cfg.Keep)
}

// drop archives, records and drops the bundles from the first on that may go, at most so many. It returns the first
// entry that is kept then, and whether something was dropped.
func (r *Retainer) drop(ctx context.Context, l Log, may func(b bundle, delivered int64) bool, e audit.Event) (
	first int64, more bool, err error,
) {
	h, err := r.cfg.Trees.Latest(ctx, l.Origin)
	if err != nil {
		return 0, false, err
	}
	delivered, err := r.delivered(ctx, l, h)
	if err != nil {
		return h.First, false, err
	}
	// The last bundle stays, although it may be full: a log is never empty.
	last := min((h.Size-1)/auditor.TileWidth*auditor.TileWidth, h.First+most*auditor.TileWidth)
	end := h.First
	for ; end < last; end += auditor.TileWidth {
		b, err := r.bundle(ctx, l, end/auditor.TileWidth)
		if err != nil {
			return h.First, false, err
		}
		if !may(b, delivered) {
			break
		}
	}
	if end == h.First {
		return end, false, nil
	}
	if err := r.take(ctx, l); err != nil {
		return h.First, false, err
	}
	defer r.leave(context.WithoutCancel(ctx), l)
	now, err := r.cfg.Trees.Latest(ctx, l.Origin)
	if err != nil || now.Epoch != h.Epoch || now.First != h.First { // another process had the turn meanwhile
		return h.First, err == nil, err
	}
	if err := r.dropTo(ctx, l, h, end, e); err != nil {
		return h.First, false, err
	}
	_, err = r.cfg.Trees.Latest(ctx, l.Origin) // this process knows of it from now on
	return end, true, err
}

// delivered returns before which entry every sink has the log.
func (r *Retainer) delivered(ctx context.Context, l Log, h ledger.Head) (int64, error) {
	least := h.Size
	for _, name := range l.Sinks {
		s, err := r.cfg.Store.Sink(ctx, l.Tenant, name)
		if err != nil {
			return 0, fmt.Errorf("read how far sink %s has come: %w", name, err)
		}
		switch {
		case s.Next.Epoch == h.Epoch:
			least = min(least, s.Next.Index)
		case s.Next.Epoch < h.Epoch: // it begins again
			least = min(least, h.First)
		}
	}
	return least, nil
}

func (r *Retainer) bundle(ctx context.Context, l Log, index int64) (b bundle, err error) {
	entries, err := r.entries(ctx, l, index)
	if err != nil {
		return b, err
	}
	b.end = (index + 1) * auditor.TileWidth
	for _, entry := range entries {
		set, err := auditor.ParseSET(entry)
		if err != nil {
			return b, fmt.Errorf("read bundle %d: %w", index, err)
		}
		if at := time.Unix(set.IssuedAt, 0); at.After(b.newest) {
			b.newest = at
		}
	}
	return b, nil
}

func (r *Retainer) entries(ctx context.Context, l Log, index int64) ([][]byte, error) {
	entries, err := r.cfg.Trees.Entries(ctx, l.Tenant, index, auditor.TileWidth)
	if err == nil && len(entries) != auditor.TileWidth {
		err = fmt.Errorf("%w: bundle %d has %d entries", fault.ErrUnavailable, index, len(entries))
	}
	return entries, err
}

// dropTo archives, records and drops the bundles before an entry. This process has the turn.
func (r *Retainer) dropTo(ctx context.Context, l Log, h ledger.Head, end int64, e audit.Event) error {
	e.Body.Range = audit.Range{First: h.First, Count: end - h.First}
	e.Body.Tree = audit.Tree{Epoch: h.Epoch, Size: h.Size, Root: base64.StdEncoding.EncodeToString(h.Root[:])}
	if r.cfg.Archive != "" {
		var err error
		if e.Body.Archive, err = r.archive(ctx, l, h, end); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	if _, err := r.cfg.Recorder.Change(ctx, l.Origin, ledger.Change{}, e); err != nil {
		return fmt.Errorf("record what is dropped: %w", err)
	}
	for at := h.First; at < end; {
		at = min(at+step*auditor.TileWidth, end)
		if err := r.cfg.Store.Prune(ctx, l.Tenant, at); err != nil {
			return fmt.Errorf("drop: %w", err)
		}
	}
	r.dropped.Add(end - h.First)
	r.cfg.Logger.Info("entries of a log were dropped", "log", l.Issuer, "first", h.First, "count", end-h.First,
		"archive", e.Body.Archive.Name)
	return nil
}

// take takes the turn, or extends it.
func (r *Retainer) take(ctx context.Context, l Log) error {
	if _, err := r.cfg.Store.TakeSink(ctx, l.Tenant, turn, r.owner, lease); err != nil {
		return fmt.Errorf("take the turn: %w", err)
	}
	return nil
}

// leave gives the turn to others; if that fails, they wait for the lease.
func (r *Retainer) leave(ctx context.Context, l Log) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := r.cfg.Store.MoveSink(ctx, l.Tenant, turn, ledger.Move{Owner: r.owner, Leave: true}); err != nil {
		r.cfg.Logger.Warn("leave the turn to prune a log", "log", l.Issuer, "error", err)
	}
}
